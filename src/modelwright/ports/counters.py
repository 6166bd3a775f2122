"""Counters of the data plane: cheap to increment, readable by whoever else serves the same data plane."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Key = tuple[str, ...]
"""The name of a metric family and the values of its labels."""

RESTARTS = "modelwright_restarts"
"""Counted by whoever starts a dead process again, with the process's name; served by whoever is scraped."""


class Slots(Protocol):
    """Figures of one key, changed in place."""

    def __getitem__(self, index: int, /) -> float:
        """One of them."""
        ...

    def __setitem__(self, index: int, value: float, /) -> None:
        """Change one."""
        ...

    def __iter__(self) -> Iterator[float]:
        """All of them."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """What one process counted; ``live`` tells whether it still runs (else its gauges mean nothing)."""

    live: bool
    values: Mapping[Key, Sequence[float]]


class Counters(Protocol):
    """Where a process counts, and what all processes counted."""

    def slots(self, key: Key, values: Sequence[float]) -> Slots:
        """New slots for a key of this process, with these values at first; to be changed in place by one thread.

        Whole numbers stay exact up to 2**53. A key is asked for once.
        """
        ...

    def parts(self) -> Sequence[Part]:
        """This process's part first, then those of the others that count together with it, dead ones too."""
        ...


def added(total: Mapping[Key, Sequence[float]], values: Mapping[Key, Sequence[float]]) -> dict[Key, Sequence[float]]:
    """Both, slot by slot; ``values`` alone where a key had another number of slots in an older release."""
    both = dict(total)
    for key, ours in values.items():
        theirs = both.get(key, ())
        both[key] = [a + b for a, b in zip(theirs, ours, strict=True)] if len(theirs) == len(ours) else ours
    return both
