"""What a model card holds, whatever form it is shown in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a card: words, facts by name, a table, words after it."""

    title: str
    text: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    headers: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    after: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """A model card. ``front`` is the field's front matter (that of Hugging Face's model cards)."""

    front: Mapping[str, Any]
    name: str
    summary: str
    sections: tuple[Section, ...]
