"""Artifact -> candidate -> champion, or out: the path that ``release`` and ``renew`` share."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path

from modelwright.check import check, split_target, verdict_from_json, verdict_json
from modelwright.core import package_codec
from modelwright.core.errors import ConflictError, ModelwrightError, RefusedError, UnavailableError
from modelwright.core.package import Package
from modelwright.core.version import Lineage
from modelwright.lifecycle.canary import run_canary
from modelwright.lifecycle.local import pack_file
from modelwright.lifecycle.rollout import CHAMPION, act_of, crown, note, policy_of
from modelwright.ports.platform import Platform
from modelwright.ports.runner import Runner
from modelwright.ports.workflow import Json, Steps
from modelwright.register.lineage import lineage_of
from modelwright.register.policy import may_register


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model file that wants to be champion; ``order`` is the key of the order that asked for it."""

    model: str
    artifact: Path
    validation: Path
    target: str
    reference: Path | None
    canary: bool
    order: str = ""


def bring_in(platform: Platform, steps: Steps, arguments: Json, candidate: Candidate) -> Json:
    """Pack, check, register, deploy and judge; every act ends in the ledger.

    Returns:
        ``outcome``, ``version`` (null when it was not registered), ``digest``, ``verdict``, ``why``.
    """
    model = candidate.model
    try:
        packed = steps.do("pack", lambda: pack_artifact(platform, candidate))
    except ModelwrightError as error:
        evidence: Json = {"error": error.to_json()}
        note(platform, steps, arguments, action="pack.refused", model=model, why=error.what, evidence=evidence)
        raise
    digest = str(packed["digest"])
    note(platform, steps, arguments, action="pack.package", model=model, why="", evidence=packed)

    checked = steps.do("check", lambda: check_package(platform, candidate, digest))
    verdict = verdict_from_json(checked["verdict"])
    facts: Json = {"digest": digest, "champion": checked["champion"], "verdict": checked["verdict"]}
    result: Json = {"outcome": "refused", "version": None, "digest": digest, "verdict": checked["verdict"]}
    try:
        may_register(verdict)
    except RefusedError as error:
        note(platform, steps, arguments, action="check.refused", model=model, why=str(error), evidence=facts)
        return result | {"why": str(error)}
    why = "Every gate passed."
    note(platform, steps, arguments, action="check.passed", model=model, why=why, evidence=facts)
    lineage = Lineage(**checked["lineage"])

    def register() -> str:
        act = act_of(steps, arguments, "register")
        return platform.versions.register(model, digest, lineage=lineage, verdict=checked["verdict"], act=act).number

    number = steps.do("register", register)
    result["version"] = number
    return result | deploy(platform, steps, arguments, candidate, number=number, champion=str(checked["champion"]))


def deploy(
    platform: Platform, steps: Steps, arguments: Json, candidate: Candidate, *, number: str, champion: str
) -> Json:
    """A first version at once, a later one as canary where the policy asks for it; ``outcome`` and ``why``."""
    version = platform.versions.version(candidate.model, number)
    # A step, because the project file and the servers may say something else after a crash.
    why = str(steps.do("plan", lambda: at_once(platform, candidate, champion)))
    try:
        if not why:
            judged = run_canary(platform, steps, arguments, version=version, champion=champion)
            if judged["decision"] != "promote":
                by_hand = judged["evidence"].get("champion") == number
                return {"outcome": "promoted" if by_hand else "rolled-back", "why": judged["reason"]}
            why = str(judged["reason"])
        crown(platform, steps, arguments, version=version, expected=champion)
    except (RefusedError, UnavailableError, ConflictError) as error:
        evidence: Json = {"version": number, "error": error.to_json()}
        note(
            platform, steps, arguments, action="deploy.refused", model=version.model, why=str(error), evidence=evidence
        )
        return {"outcome": "refused", "why": str(error)}
    facts: Json = {"version": number, "from": champion}
    note(platform, steps, arguments, action="deploy.promote", model=version.model, why=why, evidence=facts)
    return {"outcome": "promoted", "why": why}


def at_once(platform: Platform, candidate: Candidate, champion: str) -> str:
    """Why the version gets all requests without a canary; empty when it needs one."""
    if not champion:
        return "The first version takes all requests."
    if not candidate.canary or policy_of(platform, candidate.model).canary_timeout <= 0:
        return "Promoted at once, without a canary."
    if not platform.target.live():
        return "Promoted at once: no server is running, so a canary would get no requests."
    return ""


def pack_artifact(platform: Platform, candidate: Candidate) -> Json:
    """Convert, build the package and store its blobs; its ``digest``."""
    package = pack_file(
        platform,
        candidate.artifact,
        name=candidate.model,
        data=candidate.validation,
        target=candidate.target,
        reference=candidate.reference,
        policy=policy_of(platform, candidate.model).inputs,
    )
    return {
        "digest": package_codec.store(package, platform.blobs.put),
        "framework": f"{package.description.framework} {package.description.framework_version}".strip(),
        "source_sha256": package.description.source_sha256,
        "data_digest": package.description.data_digest,
    }


def check_package(platform: Platform, candidate: Candidate, digest: str) -> Json:
    """Gates, and the comparison with the champion on the same rows; ``verdict``, ``lineage``, ``champion``."""
    rows, truth = split_target(platform.source.read(candidate.validation), candidate.target)
    package = package_codec.load(digest, platform.blobs.get)
    policy = policy_of(platform, candidate.model)
    with ExitStack() as opened:

        def running(package: Package) -> Runner:
            return opened.enter_context(closing(platform.runners.load(package)))

        champion, number = None, champion_of(platform, candidate.model)
        if number:
            standing = platform.versions.version(candidate.model, number)
            held = package_codec.load(standing.digest, platform.blobs.get)
            champion = (number, running(held), held)
        verdict = check(
            package,
            rows,
            truth,
            runner=running(package),
            champion=champion,
            gates=policy.gates,
            margin=policy.margin,
            latency_budget_ms=policy.latency_budget_ms,
            data_digest=package.description.data_digest,
        )
    lineage = lineage_of(package, verdict, parent_version=number, order=candidate.order)
    return {"verdict": verdict_json(verdict), "lineage": asdict(lineage), "champion": number}


def champion_of(platform: Platform, model: str) -> str:
    """Number of the champion; empty when the model is new or has none."""
    return platform.versions.alias(model, CHAMPION) if model in platform.versions.models() else ""
