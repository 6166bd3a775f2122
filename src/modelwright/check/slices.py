"""A model in groups of the rows: what it is worth in each, how far that lies from the rest, and rates by group."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.check.answers import Answers
from modelwright.check.groups import Rows, groups
from modelwright.core.errors import BadInputError
from modelwright.core.metric import Metric
from modelwright.core.slices import Fairness, Gap, Group, GroupRate, Rate, Slices, Spread
from modelwright.core.table import Column, Table
from modelwright.stats import gaps, metrics, rates
from modelwright.stats.fdr import benjamini_hochberg
from modelwright.stats.gaps import Difference

MINIMUM_ROWS = 30
LEAST_CASES = 10
"""Rows that must decide a metric, of those it counts: positives for recall, the rarer class for AUC."""
MOST_CLASSES = 10
_RATES: tuple[Rate, ...] = ("selection_rate", "true_positive_rate", "false_positive_rate")


@dataclass(frozen=True, slots=True)
class _Decided:
    """Index of the true class and of the predicted one, [n] each; None for a model that gives numbers."""

    truth: NDArray[np.intp] | None
    said: NDArray[np.intp] | None


def require_columns(rows: Table, columns: Sequence[str]) -> None:
    """Check that the rows have the columns to slice by.

    Raises:
        BadInputError: ``check.no-slice-column``, with a suggestion.
    """
    for name in columns:
        if name in rows:
            continue
        near = difflib.get_close_matches(name, rows.names, 1)
        raise BadInputError(
            "check.no-slice-column",
            f"The rows have no column {name!r} to slice by.",
            why=f"Their columns beside the target are {', '.join(rows.names[:20])}.",
            fix=f"Did you mean {near[0]!r}?" if near else "Name a column of the data; the model need not use it.",
        )


def measure_slices(answers: Answers, truth: Column, rows: Table, columns: Sequence[str]) -> tuple[Slices, ...]:
    """Metrics, gaps and rates by group, for each of the columns.

    A group below 30 rows has no figures. The q-values of the gaps are those of Benjamini and Hochberg over every gap of
    every column, since one looks at all of them.

    Args:
        answers: what the model says, [n].
        truth: the truth, [n], without missing values.
        rows: the columns to slice by, [n] each.
        columns: their names.
    """
    whole = answers.statistics(truth)
    decided = _Decided(None, None)
    if answers.signature.task != "regression":
        decided = _Decided(*metrics.decisions(truth, answers.label, answers.scores, answers.signature.classes))
    found, tested = [], []
    for column in dict.fromkeys(columns):
        held = groups(rows[column])
        measured = [_group(one, whole, decided, answers.signature.task, len(truth)) for one in held]
        tested += [differences for _, differences in measured]
        fairness = _fairness(held, decided, answers.signature.classes, answers.signature.task)
        found.append(Slices(column, MINIMUM_ROWS, tuple(group for group, _ in measured), fairness))
    return _with_gaps(found, tested)


def _group(
    group: Rows, whole: Mapping[str, Any], decided: _Decided, task: str, rows: int
) -> tuple[Group, dict[str, Difference]]:
    """The group without its gaps, and the gaps before their correction."""
    bare = Group(group.name, group.kind, len(group.index))
    if len(group.index) < MINIMUM_ROWS:
        return bare, {}
    mask = np.zeros(rows, dtype=bool)
    mask[group.index] = True
    others = np.flatnonzero(~mask)
    ours, theirs = _cases(decided, group.index, task), _cases(decided, others, task)
    drawn = _drawn(len(group.index), ours), _drawn(len(others), theirs)
    enough = [name for name in whole if _decides(ours.get(name), len(group.index), drawn[0])]
    known = [name for name in enough if _decides(theirs.get(name), len(others), drawn[1])]
    compared = known if len(others) >= MINIMUM_ROWS else []
    intervals, differences = gaps.measure(
        {name: whole[name].take(group.index) for name in enough},
        {name: whole[name].take(others) for name in compared},
        ours,
        drawn=drawn,
    )
    measured = tuple(
        Metric(name, one.value, one.low, one.high, bare.rows, metrics.GREATER_IS_BETTER[name])
        for name, one in intervals.items()
    )
    return replace(bare, metrics=measured), gaps.doubted(differences, whole, len(group.index), drawn=drawn)


def _drawn(rows: int, cases: Mapping[str, int]) -> int:
    return gaps.drawn_rows(rows, min(cases.values(), default=rows))


def _decides(cases: int | None, rows: int, drawn: int) -> bool:
    """Whether enough of the rows that replicates are drawn on decide a metric; None: all of them do."""
    return cases is None or cases * drawn >= LEAST_CASES * rows


def _cases(decided: _Decided, rows: NDArray[np.intp], task: str) -> dict[str, int]:
    """Metric to the number of rows that decide it, where those are not all of them."""
    if task != "binary" or decided.truth is None or decided.said is None:
        return {}
    were, said = decided.truth[rows] == 1, decided.said[rows] == 1
    positives, chosen = int(were.sum()), int(said.sum())
    rarer = min(positives, len(rows) - positives)
    either = int((were | said).sum())
    return {
        "recall": positives,
        "average_precision": positives,
        "precision": chosen,
        "f1": either,
        "roc_auc": rarer,
    }


def _with_gaps(found: Sequence[Slices], tested: Sequence[Mapping[str, Difference]]) -> tuple[Slices, ...]:
    """The slices with their gaps, each with its q-value among all of them."""
    corrected = iter(benjamini_hochberg([one.p for each in tested for one in each.values()]).tolist())
    left = iter(tested)

    def complete(group: Group) -> Group:
        made = tuple(
            Gap(name, one.value, one.low, one.high, next(corrected), metrics.GREATER_IS_BETTER[name])
            for name, one in next(left).items()
        )
        return replace(group, gaps=made)

    return tuple(replace(one, groups=tuple(complete(group) for group in one.groups)) for one in found)


def _fairness(held: Sequence[Rows], decided: _Decided, classes: tuple[str, ...], task: str) -> tuple[Fairness, ...]:
    """Rates by group for the positive class, or for each of several classes."""
    if decided.truth is None or decided.said is None:
        return ()
    positives = [1] if task == "binary" else range(min(len(classes), MOST_CLASSES))
    found = []
    for positive in positives:
        were, said = decided.truth == positive, decided.said == positive
        for rate in _RATES:
            made = _rate(rate, classes[positive], held, were, said)
            found += [made] if made is not None else []
    return tuple(found)


def _rate(
    rate: Rate, positive: str, held: Sequence[Rows], were: NDArray[np.bool_], said: NDArray[np.bool_]
) -> Fairness | None:
    """One rate by group; None where fewer than two groups have enough rows that count.

    Sources: selection rates, demographic parity: C. Dwork et al., "Fairness through awareness" (2012), their ratio: the
    four-fifths rule of 29 CFR 1607.4(D); true-positive rates, equal opportunity, and with the false-positive rates
    equalized odds: M. Hardt, E. Price and N. Srebro, "Equality of opportunity in supervised learning" (2016).
    """
    counted = {"selection_rate": np.ones_like(were), "true_positive_rate": were, "false_positive_rate": ~were}[rate]
    names, counts = [], []
    for group in held:
        cases = counted[group.index]
        if len(group.index) >= MINIMUM_ROWS and cases.sum() >= LEAST_CASES:
            names.append(group.name)
            counts.append((int((said[group.index] & cases).sum()), int(cases.sum())))
    if len(counts) < 2:
        return None
    shares = [rates.share(*count) for count in counts]
    shown = tuple(
        GroupRate(name, one.value, one.low, one.high, count[1])
        for name, one, count in zip(names, shares, counts, strict=True)
    )
    difference, ratio = rates.apart(counts)
    ordered = sorted(shown, key=lambda one: one.value)
    return Fairness(rate, positive, shown, ordered[0].group, ordered[-1].group, _spread(difference), _ratio(ratio))


def _spread(found: rates.Range) -> Spread:
    return Spread(found.value, found.low, found.high)


def _ratio(found: rates.Range | None) -> Spread | None:
    return None if found is None else _spread(found)
