"""Running a package: named arrays in, named arrays out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from modelwright.core.package import Package


class Runner(Protocol):
    """One loaded version. Row i of every output depends on row i of the inputs alone."""

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Answers of the named outputs (all when None). BYTES tensors are object arrays of ``str``.

        Raises:
            BadInputError: ``serve.model-rejected-input``.
        """
        ...

    def close(self) -> None:
        """Give the memory back."""
        ...


class RunnerLoader(Protocol):
    """Makes a runner from a verified package."""

    def load(self, package: Package, *, threads: int = 1) -> Runner:
        """Load; raises CorruptError when the bytes do not verify, BadInputError when the graph cannot be built."""
        ...
