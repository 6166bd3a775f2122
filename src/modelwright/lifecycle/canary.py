"""Candidate beside champion: a share of the requests, judged on evidence, promoted or taken back."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from modelwright.core.errors import ConflictError, ModelwrightError, RefusedError
from modelwright.core.version import Version
from modelwright.deploy.judge import judge
from modelwright.deploy.plan import canary
from modelwright.lifecycle.policies import policy_of
from modelwright.lifecycle.rollout import (
    CHALLENGER,
    CHAMPION,
    WAIT_SECONDS,
    act_of,
    note,
    put_in_force,
    settle,
    shadows_of,
)
from modelwright.lifecycle.signed import require_signed
from modelwright.ports.platform import Platform
from modelwright.ports.record import ArmCount
from modelwright.ports.workflow import Json, Steps

LOOK_SECONDS = 0.5
PATIENT_AFTER, PATIENT_SECONDS = 40, 5.0  # each look is a durable row: after 20 s of waiting, look less often


def run_canary(platform: Platform, steps: Steps, arguments: Json, *, version: Version, champion: str) -> Json:
    """Send the policy's share of requests to ``version`` until the evidence decides; ``decision`` and ``reason``.

    The alias ``challenger`` is held while it runs, so a model has one canary at a time. It ends on ``promote`` (the
    caller gives the version all requests), on ``rollback`` (done here; the champion has all requests again), or on
    ``overtaken``: somebody made another version (or this one) the champion meanwhile, and that is in force.

    Raises:
        ConflictError: ``deploy.canary-under-way``: another canary of the model is under way.
        RefusedError: a gateway cannot load the version.
    """
    model = version.model

    def challenge() -> None:
        act = act_of(steps, arguments, "challenger")
        try:
            platform.versions.set_alias(model, CHALLENGER, version.number, act=act, expected="")
        except ConflictError as error:
            raise ConflictError(
                "deploy.canary-under-way",
                f"Another version of {model} is tried as a canary at the moment.",
                why="A model has one canary at a time.",
                fix=f"Wait for it (`modelwright stories`), then `modelwright promote {model} {version.number}`.",
            ) from error

    def release() -> None:
        release_challenger(platform, steps, arguments, version)

    for alias in (CHALLENGER, CHAMPION):  # what may not become the champion is not tried either
        require_signed(platform, steps, version, alias)
    steps.do("name challenger", challenge)
    try:
        judged = tried(platform, steps, arguments, version, champion)
    except ModelwrightError:
        with suppress(ModelwrightError):  # what went wrong first is told; the next canary must not wait for ever
            steps.do("route back", lambda: back(platform, steps, arguments, version))
        steps.do("release challenger", release)
        raise
    steps.do("release challenger", release)
    return judged


def tried(platform: Platform, steps: Steps, arguments: Json, version: Version, champion: str) -> Json:
    """Start, judge, and take it back where the evidence says so."""
    model, why = version.model, str(arguments.get("reason", ""))
    started = steps.do("start canary", lambda: start(platform, steps, arguments, version, champion))
    note(platform, steps, arguments, action="deploy.canary", model=model, why=why, evidence=started)
    judged = watch_arms(platform, steps, version=version, champion=champion, since=float(started["since"]))
    if judged["decision"] == "promote":
        return judged
    in_force = steps.do("route back", lambda: back(platform, steps, arguments, version))
    if judged["decision"] == "rollback":
        facts: Json = {
            "version": version.number,
            "champion": champion,
            "evidence": judged["evidence"],
            "in_force": in_force,
        }
        why = str(judged["reason"])
        note(platform, steps, arguments, action="deploy.rollback", model=model, why=why, evidence=facts)
    return judged


def start(platform: Platform, steps: Steps, arguments: Json, version: Version, champion: str) -> Json:
    """Put the canary route in force; ``since`` is when its evidence starts."""
    model, policy = version.model, policy_of(platform, version.model)
    since = platform.clock.now()
    standing = platform.versions.version(model, champion)
    shadows = shadows_of(platform, model, besides=(version.number,))
    route = canary(standing, version, policy.canary_weight, shadows)
    epoch = put_in_force(platform, route, act=act_of(steps, arguments, "canary"))
    return {"since": since, "epoch": epoch, "version": version.number, "weight": policy.canary_weight}


def watch_arms(platform: Platform, steps: Steps, *, version: Version, champion: str, since: float) -> Json:
    """Look at the evidence until it decides, or until the policy's time is over (then: roll back, to be safe)."""
    policy = policy_of(platform, version.model)

    def look() -> Json:
        standing = platform.versions.alias(version.model, CHAMPION)
        if standing != champion:
            reason = f"Version {standing or 'none'} was made the champion meanwhile, by somebody's decision."
            return {"decision": "overtaken", "reason": reason, "evidence": {"champion": standing}}
        arms = platform.log.arms(version.model, since=since)
        judgement = judge(arm(arms, version.number, "canary"), arm(arms, champion, "champion"), policy.canary_requests)
        found: Json = {
            "decision": judgement.decision,
            "reason": judgement.reason,
            "evidence": dict(judgement.evidence),
        }
        if judgement.decision == "wait" and platform.clock.now() - since > policy.canary_timeout:
            found["decision"] = "rollback"
            found["reason"] = f"Not enough evidence after {policy.canary_timeout:.0f} s. {judgement.reason}"
        return found

    looks = 0
    while True:
        found = steps.do("judge", look)
        if found["decision"] != "wait":
            return found
        looks += 1
        steps.sleep(LOOK_SECONDS if looks <= PATIENT_AFTER else PATIENT_SECONDS)


def arm(arms: Sequence[ArmCount], version: str, role: str) -> ArmCount | None:
    """The count of one version in one role."""
    return next((count for count in arms if (count.version, count.role) == (version, role)), None)


def back(platform: Platform, steps: Steps, arguments: Json, version: Version) -> bool:
    """All requests to the champion again; False when a gateway has not taken it over by now (it will, or be replaced).

    A route without the canary is another story's, and stays.
    """
    act = replace(act_of(steps, arguments, "back"), reason="the canary is taken back")
    tried = (version.number, "canary")
    settle(
        platform, version.model, act=act, stale=lambda found: tried in [(arm.version, arm.role) for arm in found.arms]
    )
    try:
        return platform.target.wait(platform.routes.table().epoch, timeout=WAIT_SECONDS)
    except RefusedError:
        return False


def release_challenger(platform: Platform, steps: Steps, arguments: Json, version: Version) -> None:
    """Let the next canary come; an alias that names another version by now stays."""
    if platform.versions.alias(version.model, CHALLENGER) == version.number:
        platform.versions.set_alias(version.model, CHALLENGER, "", act=act_of(steps, arguments, "no challenger"))
