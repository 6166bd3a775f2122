"""Typed contents of a gRPC tensor to NumPy arrays and back (raw contents are the binary extension's bytes)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import BadInputError
from modelwright.core.signature import DATATYPES

# datatype -> the field that carries it; FP16 travels raw only
_FIELDS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def decode_contents(name: str, datatype: str, shape: list[int], contents: Any) -> NDArray[Any]:
    """The tensor of typed contents.

    Raises:
        BadInputError: ``serve.unsupported-datatype``, ``serve.wrong-count``, ``serve.bad-data``.
    """
    field = _FIELDS.get(datatype)
    if field is None:
        raise BadInputError(
            "serve.unsupported-datatype",
            f"Input {name[:100]!r} of datatype {datatype[:20]!r} has no typed contents.",
            fix="Send it in raw_input_contents.",
        )
    values = getattr(contents, field)
    if len(values) != math.prod(shape) or any(dimension < 0 for dimension in shape):
        raise BadInputError(
            "serve.wrong-count",
            f"Input {name[:100]!r} has {len(values)} elements where its shape {shape} asks for {math.prod(shape)}.",
            why=f"{datatype} is read from {field}.",
            fix="Make shape and contents agree.",
        )
    try:
        if datatype == "BYTES":
            return np.array([value.decode() for value in values], dtype=object).reshape(shape)
        return np.array(values, dtype=DATATYPES[datatype]).reshape(shape)
    except (OverflowError, UnicodeDecodeError, ValueError) as error:
        raise BadInputError(
            "serve.bad-data", f"The data of input {name[:100]!r} is not {datatype}.", why=f"{error}."
        ) from error


def typed(datatype: str) -> bool:
    """True when typed contents can carry the datatype."""
    return datatype in _FIELDS


def encode_contents(datatype: str, tensor: NDArray[Any], contents: Any) -> None:
    """Fill the field that carries the datatype."""
    values = tensor.reshape(-1).tolist()
    if datatype == "BYTES":
        values = [value if isinstance(value, bytes) else str(value).encode() for value in values]
    getattr(contents, _FIELDS[datatype]).extend(values)
