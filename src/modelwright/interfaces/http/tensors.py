"""Open Inference Protocol tensor data, JSON and binary, to NumPy arrays and back.

JSON follows the protocol strictly: integers within the range of their datatype, ``true``/``false`` for BOOL, strings
for BYTES, no NaN. ``null`` is told apart and left to the model's signature. FP16 is coerced from JSON numbers.
Binary data is little-endian, row-major, unpadded; BYTES elements carry a 4-byte length.
"""

from __future__ import annotations

import functools
import math
import re
import struct
from collections.abc import Callable
from itertools import chain
from typing import Any, Union

import msgspec
import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import BadInputError
from modelwright.core.signature import DATATYPES
from modelwright.interfaces.http.parameters import Parameter

MAX_DIMENSIONS = 32
MAX_EMPTY = 2**16
"""How many elements a tensor with a dimension of 0 would have without it: nothing in its data bounds that."""
_OPENING = re.compile(rb"(?:[ \t\r\n]*\[){0,%d}" % (MAX_DIMENSIONS + 1))
_PYTHON_TYPE: dict[str, type] = {
    datatype: {"b": bool, "u": int, "i": int, "f": float, "O": str}[dtype.kind] for datatype, dtype in DATATYPES.items()
}
_PLAIN = tuple(
    msgspec.defstruct(
        f"{datatype.title()}Input",
        [("name", str), ("shape", list[int]), ("data", list[kind])],  # type: ignore[valid-type]
        tag_field="datatype",
        tag=datatype,
        gc=False,
    )
    for datatype, kind in _PYTHON_TYPE.items()
)
PlainInput: Any = Union[_PLAIN]  # noqa: UP007 - made of a tuple
"""A tensor as a flat list of its datatype; the datatype's name is its tag, so that one pass decodes and checks it."""
_ROWS = tuple(
    msgspec.defstruct(
        f"{datatype.title()}Rows",
        [
            ("name", str),
            ("shape", list[int]),
            ("data", list[list[kind]]),  # type: ignore[valid-type]
            ("parameters", dict[str, Parameter] | None, None),
        ],
        tag_field="datatype",
        tag=datatype,
        gc=False,
    )
    for datatype, kind in _PYTHON_TYPE.items()
)
RowsInput: Any = Union[_ROWS]  # noqa: UP007 - made of a tuple
"""A tensor as a list of lists of its datatype, else as :data:`PlainInput`."""
_DATATYPE = dict(zip((*_PLAIN, *_ROWS), (*_PYTHON_TYPE, *_PYTHON_TYPE), strict=True))
_FLAT = {datatype: msgspec.json.Decoder(list[kind]) for datatype, kind in _PYTHON_TYPE.items()}  # type: ignore[valid-type]
_NARROW = {"FP16": "e", "FP32": "f"}  # a JSON number may be too large for these; their codes in ``struct``
_LENGTH = struct.Struct("<I")


def datatype_of(name: str, datatype: str) -> str:
    """The canonical name of a datatype (STRING is an alias of BYTES).

    Raises:
        BadInputError: ``serve.unsupported-datatype``.
    """
    if datatype in DATATYPES:
        return datatype
    if datatype == "STRING":
        return "BYTES"
    raise BadInputError(
        "serve.unsupported-datatype",
        f"Input {name[:100]!r} has the unsupported datatype {datatype[:20]!r}.",
        why="No model here takes BF16: a signature cannot hold it." if datatype == "BF16" else "",
        fix="Send FP32, as the model's metadata asks." if datatype == "BF16" else f"Use one of {', '.join(DATATYPES)}.",
    )


def given_twice(name: str) -> BadInputError:
    """The error for a name that stands twice among the inputs."""
    return BadInputError("serve.bad-request", f"Input {name[:100]!r} is given twice.")


def decode_plain(items: list[Any]) -> dict[str, NDArray[Any]]:
    """The tensors of :data:`PlainInput` items by name.

    Raises:
        BadInputError: ``serve.bad-request`` (a name twice), ``serve.wrong-count``, ``serve.bad-shape``,
            ``serve.bad-data`` (out of range).
    """
    inputs: dict[str, NDArray[Any]] = {}
    for item in items:
        name, shape = item.name, item.shape
        if name in inputs:
            raise given_twice(name)
        inputs[name] = _shaped(name, _DATATYPE[type(item)], shape, item.data)
    return inputs


