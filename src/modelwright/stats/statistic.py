"""Metrics as functions of row weights, so that one definition gives both the figure and its bootstrap replicates.

A bootstrap replicate of n rows is a vector of n integer weights that add up to n; the plain figure is the replicate
whose weights are all 1. ``Weights`` is float64 [replicates, n]; every statistic returns float64 [replicates], NaN
where the metric is not defined (AUC of one class).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Replicate = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True)
class Statistic:
    """One metric bound to its rows: ``replicate(weights [r, rows]) -> [r]``; ``take(indices)`` binds it to some."""

    rows: int
    replicate: Replicate
    take: Callable[[NDArray[np.intp]], Statistic]

    @property
    def value(self) -> float:
        """The figure on the rows as they are; NaN where it is not defined."""
        return float(self.replicate(np.ones((1, self.rows)))[0]) if self.rows else float("nan")


def _ratio(numerator: Floats, denominator: Floats, otherwise: float) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(denominator, otherwise), where=denominator > 0)


def from_sums(columns: NDArray[Any], finish: Callable[[Floats, Floats], Floats]) -> Statistic:
    """A metric that needs only weighted column sums.

    Args:
        columns: [n, m].
        finish: (sums [r, m], total weight [r]) -> [r].
    """
    matrix = np.ascontiguousarray(columns, dtype=np.float64)
    return Statistic(
        len(matrix),
        lambda weights: finish(weights @ matrix, weights.sum(axis=1)),
        lambda rows: from_sums(matrix[rows], finish),
    )


def mean(losses: NDArray[Any]) -> Statistic:
    """The mean of one loss per row [n]."""
    return from_sums(np.asarray(losses, dtype=np.float64)[:, None], lambda sums, total: sums[:, 0] / total)


def root_mean_square(errors: NDArray[Any]) -> Statistic:
    """The square root of the mean squared error; errors [n]."""
    squares = np.asarray(errors, dtype=np.float64)[:, None] ** 2
    return from_sums(squares, lambda sums, total: np.sqrt(sums[:, 0] / total))


def determination(truth: NDArray[Any], predicted: NDArray[Any]) -> Statistic:
    """R squared, 1 - SSE / SST about the weighted mean of the truth; NaN for a constant truth."""
    centred = np.asarray(truth, dtype=np.float64) - np.mean(truth)
    residual = np.asarray(truth, dtype=np.float64) - predicted

    def finish(sums: Floats, total: Floats) -> Floats:
        spread = sums[:, 1] - sums[:, 0] ** 2 / total
        return 1.0 - _ratio(sums[:, 2], spread, float("nan"))

    return from_sums(np.stack([centred, centred**2, residual**2], axis=1), finish)


def median(values: NDArray[Any]) -> Statistic:
    """The median of values [n] (mean of the two middle ones when their weight is even)."""
    order = np.argsort(values, kind="stable")
    ordered = np.asarray(values, dtype=np.float64)[order]

    def replicate(weights: Floats) -> Floats:
        reached = np.cumsum(weights[:, order], axis=1)
        total = reached[:, -1:]
        lower = np.argmax(reached >= np.floor((total + 1) / 2), axis=1)
        upper = np.argmax(reached >= np.floor((total + 2) / 2), axis=1)
        middle: Floats = (ordered[lower] + ordered[upper]) / 2
        return middle

    return Statistic(len(ordered), replicate, lambda rows: median(values[rows]))


def confusion(truth: NDArray[np.bool_], predicted: NDArray[np.bool_], kind: str) -> Statistic:
    """``precision``, ``recall`` or ``f1`` of the positive class; 0 where nothing is in the denominator."""
    columns = np.stack([truth & predicted, predicted, truth], axis=1)

    def finish(sums: Floats, _: Floats) -> Floats:
        hits, said, were = sums.T
        if kind == "precision":
            return _ratio(hits, said, 0.0)
        if kind == "recall":
            return _ratio(hits, were, 0.0)
        return _ratio(2 * hits, said + were, 0.0)

    return from_sums(columns, finish)


def macro_f1(truth: NDArray[np.intp], predicted: NDArray[np.intp], classes: int) -> Statistic:
    """Mean F1 over the classes that occur in the truth or among the predictions; class indices [n]."""
    levels = np.arange(classes)
    were, said = truth[:, None] == levels, predicted[:, None] == levels

    def finish(sums: Floats, _: Floats) -> Floats:
        hits, occurring = sums[:, :classes], sums[:, classes:]
        score = _ratio(2 * hits, occurring, 0.0).sum(axis=1)
        return _ratio(score, (occurring > 0).sum(axis=1).astype(np.float64), 0.0)

    return from_sums(np.concatenate([were & said, were.astype(np.int8) + said], axis=1), finish)


def calibration(truth: NDArray[np.bool_], probability: NDArray[Any], bins: int = 10) -> Statistic:
    """Expected calibration error over equal-width bins of P(positive): sum of |sum(p - y)| per bin, over n.

    Naeini, Cooper and Hauskrecht (2015). Its bootstrap replicates lie above the figure (an absolute value of noise).
    """
    gap = np.asarray(probability, dtype=np.float64) - truth
    place = np.clip((np.asarray(probability, dtype=np.float64) * bins).astype(np.intp), 0, bins - 1)
    columns = np.zeros((len(gap), bins))
    columns[np.arange(len(gap)), place] = gap
    return from_sums(columns, lambda sums, total: np.abs(sums).sum(axis=1) / total)


def _by_score(truth: NDArray[np.bool_], score: NDArray[Any]) -> Callable[[Floats], tuple[Floats, Floats]]:
    """Weights -> (positives, negatives) per distinct score, ascending: [r, distinct scores] each."""
    order = np.argsort(score, kind="stable")
    ordered = np.asarray(score)[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    positive = truth[order].astype(np.float64)

    def grouped(weights: Floats) -> tuple[Floats, Floats]:
        placed = weights[:, order]
        ups = placed * positive
        downs = placed - ups
        if len(starts) == len(order):
            return ups, downs
        return np.add.reduceat(ups, starts, axis=1), np.add.reduceat(downs, starts, axis=1)

    return grouped


def ranking(truth: NDArray[np.bool_], score: NDArray[Any]) -> Statistic:
    """Area under the ROC curve: P(score of a positive > score of a negative) + half the ties (Mann-Whitney)."""
    grouped = _by_score(truth, score)

    def replicate(weights: Floats) -> Floats:
        positives, negatives = grouped(weights)
        below = np.cumsum(negatives, axis=1)
        pairs = positives.sum(axis=1) * below[:, -1]
        return _ratio(np.einsum("rg,rg->r", positives, below - negatives / 2), pairs, float("nan"))

    return Statistic(len(truth), replicate, lambda rows: ranking(truth[rows], score[rows]))


def average_precision(truth: NDArray[np.bool_], score: NDArray[Any]) -> Statistic:
    """Sum over distinct scores of (recall gained) x precision; NaN without a positive row."""
    grouped = _by_score(truth, score)

    def replicate(weights: Floats) -> Floats:
        positives, negatives = (np.ascontiguousarray(part[:, ::-1]) for part in grouped(weights))
        hits = np.cumsum(positives, axis=1)
        precision = _ratio(hits, hits + np.cumsum(negatives, axis=1), 0.0)
        return _ratio(np.einsum("rg,rg->r", positives, precision), hits[:, -1], float("nan"))

    return Statistic(len(truth), replicate, lambda rows: average_precision(truth[rows], score[rows]))
