"""The circle closes here: order -> recorded rows -> the user's training -> candidate -> champion, or not."""

from __future__ import annotations

import hashlib
import shutil
from datetime import UTC, datetime
from pathlib import Path

from modelwright.core import package_codec
from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.core.finding import Order, Window
from modelwright.core.table import Table, as_sent, missing
from modelwright.lifecycle.candidate import Candidate, bring_in, champion_of
from modelwright.lifecycle.policies import policy_of
from modelwright.lifecycle.rollout import act_of, note
from modelwright.ports.platform import Platform
from modelwright.ports.trainer import Recipe
from modelwright.ports.workflow import Json, Steps


def renew(platform: Platform, steps: Steps, arguments: Json) -> Json:
    """Train a candidate on what was recorded, and bring it in.

    Args:
        platform: the ports.
        steps: durable steps; the story's key is the order's key.
        arguments: ``model``, ``cause`` (``manual``, ``schedule``, ``finding``), ``reason``, ``actor``, and the
            event-time window ``since``, ``until`` (Unix seconds, null = open). ``route`` and ``isolation``, where
            they are given, say how the candidate is to run; else it runs as the champion does, or is refused.

    Returns:
        As ``release``, and ``rows``: how many recorded rows with ground truth the recipe was given.

    Raises:
        BadInputError: ``retrain.no-recipe``.
        RefusedError: ``retrain.recipe-failed`` and what packing refuses.
    """
    model = str(arguments["model"])
    # A step, because the project file may say something else after a crash, and a canary may be under way then.
    target = str(steps.do("find recipe", lambda: recipe_of(platform, model).target))
    steps.do("order", lambda: order(platform, steps, arguments))
    work = work_directory(platform, steps.key)
    rows = steps.do("export", lambda: export(platform, arguments, work / "recorded.parquet"))
    try:
        trained = steps.do("train", lambda: train(platform, recipe_of(platform, model), work, recorded=rows > 0))
    except ModelwrightError as error:
        evidence: Json = {"error": error.to_json()}
        note(platform, steps, arguments, action="retrain.failed", model=model, why=error.what, evidence=evidence)
        raise
    facts: Json = trained | {"recorded": rows}
    note(platform, steps, arguments, action="retrain.train", model=model, why="", evidence=facts)
    kept = steps.do("find route", lambda: route_of(platform, arguments))
    candidate = Candidate(
        model=model,
        artifact=str(work / "trained" / str(trained["model"])),
        validation=work / "trained" / str(trained["validation"]),
        target=target,
        reference=work / "trained" / str(trained["reference"]),
        canary=True,
        order=steps.key,
        route=kept["route"],
        isolation=kept["isolation"],
        idempotent=kept["idempotent"],
        keeps_isolation=not arguments.get("isolation"),
    )
    result = bring_in(platform, steps, arguments, candidate)
    steps.do("tidy", lambda: shutil.rmtree(work, ignore_errors=True))
    return result | {"rows": rows}


def recipe_of(platform: Platform, model: str) -> Recipe:
    """The model's recipe.

    Raises:
        BadInputError: ``retrain.no-recipe``.
    """
    recipe = policy_of(platform, model).recipe
    if recipe is None:
        raise BadInputError(
            "retrain.no-recipe",
            f"Model {model} has no recipe.",
            why="Renewing runs your own load and train functions.",
            fix=f"Add models.{model}.recipe to modelwright.yaml.",
        )
    return recipe


def route_of(platform: Platform, arguments: Json) -> Json:
    """How the candidate is packed: ``route``, ``isolation`` and ``idempotent``, the champion's where nobody says.

    A renewal that nobody looks at must not turn a graph of numbers into code, or the other way round.
    """
    model = str(arguments["model"])
    number = champion_of(platform, model)
    route, isolation, idempotent = "auto", "strict", True
    if number:
        package = package_codec.load(platform.versions.version(model, number).digest, platform.blobs.get)
        route = package.description.route if package.description.route in ("onnx", "native") else "auto"
        if package.native is not None:
            isolation, idempotent = package.native.isolation, package.native.idempotent
    return {
        "route": arguments.get("route") or route,
        "isolation": arguments.get("isolation") or isolation,
        "idempotent": idempotent,
    }


def order(platform: Platform, steps: Steps, arguments: Json) -> bool:
    """Write the order down, unless watching wrote it already."""
    at = datetime.fromtimestamp(platform.clock.now(), tz=UTC).isoformat()
    cause, why = str(arguments.get("cause", "manual")), str(arguments.get("reason", ""))
    wanted = Order(str(arguments["model"]), cause, why, at, steps.key)
    return platform.findings.add_order(wanted, act=act_of(steps, arguments, "order"))


def export(platform: Platform, arguments: Json, to: Path) -> int:
    """Write the rows that champion and canary answered and whose truth is known; returns how many.

    The columns are those of :meth:`~modelwright.ports.record.PredictionLog.joined`; 32-bit numbers are written as the
    64-bit numbers that people sent. No file where there is no row.
    """
    model = str(arguments["model"])
    number = champion_of(platform, model)
    if not number:
        return 0
    package = package_codec.load(platform.versions.version(model, number).digest, platform.blobs.get)
    rows = platform.log.joined(
        model,
        signature=package.signature,
        window=window_of(arguments, now=platform.clock.now()),
        roles=("champion", "canary"),
    )
    known = rows.take(~missing(rows["truth"])) if len(rows) else rows
    if len(known):
        platform.source.write(Table({name: as_sent(column) for name, column in known.columns.items()}), to)
    return len(known)


def window_of(arguments: Json, *, now: float) -> Window | None:
    """``since`` and ``until`` as a window (open: from the epoch, until now); None when both are open.

    Raises:
        BadInputError: ``watch.bad-window``: it ends before it begins.
    """
    since, until = arguments.get("since"), arguments.get("until")
    if since is None and until is None:
        return None
    window = Window(0.0 if since is None else float(since), now if until is None else float(until))
    if not window.since < window.until:
        raise BadInputError(
            "watch.bad-window",
            f"The window from {window.since:g} to {window.until:g} holds no time.",
            fix="Give --since before --until, both as Unix seconds (UTC).",
        )
    return window


def train(platform: Platform, recipe: Recipe, work: Path, *, recorded: bool) -> Json:
    """Run the recipe; the names of its files in ``work/trained``, and how many rows and seconds it took."""
    source = work / "recorded.parquet" if recorded else None
    trained = platform.trainer.train(recipe, recorded=source, work=work / "trained")
    return {
        "model": trained.model.name,
        "validation": trained.validation.name,
        "reference": trained.reference.name,
        "rows": trained.rows,
        "seconds": trained.seconds,
    }


def work_directory(platform: Platform, key: str) -> Path:
    """The story's own scratch directory: the same after a crash, another for every key."""
    work = platform.home / "work" / hashlib.sha256(key.encode()).hexdigest()[:24]
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    return work
