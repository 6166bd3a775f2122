"""What a native model's process may answer: the signature's outputs, in its datatypes and shapes, a row for a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from modelwright.core.signature import DATATYPES, Signature


class AnswerCheck:
    """A signature's outputs compiled for checking many answers.

    Args:
        signature: what is taken and given.
    """

    def __init__(self, signature: Signature) -> None:
        self._specs = tuple((spec.name, DATATYPES[spec.datatype], spec.shape) for spec in signature.outputs)
        self._inputs = tuple(spec.name for spec in signature.inputs)
        self._rows = all(spec.shape[:1] == (-1,) for spec in signature.inputs)

    def rows(self, feeds: Mapping[str, NDArray[Any]]) -> int:
        """How many rows the answer must have; -1: any number, for the inputs have none."""
        first = feeds.get(self._inputs[0]) if self._rows and self._inputs else None
        return first.shape[0] if first is not None and first.ndim else -1

    def fault(self, outputs: Mapping[str, NDArray[Any]], rows: int) -> str:
        """What is wrong with an answer; empty when nothing is."""
        if len(outputs) != len(self._specs):
            return "it has other outputs than the model"
        for name, dtype, shape in self._specs:
            tensor = outputs.get(name)
            if tensor is None:
                return f"output {name!r} is missing"
            if tensor.dtype != dtype:
                return f"output {name!r} has another datatype than the signature says"
            if not _fits(tensor.shape, shape, rows):
                return f"output {name!r} has a shape that does not fit the request"
        return ""


def _fits(found: tuple[int, ...], stated: tuple[int, ...], rows: int) -> bool:
    if len(found) != len(stated):
        return False
    if rows >= 0 and stated[:1] == (-1,) and found[0] != rows:
        return False
    return all(size in (-1, real) for size, real in zip(stated, found, strict=True))
