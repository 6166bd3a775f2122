"""The rows that a part of a graph looks at, and what its nodes have given for them so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.ports.trace import Trace, Traced

Tensors = dict[str, NDArray[Any]]


class Frame:
    """Some rows of one run. A part or a branch of it knows what was already given, and keeps its own apart.

    Args:
        inputs: the graph's inputs for these rows.
        hurried: somebody waits, deadlines hold.
        rows: which rows of the run they are; None: all.
        parent: the frame that this one is a part of.
        local: which rows of the parent they are; None: all.
    """

    __slots__ = ("_held", "_local", "_parent", "_rows", "hurried", "inputs", "notes", "traces")

    def __init__(
        self,
        inputs: Mapping[str, NDArray[Any]],
        *,
        hurried: bool,
        rows: NDArray[np.intp] | None = None,
        parent: Frame | None = None,
        local: NDArray[np.intp] | None = None,
    ) -> None:
        self.inputs, self.hurried, self._rows, self._parent, self._local = inputs, hurried, rows, parent, local
        self._held: dict[str, Tensors] = {}
        self.traces: list[Trace] = []
        self.notes: list[str] = []

    def part(self, local: NDArray[np.intp]) -> Frame:
        """Some of the rows."""
        inputs = {name: tensor[local] for name, tensor in self.inputs.items()}
        rows = local if self._rows is None else self._rows[local]
        return Frame(inputs, hurried=self.hurried, rows=rows, parent=self, local=local)

    def branch(self) -> Frame:
        """The same rows, for what may come to nothing."""
        return Frame(self.inputs, hurried=self.hurried, rows=self._rows, parent=self)

    def held(self, node: str) -> Tensors | None:
        """What a node gave for these rows, here or for more rows before."""
        if node in self._held:
            return self._held[node]
        above = self._parent.held(node) if self._parent is not None else None
        if above is None or self._local is None:
            return above
        return {name: tensor[self._local] for name, tensor in above.items()}

    def keep(self, node: str, outputs: Tensors, duration: float) -> None:
        """Remember what a node gave."""
        self._held[node] = outputs
        self.trace(node, outputs, duration, "ok")

    def trace(self, node: str, outputs: Tensors, duration: float, status: str) -> None:
        """Say what a node did."""
        count = next((len(tensor) for tensor in self.inputs.values() if tensor.ndim), 1)
        self.traces.append(Trace(node, count, outputs, duration, status, self._rows))

    def take_over(self, node: str, answered: Traced) -> None:
        """The traces and notes of a graph inside this one."""
        for trace in answered.traces:
            rows = trace.rows
            if self._rows is not None:
                rows = self._rows if rows is None else self._rows[rows]
            self.traces.append(replace(trace, node=f"{node}/{trace.node}", rows=rows))
        self.notes += [note.replace("fallback ", f"fallback {node}/", 1) for note in answered.notes]

    def merge(self, part: Frame) -> None:
        """The traces and notes of a part, or of a branch that came to an end."""
        self.traces += part.traces
        self.notes += part.notes
