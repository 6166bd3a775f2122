"""Answers of a graph of models, with what each of its nodes did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from modelwright.ports.runner import Runner


@dataclass(frozen=True, slots=True)
class Trace:
    """What one node of a graph did in one run.

    ``rows`` are the rows of the run that it answered, ascending (None: all ``count`` of them). ``duration`` is seconds,
    with those of the nodes below it. ``status`` is ``ok`` or an error code.
    """

    node: str
    count: int
    outputs: Mapping[str, NDArray[Any]]
    duration: float
    status: str = "ok"
    rows: NDArray[np.intp] | None = None

    def part(self, start: int, end: int) -> Trace:
        """The same for some of the run's rows alone."""
        if self.rows is None:
            outputs = {name: tensor[start:end] for name, tensor in self.outputs.items()}
            return replace(self, count=end - start, outputs=outputs)
        first, last = np.searchsorted(self.rows, (start, end))
        outputs = {name: tensor[first:last] for name, tensor in self.outputs.items()}
        return replace(self, count=int(last - first), outputs=outputs, rows=self.rows[first:last] - start)


class Traced(dict[str, NDArray[Any]]):
    """Answers by output, with what each node did and ``notes`` for the caller and the metrics."""

    __slots__ = ("notes", "traces")

    def __init__(
        self, outputs: Mapping[str, NDArray[Any]], traces: Sequence[Trace] = (), notes: tuple[str, ...] = ()
    ) -> None:
        super().__init__(outputs)
        self.traces, self.notes = traces, notes

    def part(self, start: int, end: int) -> Traced:
        """Some of the rows."""
        outputs = {name: tensor[start:end] for name, tensor in self.items()}
        parts = (trace.part(start, end) for trace in self.traces)
        return Traced(outputs, [one for one in parts if one.count], self.notes)


class TracingRunner(Runner, Protocol):
    """A runner of a package with a graph."""

    def run_traced(self, inputs: Mapping[str, NDArray[Any]]) -> Traced:
        """As ``run``, for somebody who waits: deadlines inside the graph hold."""
        ...
