"""The check: run, measure, compare, decide."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modelwright.check import gates as gate
from modelwright.check.answers import Answers, answer
from modelwright.check.comparison import Champion, compare
from modelwright.check.slice_gates import require_metrics, slice_gates
from modelwright.check.slices import measure_slices, require_columns
from modelwright.core.errors import BadInputError
from modelwright.core.metric import Metric
from modelwright.core.package import Package
from modelwright.core.slices import Slices
from modelwright.core.table import Column, Table, missing
from modelwright.core.verdict import Comparison, Gate, Verdict
from modelwright.ports.runner import Runner
from modelwright.stats import bootstrap, metrics


def split_target(rows: Table, target: str) -> tuple[Table, Column]:
    """The rows without the target column, and the target.

    Raises:
        BadInputError: ``check.no-target``, with a suggestion.
    """
    if target in rows:
        return rows.without(target), rows[target]
    near = difflib.get_close_matches(target, rows.names, 1)
    raise BadInputError(
        "check.no-target",
        f"The rows have no target column {target!r}.",
        why=f"Their columns are {', '.join(rows.names[:20])}.",
        fix=f"Did you mean {near[0]!r}?" if near else "Name the column that holds the truth.",
    )


def check(
    package: Package,
    rows: Table,
    truth: Column,
    *,
    runner: Runner,
    champion: Champion | None = None,
    gates: Mapping[str, float] | None = None,
    margin: float = 0.01,
    latency_budget_ms: float = 50.0,
    data_digest: str = "",
    slices: Sequence[str] = (),
    max_slice_gap: Mapping[str, float] | None = None,
) -> Verdict:
    """Judge a package on labelled rows.

    Args:
        package: the candidate.
        rows: feature rows; columns the model does not use are ignored.
        truth: the truth of each row, [n]; rows where it is missing are left out.
        runner: the candidate, loaded.
        champion: what it must not be worse than, or None.
        gates: metric name to the least value (for a loss: the largest) that passes; compared with the figure itself,
            whose interval is in the verdict beside it.
        margin: how much worse than the champion, relative to its figure, the upper bound may be.
        latency_budget_ms: median milliseconds allowed for one row.
        data_digest: identity of the rows, kept in the verdict.
        slices: columns of the rows, whether the model uses them or not, by whose values it is measured again. No gate
            looks at them unless ``max_slice_gap`` asks for it.
        max_slice_gap: metric name to how much worse than the rest a group of a slice may be; refused is a gap that is
            larger, and that chance does not explain among so many.

    Raises:
        BadInputError: ``check.length-mismatch``, ``check.unknown-label``, ``check.not-a-number``,
            ``check.unknown-metric``, ``check.bad-slice-gap``, ``check.no-slice-column``, ``features.*`` when the rows
            do not fit the candidate.
    """
    require_columns(rows, slices)
    require_metrics(max_slice_gap or {})
    if len(rows) != len(truth):
        raise BadInputError(
            "check.length-mismatch",
            f"There are {len(rows)} rows and {len(truth)} truths.",
            fix="Give one truth per row, in the same order.",
        )
    task = package.signature.task
    said = gate.unlabelled(package, runner, Table({}) if task == "none" else rows, latency_budget_ms)
    if task == "none":
        notes = {"task": "The model has no task, so nothing was measured against the truth."}
        return Verdict(package.digest, task, len(rows), (), said, None, data_digest, notes)
    known = ~missing(truth)
    labelled, truth = rows.take(known), truth[known]
    found = _judge(package, labelled, truth, runner, champion, margin, slices)
    said += (
        *found.gates,
        *gate.user_gates(found.metrics, gates or {}),
        *slice_gates(found.slices, max_slice_gap or {}),
    )
    return Verdict(
        package.digest,
        task,
        len(truth),
        tuple(found.metrics.values()),
        said,
        found.comparison,
        data_digest,
        _notes(len(rows), len(truth)),
        found.slices,
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """What the answers gave: nothing measured where there were none, or none that can be measured."""

    gates: list[Gate]
    metrics: dict[str, Metric] = field(default_factory=dict)
    comparison: Comparison | None = None
    slices: tuple[Slices, ...] = ()


def _notes(rows: int, labelled: int) -> dict[str, str]:
    notes = {}
    if labelled < rows:
        notes["unlabelled"] = f"{rows - labelled} rows without truth were left out."
    if labelled > bootstrap.ROWS:
        notes["intervals"] = f"Intervals were drawn on {bootstrap.ROWS} of {labelled} rows, evenly chosen, and scaled."
    return notes


def _judge(
    package: Package,
    rows: Table,
    truth: Column,
    runner: Runner,
    champion: Champion | None,
    margin: float,
    slices: Sequence[str],
) -> _Found:
    """Metrics by name, the gates on the answers, the comparison, and the slices, on rows whose truth is known."""
    signature = package.signature
    enough = gate.rows_enough(signature.task, truth, signature.classes)
    if not len(truth):
        return _Found([enough])
    answers = answer(package, runner, rows)
    finite = gate.finite(answers)
    said = [enough, finite, gate.not_constant(answers)]
    if not finite.passed:
        return _Found(said)
    measured = _measure(answers, truth)
    if enough.passed:
        figure = measured.get(metrics.PRIMARY[signature.task]) or measured["accuracy"]
        said.append(gate.better_than_baseline(signature.task, truth, signature.classes, figure))
    sliced = measure_slices(answers, truth, rows, slices) if slices else ()
    if champion is None:
        return _Found(said, measured, None, sliced)
    comparison, versus = compare(answers, rows, truth, champion, margin)
    return _Found([*said, versus], measured, comparison, sliced)


def _measure(answers: Answers, truth: Column) -> dict[str, Metric]:
    found = bootstrap.intervals(answers.statistics(truth))
    return {
        name: Metric(name, one.value, one.low, one.high, len(truth), metrics.GREATER_IS_BETTER[name])
        for name, one in found.items()
    }
