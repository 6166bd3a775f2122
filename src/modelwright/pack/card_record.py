"""What a model card holds, whatever form it is shown in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NOT_PROVIDED = "not provided"


@dataclass(frozen=True, slots=True)
class Mark:
    """A figure of a chart with its interval; ``says`` is the kind of mark, in words."""

    name: str
    value: float
    low: float
    high: float
    says: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """Figures with their intervals, and a line to compare them with. The section's table holds the same figures."""

    title: str
    axis: str
    marks: tuple[Mark, ...]
    line: float | None = None
    from_zero: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a card: words, facts by name, charts, a table, words after it. Only the page draws the charts."""

    title: str
    text: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    headers: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    after: str = ""
    charts: tuple[Chart, ...] = ()


@dataclass(frozen=True, slots=True)
class Card:
    """A model card. ``front`` is the field's front matter (that of Hugging Face's model cards).

    ``verdict`` is the check behind the figures, whole: the sections show the main ones.
    """

    front: Mapping[str, Any]
    name: str
    summary: str
    sections: tuple[Section, ...]
    verdict: Mapping[str, Any] | None = None