def decode_rows(items: list[Any]) -> dict[str, NDArray[Any]]:
    """The tensors of :data:`RowsInput` items by name.

    Raises:
        BadInputError: as :func:`decode_plain`, and ``serve.bad-data`` where rows differ in length.
    """
    inputs: dict[str, NDArray[Any]] = {}
    for item in items:
        name, datatype = item.name, _DATATYPE[type(item)]
        if name in inputs:
            raise given_twice(name)
        inputs[name] = _shaped(name, datatype, item.shape, _joined(name, datatype, item.data))
    return inputs


def element_count(name: str, shape: list[int]) -> int:
    """The product of the dimensions.

    Raises:
        BadInputError: ``serve.bad-shape``: a negative dimension, too many, or huge ones around a dimension of 0.
    """
    if len(shape) == 2 and 0 < shape[0] < 2**31 and 0 < shape[1] < 2**31:
        return shape[0] * shape[1]
    if len(shape) > MAX_DIMENSIONS:
        raise BadInputError("serve.bad-shape", f"Input {name[:100]!r} has more than {MAX_DIMENSIONS} dimensions.")
    count = 1
    for dimension in shape:
        if not 0 <= dimension < 2**31:
            raise BadInputError("serve.bad-shape", f"Input {name[:100]!r} has an impossible shape.")
        count *= dimension
    if not count and math.prod(dimension for dimension in shape if dimension) > MAX_EMPTY:
        raise BadInputError("serve.bad-shape", f"Input {name[:100]!r} has no elements and an impossible shape.")
    return count


