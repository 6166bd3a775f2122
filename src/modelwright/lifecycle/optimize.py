"""Package -> variants, each with evidence, and the one that a budget allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.check import split_target
from modelwright.check.variant import Evidence, evidence
from modelwright.core import package_codec as codec
from modelwright.core.errors import BadInputError, RefusedError
from modelwright.core.package import Golden, Package, canonical_json
from modelwright.core.record_codec import to_json
from modelwright.core.table import Column, Table, missing
from modelwright.features.columns import feeds
from modelwright.features.tabular import rows_evenly
from modelwright.lifecycle.local import Workbench
from modelwright.pack.card import card_of
from modelwright.pack.card_forms import markdown
from modelwright.stats.metrics import GREATER_IS_BETTER

BASE = "base"
VARIANT = "variant.json"
CALIBRATION_ROWS = 256
Make = Callable[[Package, str, Mapping[str, NDArray[Any]]], bytes]


@dataclass(frozen=True, slots=True)
class Budget:
    """What a variant may cost; ``metrics`` are the least values (for a loss: the largest)."""

    latency_ms: float | None = None
    size_mb: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of the table: ``why`` says why there is none, ``broken`` what of the budget it does not keep."""

    kind: str
    package: Package | None
    evidence: Evidence | None
    why: str = ""
    broken: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "variant": self.kind,
            "digest": self.package.digest if self.package else None,
            "evidence": to_json(self.evidence) if self.evidence else None,
            "why": self.why,
            "broken": list(self.broken),
        }


def optimize(
    bench: Workbench,
    package: Package,
    data: Path,
    *,
    target: str,
    make: Make,
    kinds: Sequence[str],
    budget: Budget,
) -> list[Variant]:
    """The package itself (``base``) and its variants, measured on labelled rows.

    A few of the rows calibrate a static quantization; those are not measured on.

    Raises:
        BadInputError: ``optimize.no-task``, ``optimize.too-few-rows``, ``optimize.unknown-metric``; of ``make`` and of
            the check.
    """
    if package.signature.task == "none":
        raise BadInputError(
            "optimize.no-task",
            f"Package {package.name} does not say what its outputs mean, so no accuracy can be measured.",
            fix="Pack a classifier or a regressor whose outputs are named label and probabilities.",
        )
    rows, truth, calibration = _split(package, *split_target(bench.source.read(data), target))
    runner = bench.runners.load(package)
    try:
        found = [_base(package, rows, truth, runner, budget)]
        found += [_variant(bench, package, kind, rows, truth, calibration, make, budget, runner) for kind in kinds]
    finally:
        runner.close()
    return found


def best(found: Sequence[Variant]) -> Variant:
    """Of those that keep the budget the fastest one that is faster beyond doubt; else the base, else the smallest.

    Beyond doubt: the interval of its latency ratio lies below 1.

    Raises:
        RefusedError: ``optimize.over-budget``, with what each one breaks.
    """
    held = [one for one in found if one.evidence is not None and not one.broken]
    faster = [(one.evidence.latency_ratio, one) for one in held if one.evidence and one.evidence.latency_high < 1]
    if faster:
        return min(faster, key=lambda pair: pair[0])[1]
    if held:
        smallest = min(held, key=lambda one: one.evidence.size if one.evidence else 0)
        return next((one for one in held if one.kind == BASE), smallest)
    why = "; ".join(f"{one.kind}: {', '.join(one.broken) or one.why}" for one in found)
    raise RefusedError(
        "optimize.over-budget",
        "No variant keeps the budget.",
        why=f"{why.rstrip('.')}.",
        fix="Allow more, or train a smaller model.",
        details={"variants": [one.to_json() for one in found]},
    )


