"""Columns of two files that differ by construction: times and identifiers. Comparing them says nothing."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from modelwright.core.table import Column, missing
from modelwright.features.calendar import is_calendar
from modelwright.stats.profile import is_number

_ISO = re.compile(r"^\d{4}-\d{2}-\d{2}([T ]\d{2}(:\d{2}){1,2}(\.\d+)?)?( ?(Z|UTC|[+-]\d{2}:?\d{2}))?$")
_LEAST_ROWS = 20
_SAMPLED = 100
_UNIQUE = 0.5


def by_construction(name: str, reference: Column, current: Column) -> tuple[str, str] | None:
    """``time`` or ``identifier`` with the reason in words, or None for a column worth comparing.

    Time: a datetime column; text that reads as ISO 8601 dates; whole numbers whose name is a calendar part (``year``,
    ``month``, ``day``, ``week``, ``quarter``, ``date``, ...) or that never fall from row to row in both tables and
    take 20 values or more. Identifier: text where half of the values or more occur once; whole numbers that are all
    different in both tables and never fall.
    """
    if reference.dtype.kind == "M" or current.dtype.kind == "M":
        return "time", "Holds times, which differ by construction; not compared."
    if reference.dtype == object:
        return _of_text(reference)
    if not (is_number(reference) and is_number(current)):
        return None
    before, now = _present(reference), _present(current)
    if not (_whole(before) and _whole(now)):
        return None
    if is_calendar(name):
        return "time", "Counts calendar time, which differs by construction; not compared."
    if min(len(before), len(now)) < _LEAST_ROWS or (np.diff(before) < 0).any() or (np.diff(now) < 0).any():
        return None
    distinct = [len(np.unique(values)) for values in (before, now)]
    if distinct == [len(before), len(now)]:
        return "identifier", "Numbers the rows (all different, rising); not compared."
    if min(distinct) >= _LEAST_ROWS:
        return "time", "Never falls from row to row, as a clock or a counter; not compared."
    return None


def _of_text(column: Column) -> tuple[str, str] | None:
    present = column[~missing(column)].tolist()
    if not present:
        return None
    step = max(1, len(present) // _SAMPLED)
    if all(isinstance(value, str) and _ISO.match(value) for value in present[::step]):
        return "time", "Holds times as text, which differ by construction; not compared."
    if len(present) < _LEAST_ROWS:
        return None
    once = sum(1 for count in Counter(present).values() if count == 1)
    if once >= _UNIQUE * len(present):
        return "identifier", "Names single rows (most values occur once); not compared."
    return None


def _present(column: Column) -> Column:
    return column[np.isfinite(column)] if column.dtype.kind == "f" else column


def _whole(values: Column) -> bool:
    return bool(len(values)) and bool((values == np.floor(values)).all())
