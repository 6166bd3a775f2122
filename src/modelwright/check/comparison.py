"""Candidate against champion, on the same rows."""

from __future__ import annotations

import numpy as np

from modelwright.check.answers import Answers, answer
from modelwright.check.gates import MINIMUM_ROWS, not_worse
from modelwright.core.errors import BadInputError
from modelwright.core.package import Package
from modelwright.core.table import Column, Table
from modelwright.core.verdict import Comparison, Gate
from modelwright.ports.runner import Runner
from modelwright.stats import bootstrap, metrics

Champion = tuple[str, Runner, Package]
"""Version number, its runner, its package."""


def _incomparable(version: str, why: str, fix: str) -> Gate:
    said = f"Version {version} could not be compared with. {why}"
    return Gate("not-worse-than-champion", False, None, None, said, fix)


def compare(
    candidate: Answers, rows: Table, truth: Column, champion: Champion, margin: float
) -> tuple[Comparison | None, Gate]:
    """The comparison on the task's primary metric (accuracy where one of the two gives no probabilities), and its gate.

    The champion answers by its own signature. Rows whose label the champion does not know are left out. When the two
    cannot be compared there is no comparison, and the gate says no.
    """
    version, runner, package = champion
    task = candidate.signature.task
    if package.signature.task != task:
        why = f"It is a {package.signature.task} model, the candidate a {task} one."
        return None, _incomparable(version, why, "Release a model of another task under another name.")
    try:
        reigning = answer(package, runner, rows)
    except BadInputError as error:
        return None, _incomparable(version, str(error), "Give rows that hold the columns of both versions.")
    if reigning.unusable():
        why = f"{reigning.unusable()} of its own predictions on these rows are not finite."
        return None, _incomparable(version, why, "Give rows that both versions can take.")
    if task != "regression":
        known = np.flatnonzero(metrics.known_labels(truth, package.signature.classes))
        candidate, reigning, truth = candidate.take(known), reigning.take(known), truth[known]
    if len(truth) < MINIMUM_ROWS:
        why = f"Only {len(truth)} rows have a label that it knows (needed: {MINIMUM_ROWS})."
        return None, _incomparable(version, why, "Give more labelled rows.")
    ours, theirs = candidate.statistics(truth), reigning.statistics(truth)
    primary = metrics.PRIMARY[task]
    name = primary if primary in ours and primary in theirs else "accuracy"
    difference = bootstrap.paired_interval(ours[name], theirs[name])
    comparison = Comparison(
        version,
        name,
        theirs[name].value,
        ours[name].value,
        difference.value,
        difference.low,
        difference.high,
        metrics.GREATER_IS_BETTER[name],
        len(truth),
    )
    return comparison, not_worse(comparison, margin)
