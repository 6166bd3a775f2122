"""A large ONNX file as a small graph and its tensors beside it, without holding it in memory.

The libraries that could do it parse the whole file first, at twice its size. Only the outline of the protobuf message
is followed here: ModelProto.graph (7), GraphProto.initializer (5), TensorProto.raw_data (9), .external_data (13) and
.data_location (14), as onnx.proto3 numbers them; everything else is copied as it stands.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from modelwright.core.content import LARGE_BYTES, StoredFile, stored
from modelwright.core.package_codec import WEIGHTS

_GRAPH, _INITIALIZER, _RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 7, 5, 9, 13, 14
_ALIGNED = 4096  # a mapping starts at a page
_SMALL = 1024
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


class _UnknownFormError(Exception):
    """The file is not laid out as is known here."""


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of a message: its number, where it starts with its tag, and where its value lies."""

    number: int
    wire: int
    start: int
    value: int
    end: int


def split(file: StoredFile) -> tuple[bytes, StoredFile] | None:
    """The graph without its large initializers, and those; None where there is nothing to split, or no such file."""
    moved: list[tuple[int, int]] = []
    try:
        model = bytearray()
        fields = list(_fields(file, 0, file.size))
        if [field.number for field in fields].count(_GRAPH) != 1:
            return None
        for field in fields:
            if field.number == _GRAPH and field.wire == _LENGTH:
                model += _message(_GRAPH, _graph(file, field, moved))
            else:
                model += _bytes(file, field.start, field.end)
    except _UnknownFormError:
        return None
    if not moved or len(model) >= LARGE_BYTES:
        return None
    return bytes(model), stored(_weights(file, moved))


def _graph(file: StoredFile, graph: _Field, moved: list[tuple[int, int]]) -> bytes:
    made, at = bytearray(), 0
    for field in _fields(file, graph.value, graph.end):
        raw = None
        if field.number == _INITIALIZER and field.wire == _LENGTH and field.end - field.value >= _SMALL:
            parts = list(_fields(file, field.value, field.end))
            raw = next((one for one in parts if one.number == _RAW_DATA), None)
            if any(one.number in {_DATA_LOCATION, _EXTERNAL_DATA} for one in parts):
                raise _UnknownFormError
        if raw is None or raw.end - raw.value < _SMALL:
            made += _bytes(file, field.start, field.end)
            if len(made) >= LARGE_BYTES:
                raise _UnknownFormError
            continue
        length = raw.end - raw.value
        at += -at % _ALIGNED
        tensor = b"".join(_bytes(file, one.start, one.end) for one in parts if one.number != _RAW_DATA)
        for key, value in (("location", WEIGHTS), ("offset", str(at)), ("length", str(length))):
            tensor += _message(_EXTERNAL_DATA, _message(1, key.encode()) + _message(2, value.encode()))
        made += _message(_INITIALIZER, tensor + bytes([_DATA_LOCATION << 3 | _VARINT, 1]))
        moved.append((raw.value, length))
        at += length
    return bytes(made)


def _weights(file: StoredFile, moved: list[tuple[int, int]]) -> Iterator[bytes]:
    at = 0
    for start, length in moved:
        padding = -at % _ALIGNED
        yield bytes(padding)
        yield from StoredFile(file.file, length, file.offset + start).pieces()
        at += padding + length


def _fields(file: StoredFile, start: int, end: int) -> Iterator[_Field]:
    while start < end:
        tag, value = _varint(file, start, end)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            _, stop = _varint(file, value, end)
        elif wire == _LENGTH:
            length, value = _varint(file, value, end)
            stop = value + length
        elif wire in {_FIXED64, _FIXED32}:
            stop = value + (8 if wire == _FIXED64 else 4)
        else:
            raise _UnknownFormError
        if number == 0 or stop > end:
            raise _UnknownFormError
        yield _Field(number, wire, start, value, stop)
        start = stop


def _varint(file: StoredFile, at: int, end: int) -> tuple[int, int]:
    """The number at ``at``, and where it ends."""
    found = 0
    for index, byte in enumerate(_bytes(file, at, min(at + 10, end))):
        found |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return found, at + index + 1
    raise _UnknownFormError


def _bytes(file: StoredFile, start: int, end: int) -> bytes:
    if end - start >= LARGE_BYTES:
        raise _UnknownFormError
    return os.pread(file.file.fileno(), end - start, file.offset + start)


def _message(number: int, content: bytes) -> bytes:
    return _number(number << 3 | _LENGTH) + _number(len(content)) + content


def _number(value: int) -> bytes:
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])
