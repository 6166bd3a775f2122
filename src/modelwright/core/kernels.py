"""``kernels.json``: what runs a graph fastest, as it was measured where the package was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Chosen = Literal["onnxruntime", "trees"]


@dataclass(frozen=True, slots=True)
class KernelTiming:
    """Median microseconds of a run of so many rows, other rows on every call."""

    rows: int
    onnxruntime: float
    trees: float


@dataclass(frozen=True, slots=True)
class KernelChoice:
    """The choice between ONNX Runtime and compiled trees, with the figures behind it.

    ``from_rows`` is the least number of rows that the trees run (0: none). ``same_bits`` counts the rows for which both
    gave the same bits (0: they were not compared, or differ), the examples among them. ``why`` says it in words,
    ``machine`` and ``isolation`` say where it was measured.
    """

    chosen: Chosen
    from_rows: int
    why: str
    same_bits: int = 0
    timings: tuple[KernelTiming, ...] = ()
    machine: str = ""
    isolation: str = ""
