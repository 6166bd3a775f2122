"""Golden rows as examples of a request and its answer, in the JSON of the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelwright.core.package import Golden
from modelwright.core.signature import DATATYPES, Signature, TensorSpec


def complete_rows(golden: Golden, signature: Signature, *, most: int) -> Golden | None:
    """The first rows, ``most`` at most, that have a finite value everywhere; None when there is none.

    Right only for a model that answers each row by itself.
    """
    chosen = [row for row in range(golden.examples.rows) if _complete(golden, signature, slice(row, row + 1))][:most]
    if not chosen:
        return None

    def cut(tensors: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        return {name: [values[row] for row in chosen] for name, values in tensors.items()}

    return Golden(_short(signature, cut(golden.inputs)), cut(golden.outputs), len(chosen))


def whole(golden: Golden, signature: Signature) -> Golden | None:
    """All the rows together, when they have a finite value everywhere; else None."""
    if not golden.rows or not _complete(golden, signature, slice(None)):
        return None
    return Golden(_short(signature, golden.inputs), golden.outputs, golden.rows)


def tensors_json(specs: Sequence[TensorSpec], values: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """``inputs`` or ``outputs`` of a request or an answer, with flat data."""
    return [
        {
            "name": spec.name,
            "datatype": spec.datatype,
            "shape": shape_of(values[spec.name]),
            "data": flat(values[spec.name]),
        }
        for spec in specs
    ]


def flat(values: Any) -> list[Any]:
    """Nested lists as one list, in row-major order."""
    return [item for value in values for item in flat(value)] if isinstance(values, list) else [values]


def shape_of(values: Any) -> list[int]:
    """The shape of nested lists, as their first elements have it."""
    shape = []
    while isinstance(values, list):
        shape.append(len(values))
        values = values[0] if values else None
    return shape


def _short(signature: Signature, tensors: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """The inputs as a person writes them: with no more digits than it takes to mean the same number."""

    def short(values: Any, dtype: np.dtype[Any]) -> Any:
        if isinstance(values, list):
            return [short(value, dtype) for value in values]
        return float(str(dtype.type(values))) if isinstance(values, float) else values

    return {spec.name: short(tensors[spec.name], DATATYPES[spec.datatype]) for spec in signature.inputs}


def _complete(golden: Golden, signature: Signature, rows: slice) -> bool:
    """True when every tensor is there; a missing or infinite number is stored as something that is no number."""
    for specs, held in ((signature.inputs, golden.inputs), (signature.outputs, golden.outputs)):
        for spec in specs:
            wanted: type | tuple[type, ...] = str if spec.datatype == "BYTES" else (bool, int, float)
            if spec.name not in held or not all(isinstance(item, wanted) for item in flat(held[spec.name][rows])):
                return False
    return True
