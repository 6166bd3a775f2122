"""Rows as people have them (data frames, dictionaries, arrays) to the tensors that a model takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelwright.client.model import ServedModel, dtype_of
from modelwright.core.errors import BadInputError
from modelwright.core.signature import TensorSpec
from modelwright.core.table import Table, missing
from modelwright.features.columns import feeds
from modelwright.features.tabular import column, table


class Tensor(NamedTuple):
    """An input: its array has the dtype of ``datatype``; ``nulls`` marks the texts that are missing (None: none is)."""

    name: str
    datatype: str
    array: NDArray[Any]
    nulls: NDArray[np.bool_] | None = None


def tensors(model: ServedModel, rows: Any) -> list[Tensor]:
    """The input tensors for rows.

    Args:
        model: what takes them.
        rows: a data frame (pandas, polars), an Arrow table, a list of row dictionaries, a dictionary of columns, a
            two-dimensional array ([rows, columns], in the model's order), or a dictionary of tensors by input name.

    Raises:
        BadInputError: ``features.*`` and ``client.*``: a missing column, a value of the wrong type, a wrong shape.
    """
    inputs = model.inputs
    if isinstance(rows, np.ndarray) and len(inputs) == 1 and rows.dtype.names is None:
        return [_tensor(inputs[0], rows)]
    if isinstance(rows, Mapping) and not isinstance(rows, Table) and _are_tensors(inputs, rows):
        return [_tensor(spec, rows[spec.name]) for spec in inputs if spec.name in rows]
    if not inputs:
        raise BadInputError("client.no-inputs", f"Model {model.name!r} takes no inputs.", fix="Ask for its metadata.")
    if len(inputs) == 1 and isinstance(rows, list | tuple) and not (rows and isinstance(rows[0], Mapping)):
        return [_tensor(inputs[0], _array(inputs[0], rows))]
    return _columns(model, rows)


def _are_tensors(inputs: tuple[TensorSpec, ...], rows: Mapping[Any, Any]) -> bool:
    """True where the keys are inputs; one that is not would be a column of a wider tensor."""
    names = {spec.name for spec in inputs}
    return bool(rows) and (rows.keys() <= names or any(spec.name in rows and len(spec.features) > 1 for spec in inputs))


def _columns(model: ServedModel, rows: Any) -> list[Tensor]:
    signature = model.signature
    named = isinstance(rows, Table | Mapping) or hasattr(rows, "columns") or _are_row_dicts(rows)
    given = table(rows, () if named else model.columns)
    only = signature.inputs[0]
    if len(signature.inputs) == 1 and not only.features and only.name not in given and len(only.shape) == 2:
        # The server tells no columns: those of the frame, in their order.
        return [_tensor(only, np.stack([given[name] for name in given.names], axis=1))]
    arrays = feeds(signature, given)
    return [
        Tensor(spec.name, spec.datatype, arrays[spec.name], _nulls(given, spec) if spec.datatype == "BYTES" else None)
        for spec in signature.inputs
    ]


def _nulls(given: Table, spec: TensorSpec) -> NDArray[np.bool_] | None:
    nulls = np.stack([missing(given[name]) for name in spec.features or (spec.name,)], axis=1)
    return nulls if nulls.any() else None


def _are_row_dicts(rows: Any) -> bool:
    return isinstance(rows, list | tuple) and bool(rows) and isinstance(rows[0], Mapping)


def _tensor(spec: TensorSpec, value: Any) -> Tensor:
    expected = dtype_of(spec.datatype)
    if expected is None:
        raise BadInputError(
            "client.unsupported-datatype",
            f"Input {spec.name!r} is {spec.datatype}, which NumPy does not have.",
            fix="Ask for a model that takes FP32.",
        )
    array = value if isinstance(value, np.ndarray) else _array(spec, value)
    nulls = None
    if expected.kind == "O":
        array, nulls = _texts(array)
    elif array.dtype != expected:
        array = _cast(spec, array, expected)
    return Tensor(spec.name, spec.datatype, *_shaped(spec, array, nulls))


def _array(spec: TensorSpec, value: Any) -> NDArray[Any]:
    try:
        if spec.datatype in ("BYTES", "STRING"):
            return np.asarray(value, dtype=object)
        if spec.shape == (-1, 1) and not _nested(value):
            return column(value)  # with NaN for what is missing
        return np.asarray(value)
    except ValueError as error:
        raise BadInputError(
            "client.wrong-shape",
            f"Input {spec.name!r} has rows of different lengths.",
            fix="Give as many values in each.",
        ) from error


def _nested(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and isinstance(value[0], list | tuple | np.ndarray)


def _texts(array: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Texts (or bytes) and where they are missing: None, NaN, ``pandas.NA``."""
    if array.dtype != object:
        return array.astype(object), None
    flat = array.reshape(-1)
    nulls = missing(flat) | np.array([type(value).__name__ == "NAType" for value in flat], dtype=bool)
    return array, (nulls.reshape(array.shape) if nulls.any() else None)


def _cast(spec: TensorSpec, array: NDArray[Any], expected: np.dtype[Any]) -> NDArray[Any]:
    """The same values in the model's dtype; what would change them (a fraction, a number out of range) is refused."""
    if array.dtype == object:
        array = column(array.reshape(-1)).reshape(array.shape)
    kind, wanted = array.dtype.kind, expected.kind
    if kind in "biuf" and wanted == "f":
        with np.errstate(over="ignore"):
            return array.astype(expected)
    if kind in "biuf" and wanted in "iub":
        with np.errstate(invalid="ignore"):
            cast = array.astype(expected)
        if (cast == array).all():
            return cast
    raise BadInputError(
        "client.wrong-datatype",
        f"The values of input {spec.name!r} are {array.dtype} where the model takes {spec.datatype}.",
        why="They cannot be turned into it without changing one.",
        fix=f"Give values that {spec.datatype} can hold.",
    )


def _shaped(
    spec: TensorSpec, array: NDArray[Any], nulls: NDArray[np.bool_] | None
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """[n] as [n, 1] for a column, else a tensor without its first dimension as one row."""
    if not array.ndim and spec.shape:  # one value is one row
        array, nulls = array.reshape(1), None if nulls is None else nulls.reshape(1)
    if array.ndim != len(spec.shape) - 1:
        return array, nulls
    shape = (len(array), 1) if spec.shape == (-1, 1) else (1, *array.shape)
    return array.reshape(shape), (None if nulls is None else nulls.reshape(shape))