def _split(package: Package, rows: Table, truth: Column) -> tuple[Table, Column, Mapping[str, NDArray[Any]]]:
    known = np.flatnonzero(~missing(truth))
    rows, truth = rows.take(known), truth[known]
    if len(truth) < 20:
        raise BadInputError(
            "optimize.too-few-rows",
            f"There are {len(truth)} labelled rows.",
            why="An accuracy change with an interval needs more; 20 at least.",
            fix="Give more labelled rows.",
        )
    taken = rows_evenly(len(truth), min(CALIBRATION_ROWS, len(truth) // 5))
    rest = np.setdiff1d(np.arange(len(truth)), taken)
    return rows.take(rest), truth[rest], feeds(package.signature, rows.take(taken))


def _base(package: Package, rows: Table, truth: Column, runner: Any, budget: Budget) -> Variant:
    said = evidence(package, package, rows, truth, runners=(runner, runner), model=codec.MODEL)
    return Variant(BASE, package, said, broken=_broken(said, budget))


def _variant(
    bench: Workbench,
    base: Package,
    kind: str,
    rows: Table,
    truth: Column,
    calibration: Mapping[str, NDArray[Any]],
    make: Make,
    budget: Budget,
    runner: Any,
) -> Variant:
    try:
        package = _packed(bench, base, kind, make(base, kind, calibration))
        other = bench.runners.load(package)
    except RefusedError as error:
        return Variant(kind, None, None, why=error.why or error.what)
    except BadInputError as error:
        if error.code != "serve.graph-unusable":
            raise
        return Variant(kind, None, None, why=f"ONNX Runtime does not load it: {error.why}")
    try:
        said = evidence(base, package, rows, truth, runners=(runner, other), model=codec.MODEL)
    finally:
        other.close()
    record = canonical_json({"base": base.digest, "variant": kind, "evidence": to_json(asdict(said))})
    files = {name: package.content(name) for name in package.manifest.files} | {VARIANT: record}
    files[codec.CARD] = markdown(card_of(package)).encode()
    return Variant(kind, codec.assemble(base.name, files), said, broken=_broken(said, budget))


def _packed(bench: Workbench, base: Package, kind: str, graph: bytes) -> Package:
    """The base with another graph, and golden rows that this graph answers.

    The base's certificate of conversion is about another graph, so it does not come along.
    """
    notes = base.description.notes | {"variant": kind, "base": base.digest}
    made = replace(base.description, notes=notes, created_at=datetime.now(UTC).isoformat(timespec="seconds"))
    files = {name: base.content(name) for name in base.manifest.files if name != codec.PARITY}
    files |= {codec.MODEL: graph, codec.DESCRIPTION: codec.description_json(made)}
    if base.golden is not None:
        inputs = codec.golden_tensors(base.signature.inputs, base.golden.inputs)
        runner = bench.runners.load(codec.assemble(base.name, files))
        try:
            outputs = {name: to_json(tensor) for name, tensor in runner.run(inputs).items()}
        finally:
            runner.close()
        files[codec.GOLDEN] = codec.golden_json(Golden(base.golden.inputs, outputs, base.golden.rows))
    return codec.assemble(base.name, files)


def _broken(said: Evidence, budget: Budget) -> tuple[str, ...]:
    broken = []
    if budget.latency_ms is not None and said.latency_ms > budget.latency_ms:
        broken.append(f"one row takes {said.latency_ms:.3g} ms (allowed: {budget.latency_ms:g})")
    if budget.size_mb is not None and said.size > budget.size_mb * 1e6:
        broken.append(f"the model holds {said.size / 1e6:.3g} MB (allowed: {budget.size_mb:g})")
    for name, wanted in budget.metrics.items():
        if name not in said.metrics:
            raise BadInputError(
                "optimize.unknown-metric",
                f"There is no metric {name!r} of this model.",
                fix=f"Known: {', '.join(said.metrics)}.",
            )
        value = said.metrics[name].value
        if (value < wanted) if GREATER_IS_BETTER[name] else (value > wanted):
            least = "at least" if GREATER_IS_BETTER[name] else "at most"
            broken.append(f"{name} is {value:.4g} (wanted: {least} {wanted:g})")
    return tuple(broken)
