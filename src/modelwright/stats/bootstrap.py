"""Percentile bootstrap intervals (Efron, 1979), deterministic for a seed, on row weights.

Above :data:`ROWS` rows the replicates are drawn on an even subsample of m of the n rows, and their deviations are
scaled by sqrt(m / n) around the figure of all n rows (the m-out-of-n bootstrap of a root-n statistic; Bickel, Goetze
and van Zwet, 1997). ``Interval.rows`` says how many rows the replicates used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.signature import Task
from modelwright.core.table import Column
from modelwright.stats import metrics, statistic
from modelwright.stats.statistic import Floats, Statistic

ROWS = 20_000
REPLICATES = 500
_CELLS = 2_000_000  # weights held at a time: 16 MB


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its bootstrap interval; ``rows`` is the number of rows the replicates were drawn on."""

    value: float
    low: float
    high: float
    rows: int


def _weights(rows: int, replicates: int, seed: int) -> Iterator[Floats]:
    """Blocks [b, rows] of multinomial weights, ``replicates`` rows in all."""
    random = np.random.default_rng(seed)
    block = max(1, _CELLS // rows)
    for start in range(0, replicates, block):
        size = min(block, replicates - start)
        drawn = random.integers(0, rows, size=(size, rows), dtype=np.int64)
        drawn += (np.arange(size) * rows)[:, None]
        yield np.bincount(drawn.reshape(-1), minlength=size * rows).reshape(size, rows).astype(np.float64)


def deviations(
    bound: Mapping[str, Statistic], *, replicates: int = REPLICATES, seed: int = 0, most: int = ROWS
) -> tuple[dict[str, Floats], int]:
    """Per statistic its replicates minus its figure [replicates], and how many rows they were drawn on.

    Above ``most`` rows they are drawn on an even subsample and scaled to all rows. NaN where a replicate is not
    defined: one without one class has no AUC.
    """
    rows = next(iter(bound.values())).rows
    used = bound
    if rows > most:
        chosen = np.linspace(0, rows - 1, most).astype(np.intp)
        used = {name: one.take(chosen) for name, one in bound.items()}
    size = min(rows, most)
    drawn: dict[str, list[Floats]] = {name: [] for name in used}
    for weights in _weights(size, replicates, seed):
        for name, one in used.items():
            drawn[name].append(one.replicate(weights))
    scale = float(np.sqrt(size / rows))
    return {name: (np.concatenate(parts) - used[name].value) * scale for name, parts in drawn.items()}, size


def bounds(deviation: Floats, level: float = 0.95) -> tuple[float, float]:
    """The (low, high) deviation between which the middle share ``level`` of them lies; (0, 0) where none is defined."""
    known = deviation[np.isfinite(deviation)]
    if not len(known):
        return 0.0, 0.0
    tail = (1 - level) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def intervals(
    bound: Mapping[str, Statistic], *, replicates: int = REPLICATES, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """Intervals of several statistics of the same rows, from the same replicates.

    A statistic that is not defined on the rows is left out; so is everything when there is no row. An interval always
    holds its figure (replicates of a calibration error can all lie above it).
    """
    figures = {name: one.value for name, one in bound.items() if one.rows}
    defined = {name: bound[name] for name, value in figures.items() if np.isfinite(value)}
    if not defined:
        return {}
    drawn, rows = deviations(defined, replicates=replicates, seed=seed)
    return {name: around(figures[name], one, rows, level) for name, one in drawn.items()}


def around(figure: float, deviation: Floats, rows: int, level: float = 0.95) -> Interval:
    """The interval of a figure from the deviations of its replicates; it holds the figure."""
    low, high = bounds(deviation, level)
    return Interval(figure, figure + min(low, 0.0), figure + max(high, 0.0), rows)


def interval(
    bound: Statistic | NDArray[Any], *, replicates: int = REPLICATES, seed: int = 0, level: float = 0.95
) -> Interval:
    """Interval of one statistic, or of the mean of one loss per row ([n], n >= 1).

    Raises:
        ValueError: the statistic is not defined on its rows (no row, or AUC of one class).
    """
    one = bound if isinstance(bound, Statistic) else statistic.mean(bound)
    found = intervals({"": one}, replicates=replicates, seed=seed, level=level)
    if not found:
        raise ValueError("the statistic is not defined on these rows")
    return found[""]


def paired_interval(
    candidate: Statistic | NDArray[Any],
    champion: Statistic | NDArray[Any],
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Interval of candidate minus champion on the same rows, resampling rows of both together.

    Each is a statistic or one loss per row ([n], the same n, row by row the same rows).

    Raises:
        ValueError: the two do not have the same number of rows, or one is not defined on them.
    """
    one, other = (side if isinstance(side, Statistic) else statistic.mean(side) for side in (candidate, champion))
    if one.rows != other.rows:
        raise ValueError(f"the two sides have {one.rows} and {other.rows} rows")
    return interval(_difference(one, other), replicates=replicates, seed=seed, level=level)


def _difference(one: Statistic, other: Statistic) -> Statistic:
    return Statistic(
        one.rows,
        lambda weights: one.replicate(weights) - other.replicate(weights),
        lambda rows: _difference(one.take(rows), other.take(rows)),
    )


def evaluate(
    task: Task,
    truth: Column,
    label: Column | None,
    scores: NDArray[Any] | None,
    classes: tuple[str, ...],
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Interval]:
    """:func:`modelwright.stats.metrics.evaluate` with a 95 % interval beside every figure."""
    bound = metrics.statistics(task, truth, label, scores, classes)
    return intervals(bound, replicates=replicates, seed=seed)
