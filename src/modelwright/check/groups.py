"""The values of a column as a dozen groups of rows at most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelwright.core.slices import Kind
from modelwright.core.table import Column, as_sent, missing

MOST = 12
"""Values that are groups of their own; of more, the eleven with the most rows are, and the others are one."""
RANGES = 5
_LONGEST = 120


@dataclass(frozen=True, slots=True)
class Rows:
    """A group: its name and the indices of its rows."""

    name: str
    kind: Kind
    index: NDArray[np.intp]


def groups(column: Column) -> list[Rows]:
    """Every row in one group: levels in their order, or ranges of equal shares of a number or a time with many values.

    Rows without a value are a group, too. A level with few rows stays one: the caller says that it is too small.
    """
    gone = missing(column)
    known, values = np.flatnonzero(~gone), as_sent(column[~gone])
    if values.dtype.kind in "iufM" and len(np.unique(values)) > MOST:
        found = _ranges(values, known)
    else:
        found = _levels(values, known)
    nothing = np.flatnonzero(gone)
    return [*found, Rows("(no value)", "missing", nothing)] if len(nothing) else found


def _levels(values: Column, rows: NDArray[np.intp]) -> list[Rows]:
    keys = values.astype(str) if values.dtype == object else values
    levels, places, counts = np.unique(keys, return_inverse=True, return_counts=True)
    kept = np.arange(len(levels))
    if len(levels) > MOST:
        kept = np.sort(np.argsort(-counts, kind="stable")[: MOST - 1])
    found = [Rows(_name(levels[place]), "level", rows[places == place]) for place in kept]
    others = rows[~np.isin(places, kept)]
    return [*found, Rows(f"({len(levels) - len(kept)} other values)", "other", others)] if len(others) else found


def _ranges(values: Column, rows: NDArray[np.intp]) -> list[Rows]:
    steps = np.arange(1, RANGES) / RANGES
    ordered = np.sort(values)
    edges = np.unique(ordered[(np.ceil(steps * len(ordered)) - 1).astype(np.intp)])
    places = np.searchsorted(edges, values, side="left")
    held = [values[places == place] for place in range(len(edges) + 1)]
    names = _range_names([(one.min(), one.max()) for one in held if len(one)])
    numbers = [place for place, one in enumerate(held) if len(one)]
    return [Rows(name, "range", rows[places == place]) for name, place in zip(names, numbers, strict=True)]


def _range_names(ends: Sequence[tuple[object, object]]) -> list[str]:
    """Least to largest value of each range, with as few digits as tell the ranges apart."""
    flat = [end for pair in ends for end in pair]
    for digits in (4, 6, 9, 17):
        shown = [_name(end, digits) for end in flat]
        if len(set(shown)) == len(set(flat)):
            break
    pairs = zip(shown[::2], shown[1::2], strict=True)
    return [low if low == high else f"{low} to {high}" for low, high in pairs]


def _name(value: object, digits: int = 17) -> str:
    if isinstance(value, np.datetime64):
        text = str(np.datetime_as_string(value, unit="s" if digits > 4 else "D"))
    elif isinstance(value, np.floating):
        text = f"{value:.{digits}g}" if digits < 17 else np.format_float_positional(value, trim="-")
    else:
        text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
