"""Artifact -> candidate -> champion, or out: the path that ``release`` and ``renew`` share."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from modelwright.check import check, split_target, verdict_from_json, verdict_json
from modelwright.core import package_codec
from modelwright.core.access import Act
from modelwright.core.errors import (
    BadInputError,
    ConflictError,
    CorruptError,
    ModelwrightError,
    RefusedError,
    UnavailableError,
)
from modelwright.core.native import Isolation
from modelwright.core.package import Package
from modelwright.core.package_codec import MANIFEST
from modelwright.core.trust import require_trusted
from modelwright.core.unjailed import unjailed
from modelwright.core.version import Lineage
from modelwright.lifecycle.canary import run_canary
from modelwright.lifecycle.local import pack_file
from modelwright.lifecycle.policies import policy_of
from modelwright.lifecycle.rollout import CHAMPION, act_of, crown, note
from modelwright.lifecycle.signed import REGISTER, require_newer, signed_of, take_signature
from modelwright.lifecycle.unjailed import allow_unjailed, unjailed_of
from modelwright.ports.framework import Route
from modelwright.ports.platform import Platform
from modelwright.ports.runner import Runner
from modelwright.ports.workflow import Json, Steps
from modelwright.register.lineage import lineage_of
from modelwright.register.policy import may_register
from modelwright.signing.check import require_sound


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that wants to be champion; ``order`` is the key of the order that asked for it.

    ``artifact`` is its file, or where another registry keeps it (:attr:`Platform.local_model`).
    ``route``, ``isolation`` and ``idempotent`` say how it is packed (:func:`modelwright.lifecycle.local.pack_file`);
    ``keeps_isolation``: nobody asked for another jail than the champion's.
    """

    model: str
    artifact: str
    validation: Path
    target: str
    reference: Path | None
    canary: bool
    order: str = ""
    route: Route = "auto"
    isolation: Isolation = "strict"
    idempotent: bool = True
    keeps_isolation: bool = False


def bring_in(platform: Platform, steps: Steps, arguments: Json, candidate: Candidate) -> Json:
    """Pack, check, register, deploy and judge; every act ends in the ledger.

    Returns:
        ``outcome``, ``version`` (null when it was not registered), ``digest``, ``verdict`` (null when it was not
        checked, for want of a signature), ``why``.
    """
    model = candidate.model
    try:
        packed = steps.do("pack", lambda: pack_artifact(platform, candidate, act=act_of(steps, arguments, "sign")))
    except ModelwrightError as error:
        evidence: Json = {"error": error.to_json()}
        note(platform, steps, arguments, action="pack.refused", model=model, why=error.what, evidence=evidence)
        raise
    digest = str(packed["digest"])
    note(platform, steps, arguments, action="pack.package", model=model, why="", evidence=packed)
    members = packed.get("unjailed", ())  # a story from before an update of ours has none
    standing = packed.get("standing", ()) if candidate.keeps_isolation else ()
    allow_unjailed(platform, steps, arguments, model=model, digest=digest, members=members, standing=standing)

    try:
        # Before the check, which runs the model: what nobody vouches for is not run where everything must be signed.
        steps.do("signature for register", lambda: may_register_signed(platform, model, digest))
    except (RefusedError, CorruptError) as error:
        evidence = {"digest": digest, "error": error.to_json()}
        note(platform, steps, arguments, action="register.refused", model=model, why=str(error), evidence=evidence)
        return {"outcome": "refused", "version": None, "digest": digest, "verdict": None, "why": str(error)}

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
    except (RefusedError, UnavailableError, ConflictError, CorruptError) as error:
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


def pack_artifact(platform: Platform, candidate: Candidate, *, act: Act) -> Json:
    """Convert, build the package, sign it where there is a key, and store its blobs.

    What is a package already is taken as it is, if its signature (where it has one) holds. What another registry keeps
    is fetched here, within the step, so that a story that goes on after a crash fetches it again. Gives its
    ``digest``, ``route``, and what its code asks for.
    """
    with platform.local_model(candidate.artifact) as found:
        package = ready_package(platform, candidate, Path(found)) or pack_file(
            platform,
            Path(found),
            name=candidate.model,
            data=candidate.validation,
            target=candidate.target,
            reference=candidate.reference,
            policy=policy_of(platform, candidate.model).inputs,
            route=candidate.route,
            isolation=candidate.isolation,
            idempotent=candidate.idempotent,
        )
        require_sound(package)
        package_codec.store(package, platform.blobs.put)
    signed = take_signature(platform, package, act=act)
    code: Json = {"isolation": package.native.isolation} if package.native else {}
    if members := unjailed(package):
        champion = champion_of(platform, candidate.model)
        held = platform.versions.version(candidate.model, champion) if champion else None
        code |= {"unjailed": list(members), "standing": unjailed_of(platform, held.digest) if held else []}
    return {
        "signature": signed,
        "digest": package.digest,
        "framework": f"{package.description.framework} {package.description.framework_version}".strip(),
        "route": package.description.route,
        "source_sha256": package.description.source_sha256,
        "data_digest": package.description.data_digest,
        **code,
    }


def ready_package(platform: Platform, candidate: Candidate, path: Path) -> Package | None:
    """The package that ``path`` is; None when it is a model to be packed.

    Raises:
        BadInputError: ``register.other-name``.
        RefusedError: ``register.older-than-champion``.
    """
    if platform.open_package is None or not (path.suffix in {".mw", ".zip"} or (path / MANIFEST).is_file()):
        return None
    package = platform.open_package(path)
    if package.name != candidate.model:
        raise BadInputError(
            "register.other-name",
            f"{path.name} is a package of {package.name!r}, not of {candidate.model!r}.",
            why="The name is part of the package's identity.",
            fix=f"--name {package.name}",
        )
    require_newer(platform, package, champion_of(platform, candidate.model))
    return package


def may_register_signed(platform: Platform, model: str, digest: str) -> None:
    """Check that a package has the signature that the policy asks of every version.

    Raises:
        RefusedError, CorruptError: as :func:`modelwright.core.trust.refusal`.
    """
    if REGISTER in policy_of(platform, model).signed:
        require_trusted(signed_of(platform, digest), f"The package of {model}")


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
            slices=[column for column in policy.slices if column in rows],
            max_slice_gap=policy.max_slice_gap,
        )
    # Rows of a renewal may lack a column that those of the release had: that alone refuses nobody.
    if absent := [column for column in policy.slices if column not in rows]:
        said = f"The rows have no column {', '.join(absent)}, so they were not sliced by it."
        verdict = replace(verdict, notes=verdict.notes | {"slices": said})
    lineage = lineage_of(package, verdict, parent_version=number, order=candidate.order)
    return {"verdict": verdict_json(verdict), "lineage": asdict(lineage), "champion": number}


def champion_of(platform: Platform, model: str) -> str:
    """Number of the champion; empty when the model is new or has none."""
    return platform.versions.alias(model, CHAMPION) if model in platform.versions.models() else ""
