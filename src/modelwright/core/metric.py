"""A figure with its interval."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure on labelled rows with its 95 % bootstrap interval (``low``, ``high``)."""

    name: str
    value: float
    low: float
    high: float
    rows: int
    greater_is_better: bool
