"""ModelInfer's messages as bytes: the few fields a load needs, so that gRPC costs the generator no message library."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import CorruptError
from modelwright.core.signature import DATATYPES, TensorSpec

_LENGTH = struct.Struct("<I")
_VARINT, _BYTES, _FIXED64, _FIXED32 = 0, 2, 1, 5


def infer_request(model: str, specs: Sequence[TensorSpec], inputs: Mapping[str, NDArray[Any]]) -> bytes:
    """A ``ModelInferRequest`` with raw contents."""
    message = _field(1, model.encode())
    for spec in specs:
        shape = b"".join(map(_varint, inputs[spec.name].shape))
        message += _field(5, _field(1, spec.name.encode()) + _field(2, spec.datatype.encode()) + _field(3, shape))
    return message + b"".join(_field(7, raw_bytes(inputs[spec.name])) for spec in specs)


def infer_outputs(message: bytes) -> tuple[str, dict[str, NDArray[Any]]]:
    """The version in a ``ModelInferResponse`` with raw contents, and its outputs, flat.

    Raises:
        CorruptError: ``bench.bad-answer`` when it is no such message.
    """
    version, described, raw = "", [], []
    try:
        for number, value in _fields(message):
            if number == 2:
                version = value.decode()
            elif number == 5:
                parts = dict(_fields(value))
                described.append((parts[1].decode(), parts[2].decode()))
            elif number == 6:
                raw.append(value)
        pairs = zip(described, raw, strict=True)
        return version, {name: flat_array(datatype, content) for (name, datatype), content in pairs}
    except (KeyError, IndexError, ValueError) as error:
        raise CorruptError("bench.bad-answer", "An answer is no ModelInferResponse with raw contents.") from error


def raw_bytes(tensor: NDArray[Any]) -> bytes:
    """Little-endian, row-major; each text with its length of 4 bytes before it."""
    if tensor.dtype.kind != "O":
        return tensor.astype(tensor.dtype.newbyteorder("<"), copy=False).tobytes()
    encoded = (str(value).encode() for value in tensor.reshape(-1).tolist())
    return b"".join(_LENGTH.pack(len(text)) + text for text in encoded)


def flat_array(datatype: str, content: bytes) -> NDArray[Any]:
    """The elements of a binary tensor."""
    if datatype != "BYTES":
        return np.frombuffer(content, DATATYPES[datatype].newbyteorder("<"))
    elements, at = [], 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "little")
        elements.append(content[at + 4 : at + 4 + size].decode())
        at += 4 + size
    return np.array(elements, dtype=object)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of the length-delimited fields; others are passed over."""
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        kind = key & 7
        if kind == _BYTES:
            size, at = _read_varint(message, at)
            yield key >> 3, message[at : at + size]
            at += size
        elif kind == _VARINT:
            _, at = _read_varint(message, at)
        elif kind in {_FIXED64, _FIXED32}:
            at += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(kind)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
