"""Version -> shadow: it sees the same rows as the champion and is recorded, but never answers."""

from __future__ import annotations

from dataclasses import replace

from modelwright.core.access import Act
from modelwright.core.errors import ConflictError, CorruptError, ModelwrightError, RefusedError
from modelwright.core.version import Arm, Route
from modelwright.lifecycle.rollout import (
    SHADOW,
    act_of,
    note,
    republish,
    require_package,
    shadows_of,
    wait_for,
    with_signed,
)
from modelwright.lifecycle.signed import require_signed
from modelwright.lifecycle.unjailed import allow_unjailed, unjailed_of
from modelwright.ports.platform import Platform
from modelwright.ports.workflow import Json, Steps


def shadow(platform: Platform, steps: Steps, arguments: Json) -> Json:
    """Run ``arguments["version"]`` of ``model`` as its shadow until told otherwise; null takes the shadow away.

    Returns:
        ``version`` (or null) and ``shadows``, the numbers that run as shadows now.

    Raises:
        RefusedError: a gateway cannot load it; the shadow from before is back.
    """
    model = str(arguments["model"])
    wanted = arguments.get("version")

    def find() -> Json:
        facts: Json = {"number": "", "before": platform.versions.alias(model, SHADOW)}
        if wanted:
            version = platform.versions.version(model, str(wanted))
            require_package(platform, version)
            unjailed = unjailed_of(platform, version.digest)
            facts |= {"number": version.number, "digest": version.digest, "unjailed": unjailed}
        return facts

    found = steps.do("find version", find)
    number = str(found["number"])
    digest, members = str(found.get("digest", "")), found.get("unjailed", ())
    allow_unjailed(platform, steps, arguments, model=model, digest=digest, members=members)
    if number:
        try:
            require_signed(platform, steps, platform.versions.version(model, number), SHADOW)
        except (RefusedError, CorruptError) as error:
            facts: Json = {"version": number, "alias": SHADOW, "error": error.to_json()}
            note(platform, steps, arguments, action="sign.refused", model=model, why=error.what, evidence=facts)
            raise
    steps.do("point alias", lambda: point(platform, model, number, act=act_of(steps, arguments, "alias")))
    try:
        shadows = steps.do("route", lambda: route(platform, model, number, act=act_of(steps, arguments, "route")))
    except ModelwrightError as error:
        act = replace(act_of(steps, arguments, "put back"), reason=f"put back: {error.what}")
        # Left there, a shadow that no gateway can load would be part of every later route of the model.
        steps.do("alias back", lambda: point_back(platform, model, number, str(found["before"]), act=act))
        steps.do("route back", lambda: reshadow(platform, model, act=act)[1])
        raise
    why = str(arguments.get("reason", ""))
    evidence = {"version": number, "shadows": shadows}
    note(platform, steps, arguments, action="deploy.shadow", model=model, why=why, evidence=evidence)
    return {"version": number or None, "shadows": shadows}


def point(platform: Platform, model: str, number: str, *, act: Act) -> None:
    """Let the alias name the version, or (empty) nothing."""
    if platform.versions.alias(model, SHADOW) != number:
        platform.versions.set_alias(model, SHADOW, number, act=act)


def point_back(platform: Platform, model: str, number: str, before: str, *, act: Act) -> None:
    """Let the alias name what it named before, unless somebody named yet another version meanwhile."""
    if platform.versions.alias(model, SHADOW) == number:
        point(platform, model, before, act=act)


def route(platform: Platform, model: str, number: str, *, act: Act) -> list[str]:
    """Give the model's route its shadows, and wait until every gateway runs them; their numbers."""
    epoch, shadows = reshadow(platform, model, act=act)
    wait_for(platform, model, epoch)
    if platform.versions.alias(model, SHADOW) != number:
        raise ConflictError(
            "deploy.shadow-moved",
            f"Another shadow of {model} was named in the meantime.",
            fix="Look at `modelwright history`, then try again.",
        )
    return shadows


def reshadow(platform: Platform, model: str, *, act: Act) -> tuple[int, list[str]]:
    """The route that stands at the moment, canary or not, with the shadows that policy and alias name now."""
    attempt = 0
    while True:
        attempt += 1
        current = platform.routes.route(model) or Route(model, ())
        shadows = shadows_of(platform, model, besides=tuple(arm.version for arm in current.arms if arm.weight == 1))
        arms = tuple(Arm(version.number, version.digest, 0.0, "shadow") for version in shadows)
        once = replace(act, key=f"{act.key}/{attempt}")
        try:
            wanted = with_signed(platform, replace(current, shadows=arms))
            epoch = platform.routes.set_route(wanted, act=once, expected=current)
        except ConflictError:
            continue
        republish(platform)
        return epoch, [version.number for version in shadows]
