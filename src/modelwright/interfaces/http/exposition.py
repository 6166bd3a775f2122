"""Metric families as Prometheus text (format 0.0.4).

The client library takes 6 us for a line, while nothing else is served; with what never changes kept, it is a tenth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

_KEPT = 16_384
"""Series whose names are kept between two scrapes."""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric family.

    ``series`` are the values of the labels, in the order of ``labels``, with one figure; of a histogram, with a count
    for each bucket, the last one open, and then the sum. ``bounds`` are the buckets' upper bounds.
    """

    name: str
    help: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...] = ()
    series: Sequence[tuple[tuple[str, ...], Sequence[float]]] = ()
    bounds: tuple[float, ...] = ()


def render(families: Iterable[Family]) -> bytes:
    """The text of a scrape."""
    parts: list[str] = []
    for family in families:
        name = f"{family.name}_total" if family.kind == "counter" else family.name
        parts.append(f"# HELP {name} {family.help}\n# TYPE {name} {family.kind}\n")
        if family.kind == "histogram":
            for values, figures in family.series:
                parts += _histogram(_histogram_names(name, family.labels, values, family.bounds), figures)
        else:
            parts += [
                f"{_name(name, family.labels, values)}{float(figures[0])!r}\n" for values, figures in family.series
            ]
    return "".join(parts).encode()


def _histogram(names: tuple[str, ...], figures: Sequence[float]) -> list[str]:
    *counts, total = figures
    reached, lines = 0.0, []
    for name, count in zip(names, counts, strict=False):
        reached += count
        lines.append(f"{name}{reached!r}\n")
    return [*lines, f"{names[-2]}{reached!r}\n", f"{names[-1]}{float(total)!r}\n"]


@lru_cache(_KEPT)
def _histogram_names(
    name: str, labels: tuple[str, ...], values: tuple[str, ...], bounds: tuple[float, ...]
) -> tuple[str, ...]:
    """The names of a histogram's buckets, of its count and of its sum."""
    ends = (*map(str, bounds), "+Inf")
    buckets = (_name(f"{name}_bucket", (*labels, "le"), (*values, end)) for end in ends)
    return (*buckets, _name(f"{name}_count", labels, values), _name(f"{name}_sum", labels, values))


@lru_cache(_KEPT)
def _name(name: str, labels: tuple[str, ...], values: tuple[str, ...]) -> str:
    """What stands before a figure."""
    pairs = sorted(zip(labels, values, strict=True))
    text = ",".join(f'{label}="{_escaped(value)}"' for label, value in pairs)
    return f"{name}{{{text}}} " if text else f"{name} "


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
