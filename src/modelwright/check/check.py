"""The check: run, measure, compare, decide."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from modelwright.check import gates as gate
from modelwright.check.answers import Answers, answer
from modelwright.check.comparison import Champion, compare
from modelwright.core.errors import BadInputError
from modelwright.core.package import Package
from modelwright.core.table import Column, Table, missing
from modelwright.core.verdict import Comparison, Gate, Metric, Verdict
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

    Raises:
        BadInputError: ``check.length-mismatch``, ``check.unknown-label``, ``check.not-a-number``,
            ``check.unknown-metric``, ``features.*`` when the rows do not fit the candidate.
    """
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
    measured, judged, comparison = _judge(package, labelled, truth, runner, champion, margin)
    said += (*judged, *gate.user_gates(measured, gates or {}))
    notes = _notes(len(rows), len(truth))
    return Verdict(package.digest, task, len(truth), tuple(measured.values()), said, comparison, data_digest, notes)


def _notes(rows: int, labelled: int) -> dict[str, str]:
    notes = {}
    if labelled < rows:
        notes["unlabelled"] = f"{rows - labelled} rows without truth were left out."
    if labelled > bootstrap.ROWS:
        notes["intervals"] = f"Intervals were drawn on {bootstrap.ROWS} of {labelled} rows, evenly chosen, and scaled."
    return notes


def _judge(
    package: Package, rows: Table, truth: Column, runner: Runner, champion: Champion | None, margin: float
) -> tuple[dict[str, Metric], list[Gate], Comparison | None]:
    """Metrics by name, the gates on the answers, and the comparison, on rows whose truth is known."""
    signature = package.signature
    enough = gate.rows_enough(signature.task, truth, signature.classes)
    if not len(truth):
        return {}, [enough], None
    answers = answer(package, runner, rows)
    finite = gate.finite(answers)
    said = [enough, finite, gate.not_constant(answers)]
    if not finite.passed:
        return {}, said, None
    measured = _measure(answers, truth)
    if enough.passed:
        figure = measured.get(metrics.PRIMARY[signature.task]) or measured["accuracy"]
        said.append(gate.better_than_baseline(signature.task, truth, signature.classes, figure))
    if champion is None:
        return measured, said, None
    comparison, versus = compare(answers, rows, truth, champion, margin)
    return measured, [*said, versus], comparison


def _measure(answers: Answers, truth: Column) -> dict[str, Metric]:
    found = bootstrap.intervals(answers.statistics(truth))
    return {
        name: Metric(name, one.value, one.low, one.high, len(truth), metrics.GREATER_IS_BETTER[name])
        for name, one in found.items()
    }
