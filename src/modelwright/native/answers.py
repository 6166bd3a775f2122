"""What a native model answered, held to its signature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import InternalError
from modelwright.core.signature import DATATYPES, Signature, TensorSpec


def rows_of(feeds: Mapping[str, NDArray[Any]], signature: Signature) -> int | None:
    """How many rows are asked for; None where an input has no leading variable dimension."""
    for spec in signature.inputs:
        if not spec.shape or spec.shape[0] != -1:
            return None
    counts = {len(feeds[spec.name]) for spec in signature.inputs if spec.name in feeds}
    return counts.pop() if len(counts) == 1 else None


def conform(answers: Any, signature: Signature, rows: int | None) -> dict[str, NDArray[Any]]:
    """The answers as arrays of the signature's outputs, in its order; text as object arrays of ``str``.

    A signature without outputs holds them to nothing but being named arrays with ``rows`` rows.

    Raises:
        InternalError: ``native.bad-answer``.
    """
    if not isinstance(answers, Mapping):
        raise bad_answer(f"the model gave a {type(answers).__name__} where a dictionary of arrays is asked")
    if not signature.outputs:
        return {str(name): _counted(str(name), _array(str(name), value), rows) for name, value in answers.items()}
    if len(answers) != len(signature.outputs) or any(spec.name not in answers for spec in signature.outputs):
        wanted = ", ".join(spec.name for spec in signature.outputs)
        raise bad_answer(f"the model gave {', '.join(map(str, answers)) or 'nothing'} where {wanted} is asked")
    return {spec.name: _typed(spec, answers[spec.name], rows) for spec in signature.outputs}


def bad_answer(why: str) -> InternalError:
    """The model's code answered with something that is no answer."""
    return InternalError(
        "native.bad-answer",
        "The model's answer is not what its signature says.",
        why=f"{why}.",
        fix="Correct the model and pack it again.",
    )


def _typed(spec: TensorSpec, value: Any, rows: int | None) -> NDArray[Any]:
    array = _array(spec.name, value)
    dtype = DATATYPES[spec.datatype]
    if array.dtype != dtype:
        if not np.can_cast(array.dtype, dtype, "same_kind") or dtype.kind == "O":
            raise bad_answer(f"{spec.name!r} holds {array.dtype} where {spec.datatype} is asked")
        array = array.astype(dtype)
    sizes = zip(array.shape, spec.shape, strict=False)
    if array.ndim != len(spec.shape) or any(wanted not in (-1, size) for size, wanted in sizes):
        raise bad_answer(f"{spec.name!r} has the shape {list(array.shape)} where {list(spec.shape)} is asked")
    return _counted(spec.name, array, rows)


def _array(name: str, value: Any) -> NDArray[Any]:
    """An array of numbers or booleans, or an object array of ``str``."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise bad_answer(f"{name!r} holds lists of unequal lengths") from error
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind == "U":
        return array.astype(object)
    if array.dtype != object:
        raise bad_answer(f"{name!r} holds {array.dtype}, which is neither numbers nor text")
    for item in array.reshape(-1).tolist():
        if not isinstance(item, str):
            raise bad_answer(f"{name!r} holds a {type(item).__name__} among its texts")
    return array


def _counted(name: str, array: NDArray[Any], rows: int | None) -> NDArray[Any]:
    if rows is not None and (array.ndim == 0 or len(array) != rows):
        found = "one value" if array.ndim == 0 else f"{len(array)} rows"
        raise bad_answer(f"{name!r} has {found} where {rows} rows were asked")
    return array
