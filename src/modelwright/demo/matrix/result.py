"""What became of one row of the matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["packed", "refused", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds for one row: the median of the rounds' medians, the fastest round and the slowest one."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the packed model's answers are from the framework's own.

    ``difference`` is the largest one: of a probability, or of a value relative to max(1, |value|); ``flips`` counts
    the rows whose label differs.
    """

    rows: int
    difference: float
    flips: int


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    ``refused`` is an error that was expected, ``failed`` one that was not: ``code`` and ``message`` say which.
    ``why`` says why it runs as it does, or was refused or skipped; ``slower`` why it is slower than the framework.
    ``certificate`` is the package's own, ``new`` compares rows that packing has not seen. ``ratio`` is the median of
    the same rounds' ratios, the framework's time by ours: above 1 the package is faster.
    """

    family: str
    model: str
    data: str
    state: State
    route: str = ""
    why: str = ""
    certificate: Agreement | None = None
    new: Agreement | None = None
    pack_seconds: float | None = None
    package_bytes: int | None = None
    packed: Latency | None = None
    own: Latency | None = None
    ratio: float | None = None
    slower: str = ""
    code: str = ""
    message: str = ""
