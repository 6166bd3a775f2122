"""Names of columns that count calendar time: they leave the range of every earlier row by themselves."""

from __future__ import annotations

_PARTS = frozenset({"year", "month", "day", "week", "quarter", "date", "datetime", "timestamp", "yday", "doy"})


def is_calendar(name: str) -> bool:
    """True for a column named as a part of the calendar (``year``, ``month``, ``day``, ``week``, ...), in any case."""
    return name.lower() in _PARTS
