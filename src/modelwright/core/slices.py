"""What a check found in groups of the rows: figures by the values of a column, gaps, and rates beside each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from modelwright.core.metric import Metric

BEYOND_CHANCE = 0.05
"""A gap whose q-value is at most this is more than chance makes of so many gaps."""

MAIN = ("log_loss", "rmse", "accuracy")
"""What a table of a slice shows: the first of them that was measured."""

Kind = Literal["level", "range", "other", "missing"]
Rate = Literal["selection_rate", "true_positive_rate", "false_positive_rate"]


@dataclass(frozen=True, slots=True)
class Gap:
    """A metric of a group minus that of all other rows, with the 95 % interval of this one difference.

    ``q`` is its p-value after Benjamini and Hochberg over every gap of the verdict.
    """

    metric: str
    value: float
    low: float
    high: float
    q: float
    greater_is_better: bool

    @property
    def beyond_chance(self) -> bool:
        """True where so large a gap is not what chance makes of so many."""
        return self.q <= BEYOND_CHANCE

    @property
    def worse(self) -> float:
        """By how much the group is worse than the rest; negative where it is better."""
        return -self.value if self.greater_is_better else self.value


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of one value, or of a range of values. No metrics: too few rows to say anything."""

    name: str
    kind: Kind
    rows: int
    metrics: tuple[Metric, ...] = ()
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupRate:
    """A rate in a group with its 95 % interval (Wilson): the share among ``cases`` rows."""

    group: str
    value: float
    low: float
    high: float
    cases: int


@dataclass(frozen=True, slots=True)
class Spread:
    """Highest against lowest group: a difference or a ratio, 95 % sure over every pair that could have been chosen."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Fairness:
    """One rate by group. ``ratio`` is lowest over highest; None where the highest is 0."""

    rate: Rate
    positive: str
    groups: tuple[GroupRate, ...]
    lowest: str
    highest: str
    difference: Spread
    ratio: Spread | None = None


@dataclass(frozen=True, slots=True)
class Slices:
    """One column: its groups, and for a classifier the rates beside each other."""

    column: str
    minimum: int
    groups: tuple[Group, ...]
    fairness: tuple[Fairness, ...] = ()
