"""Version -> champion, all at once, by somebody's decision."""

from __future__ import annotations

from modelwright.core.errors import CorruptError, RefusedError
from modelwright.lifecycle.rollout import CHAMPION, crown, note, require_package
from modelwright.lifecycle.signed import told
from modelwright.lifecycle.unjailed import allow_unjailed, unjailed_of
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
        unjailed = unjailed_of(platform, version.digest)
        return {
            "number": version.number,
            "champion": platform.versions.alias(model, CHAMPION),
            "digest": version.digest,
            "unjailed": unjailed,
        }

    found = steps.do("find version", look)
    number, before = str(found["number"]), str(found["champion"])
    if number == before:
        return {"outcome": "unchanged", "version": number, "from": before, "why": f"{number} is the champion."}
    digest, members = str(found.get("digest", "")), found.get("unjailed", ())
    allow_unjailed(platform, steps, arguments, model=model, digest=digest, members=members)
    try:
        crown(platform, steps, arguments, version=platform.versions.version(model, number), expected=before)
    except (RefusedError, CorruptError) as error:
        if told(error):
            facts: Json = {"version": number, "alias": CHAMPION, "error": error.to_json()}
            note(platform, steps, arguments, action="sign.refused", model=model, why=error.what, evidence=facts)
        raise
    note(platform, steps, arguments, action=action, model=model, why=why, evidence={"version": number, "from": before})
    outcome = "rolled-back" if action == "deploy.rollback" else "promoted"
    return {"outcome": outcome, "version": number, "from": before, "why": why}
