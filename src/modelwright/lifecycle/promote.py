"""Version -> champion, all at once, by somebody's decision."""

from __future__ import annotations

from modelwright.lifecycle.rollout import CHAMPION, crown, note, require_package
from modelwright.ports.platform import Platform
from modelwright.ports.workflow import Json, Steps


def promote(platform: Platform, steps: Steps, arguments: Json) -> Json:
    """Give ``arguments["version"]`` (number, alias or digest prefix) of ``model`` all requests.

    Returns:
        ``outcome`` (``promoted``, or ``unchanged`` when it was the champion already), ``version``, ``from``, ``why``.
    """
    return change_champion(platform, steps, arguments, to=str(arguments["version"]), action="deploy.promote")


def change_champion(platform: Platform, steps: Steps, arguments: Json, *, to: str, action: str) -> Json:
    """The shared middle of ``promote`` and ``rollback``."""
    model, why = str(arguments["model"]), str(arguments.get("reason", ""))

    def look() -> Json:
        version = platform.versions.version(model, to)
        require_package(platform, version)
        return {"number": version.number, "champion": platform.versions.alias(model, CHAMPION)}

    found = steps.do("find version", look)
    number, before = str(found["number"]), str(found["champion"])
    if number == before:
        return {"outcome": "unchanged", "version": number, "from": before, "why": f"{number} is the champion."}
    crown(platform, steps, arguments, version=platform.versions.version(model, number), expected=before)
    note(platform, steps, arguments, action=action, model=model, why=why, evidence={"version": number, "from": before})
    outcome = "rolled-back" if action == "deploy.rollback" else "promoted"
    return {"outcome": outcome, "version": number, "from": before, "why": why}