def decode_json(
    name: str, datatype: str, shape: list[int], data: msgspec.Raw
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """The tensor, and where it had ``null`` (None when nowhere). Data may be flat or nested.

    Raises:
        BadInputError: ``serve.bad-data`` (not of the datatype), ``serve.wrong-count``, ``serve.bad-shape``.
    """
    missing = None
    try:
        values = _FLAT[datatype].decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        values, missing = _values(name, datatype, bytes(data))
    tensor = _shaped(name, datatype, shape, values)
    return tensor, (None if missing is None else np.array(missing).reshape(shape))


def _shaped(name: str, datatype: str, shape: list[int], values: list[Any]) -> NDArray[Any]:
    count = element_count(name, shape)
    if len(values) != count:
        raise BadInputError(
            "serve.wrong-count",
            f"Input {name[:100]!r} has {len(values)} elements where its shape {shape} asks for {count}.",
            fix="Make shape and data agree.",
        )
    try:
        if datatype in _NARROW:  # struct refuses what does not fit, where NumPy makes it an infinity; it is faster too
            return np.ndarray(shape, DATATYPES[datatype], _packer(datatype, count)(*values))
        return np.array(values, dtype=DATATYPES[datatype]).reshape(shape)
    except (OverflowError, ValueError, TypeError) as error:
        raise _bad_data(name, datatype, "A value is out of its range.") from error


def _values(name: str, datatype: str, text: bytes) -> tuple[list[Any], list[bool] | None]:
    """The elements of data that is no flat list of its datatype: nested, a scalar, or with ``null`` in it.

    The second value tells which elements are ``null`` (None when none is); a null number becomes NaN.
    """
    depth = _OPENING.match(text)[0].count(b"[")  # type: ignore[index]  # it matches everything, if only emptily
    if depth > MAX_DIMENSIONS:
        raise BadInputError("serve.bad-shape", f"The data of input {name[:100]!r} is nested too deeply.")
    holed = False
    try:
        try:
            values = _decoder(datatype, depth, False).decode(text)
        except msgspec.ValidationError:
            if b"null" not in text or _PYTHON_TYPE[datatype] not in (float, str):
                raise
            values, holed = _decoder(datatype, depth, True).decode(text), True
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _bad_data(name, datatype, str(error)) from error
    if depth == 0:
        values = [values]
    for _ in range(depth - 1):
        values = _joined(name, datatype, values)
    if not holed:
        return values, None
    missing = [value is None for value in values]
    if _PYTHON_TYPE[datatype] is float:
        values = [math.nan if value is None else value for value in values]
    return values, missing


def _joined(name: str, datatype: str, lists: list[list[Any]]) -> list[Any]:
    if len(set(map(len, lists))) > 1:
        raise _bad_data(name, datatype, "Nested lists differ in length.")
    return list(chain.from_iterable(lists))


@functools.lru_cache(maxsize=1024)
def _decoder(datatype: str, depth: int, nullable: bool) -> msgspec.json.Decoder[Any]:
    shape: Any = _PYTHON_TYPE[datatype]
    if nullable:
        shape = shape | None
    for _ in range(depth):
        shape = list[shape]
    return msgspec.json.Decoder(shape)


@functools.lru_cache(maxsize=256)
def _packer(datatype: str, count: int) -> Callable[..., bytes]:
    return struct.Struct(f"={count}{_NARROW[datatype]}").pack


def decode_binary(name: str, datatype: str, shape: list[int], data: memoryview) -> NDArray[Any]:
    """The tensor over the caller's bytes (read-only, not copied unless misaligned).

    Raises:
        BadInputError: ``serve.wrong-count``, ``serve.bad-shape``, ``serve.bad-data``.
    """
    count = element_count(name, shape)
    if datatype == "BYTES":
        return np.array(_split(name, data, count), dtype=object).reshape(shape)
    dtype = DATATYPES[datatype].newbyteorder("<")
    if len(data) != count * dtype.itemsize:
        raise BadInputError(
            "serve.wrong-count",
            f"Input {name[:100]!r} has {len(data)} bytes where {datatype} of shape {shape} "
            f"takes {count * dtype.itemsize}.",
            fix="Make shape, datatype and binary_data_size agree.",
        )
    if datatype == "BOOL" and count and np.frombuffer(data, np.uint8).max() > 1:
        raise _bad_data(name, datatype, "A byte is neither 0 nor 1.")
    array = np.frombuffer(data, dtype).reshape(shape)
    return array if array.flags.aligned else array.copy()


def _split(name: str, data: memoryview, count: int) -> list[str]:
    """Length-prefixed elements as text: runners take ``str`` only."""
    elements: list[str] = []
    offset, end = 0, len(data)
    while offset < end:
        start = offset + _LENGTH.size
        offset = start + _LENGTH.unpack_from(data, offset)[0] if start <= end else end + 1
        if offset > end:
            raise _bad_data(name, "BYTES", "An element is longer than the data.")
        try:
            elements.append(str(data[start:offset], "utf-8"))
        except UnicodeDecodeError as error:
            raise _bad_data(name, "BYTES", "An element is not UTF-8.") from error
    if len(elements) != count:
        raise BadInputError(
            "serve.wrong-count",
            f"Input {name[:100]!r} has {len(elements)} elements where its shape asks for {count}.",
            fix="Make shape and data agree: the shape counts elements, not bytes.",
        )
    return elements


def encode_json(name: str, tensor: NDArray[Any]) -> bytes:
    """The flat JSON list of a tensor.

    Raises:
        BadInputError: ``serve.not-json``: NaN, infinity, or bytes that are not UTF-8; binary output can carry them.
    """
    flat = tensor.reshape(-1)
    kind = flat.dtype.kind
    values = flat.tolist()
    if kind == "f" and not math.isfinite(sum(values)) and not np.isfinite(flat).all():
        raise _not_json(name, "It holds NaN or infinity.")
    if kind != "O":
        return msgspec.json.encode(values)
    try:
        return msgspec.json.encode([value.decode() if isinstance(value, bytes) else str(value) for value in values])
    except UnicodeError as error:
        raise _not_json(name, "It holds bytes that are not UTF-8.") from error


def encode_binary(tensor: NDArray[Any]) -> bytes:
    """The tensor's bytes as the binary extension lays them out."""
    if tensor.dtype.kind != "O":
        return tensor.astype(tensor.dtype.newbyteorder("<"), copy=False).tobytes()
    parts: list[bytes] = []
    for value in tensor.reshape(-1).tolist():
        raw = value if isinstance(value, bytes) else str(value).encode(errors="surrogateescape")
        parts += (_LENGTH.pack(len(raw)), raw)
    return b"".join(parts)


def _bad_data(name: str, datatype: str, why: str) -> BadInputError:
    return BadInputError(
        "serve.bad-data", f"The data of input {name[:100]!r} is not {datatype}.", why=why, fix="Check the values."
    )


def _not_json(name: str, why: str) -> BadInputError:
    return BadInputError(
        "serve.not-json",
        f"Output {name!r} cannot be written as JSON.",
        why=why,
        fix="Ask for it in binary: parameters.binary_data = true.",
    )
