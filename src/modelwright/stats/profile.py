"""A table in, a reference profile out: fixed bins, levels and tails that later windows are counted into.

Everything a comparison needs later is in the profile, so the rows themselves need not be kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.signature import CategoryProfile, NumberProfile, Reference
from modelwright.core.table import Column, Table

BINS = 10
POINT_BINS = 20  # a number with at most this many distinct values gets one bin for each
LEVEL_CAP = 1000
TAIL = 0.001
POINT_SHARE = 0.001
POINT_CAP = 200


def profile(
    table: Table,
    *,
    predictions: Mapping[str, Column] | None = None,
    base_rate: float | None = None,
    level_cap: int = LEVEL_CAP,
) -> Reference:
    """The reference profile of a table.

    Numbers become :class:`NumberProfile`; booleans (as ``"True"``/``"False"``) and strings become
    :class:`CategoryProfile`. Columns of times have no profile: later rows always come later.

    Args:
        table: n rows of features.
        predictions: output name to n numeric predictions of the same rows; others than numbers are left out.
        base_rate: share of the positive class, or mean of the target, in these rows.
        level_cap: most levels listed of a category.
    """
    numbers: dict[str, NumberProfile] = {}
    categories: dict[str, CategoryProfile] = {}
    for name, column in table.columns.items():
        if is_number(column):
            numbers[name] = number_profile(column)
        elif column.dtype.kind != "M":
            categories[name] = category_profile(column, level_cap)
    predicted = {
        name: number_profile(np.asarray(column))
        for name, column in (predictions or {}).items()
        if is_number(np.asarray(column))
    }
    rate = None if base_rate is None else float(base_rate)
    return Reference(len(table), numbers, categories, predicted, rate)


def is_number(column: Column) -> bool:
    """True for integers and floats (not booleans)."""
    return column.dtype.kind in "iuf"


def finite_values(column: Column) -> NDArray[np.float64]:
    """The column's usable numbers as float64, in order: NaN and the infinities count as missing."""
    values = column.astype(np.float64)
    if column.dtype.kind in "iu":
        return values
    usable = np.isfinite(values)
    return values if usable.all() else values[usable]


def number_profile(column: Column) -> NumberProfile:
    """Profile of one numeric column ([n], any integer or float dtype).

    Bins hold about a tenth of the rows each; a boundary never splits equal values but lies midway between two
    neighbours, so that a value keeps its bin when it travels as float32.
    """
    values = finite_values(column)
    rows, present = len(column), len(values)
    if not present:
        return NumberProfile((), (0,), rows, rows, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    ordered = np.sort(values)
    starts = np.concatenate(([0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1))
    cuts = _cuts(starts, present)
    edges = ordered[cuts - 1] / 2 + ordered[cuts] / 2
    beyond = int(TAIL * present)
    with np.errstate(over="ignore", invalid="ignore"):  # sums of values near the largest float overflow
        mean, std = np.nan_to_num([values.mean(), values.std()])
    return NumberProfile(
        edges=tuple(edges.tolist()),
        counts=tuple(np.diff(np.concatenate(([0], cuts, [present]))).tolist()),
        nulls=rows - present,
        rows=rows,
        mean=float(mean),
        std=float(std),
        low=float(ordered[0]),
        high=float(ordered[-1]),
        tail_low=float(ordered[beyond]),
        tail_high=float(ordered[present - 1 - beyond]),
        points=_points(ordered, starts),
        median=float(ordered[(present - 1) // 2] / 2 + ordered[present // 2] / 2),
    )


def _cuts(starts: NDArray[np.intp], present: int) -> NDArray[np.intp]:
    """Positions in the ordered values where a new bin starts (without 0)."""
    boundaries = starts[1:]
    if len(starts) <= POINT_BINS:
        return boundaries
    bins = max(2, min(BINS, present // 5))
    targets = np.arange(1, bins) * present / bins
    right = np.clip(np.searchsorted(boundaries, targets), 0, len(boundaries) - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(targets - boundaries[left] < boundaries[right] - targets, boundaries[left], boundaries[right])
    least = present / (2 * bins)
    kept: list[int] = []
    for cut in np.unique(nearest).tolist():
        if cut - (kept[-1] if kept else 0) >= least and present - cut >= least:
            kept.append(cut)
    return np.array(kept, dtype=np.intp)


def _points(ordered: NDArray[np.float64], starts: NDArray[np.intp]) -> tuple[tuple[float, int], ...]:
    """The values that hold at least 0.1 % of the rows (and two rows), most frequent first."""
    lengths = np.diff(np.concatenate((starts, [len(ordered)])))
    frequent = np.flatnonzero(lengths >= max(2, POINT_SHARE * len(ordered)))
    chosen = frequent[np.argsort(-lengths[frequent], kind="stable")[:POINT_CAP]]
    return tuple((float(ordered[starts[i]]), int(lengths[i])) for i in chosen)


def category_profile(column: Column, level_cap: int = LEVEL_CAP) -> CategoryProfile:
    """Profile of one column of strings (None = missing) or booleans ([n]); ``level_cap`` levels are listed at most."""
    counts, nulls = level_counts(column)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return CategoryProfile(
        levels=dict(ranked[:level_cap]),
        other=sum(count for _, count in ranked[level_cap:]),
        nulls=nulls,
        rows=len(column),
        singletons=sum(1 for count in counts.values() if count == 1),
    )


def level_counts(column: Column) -> tuple[dict[str, int], int]:
    """Rows by level (as text), and the number of missing rows."""
    if column.dtype.kind == "b":
        true = int(column.sum())
        pairs = (("True", true), ("False", len(column) - true))
        return {level: count for level, count in pairs if count}, 0
    counted: Counter[Any] = Counter(column.tolist())
    levels: dict[str, int] = {}
    nulls = 0
    for value, count in counted.items():
        if value is None or value != value:  # noqa: PLR0124 - a NaN among strings is a missing value
            nulls += count
        else:
            levels[str(value)] = levels.get(str(value), 0) + count
    return levels, nulls


def number_counts(known: NumberProfile, values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows of ``values`` in each of the reference's bins ([bins])."""
    index = np.searchsorted(np.asarray(known.edges), values, side="right")
    return np.bincount(index, minlength=len(known.edges) + 1)
