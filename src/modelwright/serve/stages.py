"""How long each stage of an answered request took, as histograms by model."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from modelwright.ports.counters import Counters, Slots

STAGE = "modelwright_stage_seconds"
BOUNDS = (
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
)  # fmt: skip
WIDTH = len(BOUNDS) + 2
"""Slots of a histogram: requests per bucket, the last bucket open, then the seconds of all of them."""


class Histograms(NamedTuple):
    """Those of one model; each is a list of :data:`WIDTH` figures."""

    decode: list[float]
    queue: list[float]
    infer: list[float]
    encode: list[float]


class Stages:
    """Histograms of one process: plain lists on the hot path, copied to the counters by :meth:`publish`.

    ``decode`` is from a request's last byte to its queue, ``queue`` its waiting, ``infer`` its whole run, and
    ``encode`` the recording and encoding of the answers of that run.

    Args:
        counters: where other processes read what this one has counted.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._by_model: dict[str, Histograms] = {}
        self._slots: dict[tuple[str, str], Slots] = {}

    def of(self, model: str) -> Histograms:
        """The lists to count in."""
        found = self._by_model.get(model)
        if found is None:
            found = self._by_model[model] = Histograms(*([0.0] * WIDTH for _ in Histograms._fields))
        return found

    def publish(self) -> None:
        """Let the other processes see what was counted until now."""
        for model, histograms in self._by_model.items():
            for stage, counts in zip(Histograms._fields, histograms, strict=True):
                self._put(model, stage, counts)

    def _put(self, model: str, stage: str, counts: Sequence[float]) -> None:
        slots = self._slots.get((model, stage))
        if slots is None:
            self._slots[model, stage] = self._counters.slots((STAGE, model, stage), counts)
        elif slots[-1] != counts[-1]:  # the seconds change with any of the others
            for index, figure in enumerate(counts):
                slots[index] = figure


def count(histogram: list[float], seconds: float, requests: int) -> None:
    """Count so many requests that took so long each."""
    histogram[bisect_left(BOUNDS, seconds)] += requests
    histogram[-1] += seconds * requests
