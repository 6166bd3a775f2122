"""Figures of a load in words, for the terminal and for the page alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TUNED = ["settings", "answers/s", "p99 ms", "answers", "p99", ""]
"""Headings of :func:`tuned_rows`."""


def short(figure: float | None) -> str:
    """Three digits, or whole thousands; a dash where there is none."""
    if figure is None or figure != figure:  # noqa: PLR0124 - NaN alone differs
        return "-"
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.3g}"


def tuned_rows(tuned: Sequence[Mapping[str, Any]], *, no_better: str) -> list[list[str]]:
    """A row for each choice of settings; its last cell is ``no_better`` where the choice is not."""
    return [
        [
            ", ".join(f"{name}={value}" for name, value in one["settings"].items()) or "as it is set",
            f"{one['rate']:,.0f}",
            short(one["p99_ms"]),
            f"{one['rate_ratio']:.2f} x",
            f"{one['p99_ratio']:.2f} x",
            "better" if one["better"] else no_better,
        ]
        for one in tuned
    ]
