"""Tensors to the body of a request, and the body of an answer to tensors: JSON and the binary extension."""

from __future__ import annotations

import functools
import math
import struct
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from modelwright.client.model import dtype_of
from modelwright.client.rows import Tensor
from modelwright.client.wire import Buffer, size_of
from modelwright.core.signature import DATATYPES

_COPIED = 1 << 12  # what is shorter is not worth a view
_LENGTH = struct.Struct("<I")
Parameters = Mapping[str, str | int | float | bool]


class _Output(msgspec.Struct, gc=False):
    name: str
    datatype: str
    shape: list[int]
    data: msgspec.Raw = msgspec.Raw(b"")
    parameters: dict[str, Any] | None = None


class InferAnswer(msgspec.Struct, gc=False):
    """The JSON of an answer."""

    outputs: list[_Output]
    model_name: str = ""
    model_version: str | None = None
    id: str | None = None
    parameters: dict[str, Any] | None = None


_answer = msgspec.json.Decoder(InferAnswer)


def encode(
    inputs: Sequence[Tensor],
    *,
    identity: str,
    outputs: Sequence[str] | None,
    parameters: Parameters,
    binary: bool,
) -> tuple[list[Buffer], int | None]:
    """The parts of a request's body, and the length of its JSON where tensors follow it.

    A text that is missing goes as ``null`` in JSON: binary tensors cannot say it.
    """
    items: list[bytes] = []
    tails: list[Buffer] = []
    for tensor in inputs:
        head = b"%b%b]," % (_head(tensor.name, tensor.datatype), ",".join(map(str, tensor.array.shape)).encode())
        if binary and tensor.nulls is None:
            raw = encode_binary(tensor.array)
            tails.append(raw)
            items.append(b'%b"parameters":{"binary_data_size":%d}}' % (head, size_of(raw)))
        else:
            items.append(b'%b"data":%b}' % (head, _json_data(tensor)))
    text = b'{"id":%b,"inputs":[%b]%b}' % (
        b'"%b"' % identity.encode() if identity.isalnum() and identity.isascii() else msgspec.json.encode(identity),
        b",".join(items),
        _wishes(outputs, parameters, binary),
    )
    if not binary:
        return [text], None
    return [text, *tails], len(text)


def decode(body: bytes, json_length: int | None) -> tuple[InferAnswer, dict[str, NDArray[Any]]]:
    """The answer and its tensors; texts are ``str`` where they are UTF-8.

    Raises:
        msgspec.MsgspecError: it is no answer of the protocol.
        ValueError: its parts do not agree.
    """
    offset = len(body) if json_length is None else json_length
    answer = _answer.decode(body if json_length is None else memoryview(body)[:offset])
    tensors: dict[str, NDArray[Any]] = {}
    for output in answer.outputs:
        size = output.parameters.get("binary_data_size") if output.parameters else None
        if size is None:
            tensors[output.name] = _from_json(output)
            continue
        if not isinstance(size, int) or not 0 <= size <= len(body) - offset:
            raise ValueError(f"output {output.name!r} is longer than the answer")
        tensors[output.name] = _from_binary(output, body, offset, size)
        offset += size
    if offset != len(body):
        raise ValueError(f"{len(body) - offset} bytes belong to no output")
    return answer, tensors


def encode_binary(array: NDArray[Any]) -> Buffer:
    """Little-endian, row-major; a text behind its length."""
    if array.dtype.kind != "O":
        if sys.byteorder != "little":
            array = array.astype(array.dtype.newbyteorder("<"))
        if array.nbytes < _COPIED or not array.flags.c_contiguous:
            return array.tobytes()
        return array.reshape(-1).view(np.uint8).data
    parts: list[bytes] = []
    for value in array.reshape(-1).tolist():
        raw = value if isinstance(value, bytes) else str(value).encode()
        parts += (_LENGTH.pack(len(raw)), raw)
    return b"".join(parts)


@functools.lru_cache(maxsize=1024)
def _head(name: str, datatype: str) -> bytes:
    return b'{"name":%b,"datatype":"%b","shape":[' % (msgspec.json.encode(name), datatype.encode())


def _wishes(outputs: Sequence[str] | None, parameters: Parameters, binary: bool) -> bytes:
    """The end of the JSON: which outputs, in which form, and the parameters."""
    if outputs is None and not parameters:
        return b',"parameters":{"binary_data_output":true}' if binary else b""
    asked: dict[str, Any] = {}
    if parameters or binary:
        asked["parameters"] = {**parameters, "binary_data_output": True} if binary else dict(parameters)
    if outputs is not None:
        asked["outputs"] = [{"name": name} for name in outputs]
        if binary:  # KServe's server looks at each output only
            asked["outputs"] = [{"name": name, "parameters": {"binary_data": True}} for name in outputs]
    return b"," + msgspec.json.encode(asked)[1:-1]


def _json_data(tensor: Tensor) -> bytes:
    values = tensor.array.reshape(-1).tolist()
    if tensor.array.dtype.kind == "f":
        values = [value if math.isfinite(value) or math.isinf(value) else None for value in values]
    elif tensor.array.dtype.kind == "O":
        values = [value.decode() if isinstance(value, bytes) else str(value) for value in values]
        if tensor.nulls is not None:
            values = [None if gone else value for value, gone in zip(values, tensor.nulls.reshape(-1), strict=True)]
    return msgspec.json.encode(values)


def _from_json(output: _Output) -> NDArray[Any]:
    dtype = dtype_of(output.datatype) or DATATYPES["FP32"]
    values = msgspec.json.decode(output.data)
    if dtype.kind == "f":
        return np.asarray(values, dtype=np.float64).astype(dtype).reshape(output.shape)  # null is NaN
    return np.array(values, dtype=dtype).reshape(output.shape)


def _from_binary(output: _Output, body: bytes, offset: int, size: int) -> NDArray[Any]:
    if output.datatype == "BF16":
        halves = np.frombuffer(body, "<u2", size // 2, offset)
        return (halves.astype(np.uint32) << 16).view(np.float32).reshape(output.shape)
    dtype = dtype_of(output.datatype)
    if dtype is None:
        raise ValueError(f"output {output.name!r} has the datatype {output.datatype}")
    if dtype.kind == "O":
        return _texts(memoryview(body)[offset : offset + size], output.shape)
    if size % dtype.itemsize:
        raise ValueError(f"output {output.name!r} is cut off")
    count = size // dtype.itemsize
    found = np.frombuffer(body, dtype, count, offset).reshape(output.shape)
    # A copy: aligned, writable, and free of the body.
    return found.copy() if sys.byteorder == "little" else found.byteswap()


def _texts(data: memoryview, shape: list[int]) -> NDArray[Any]:
    elements: list[str | bytes] = []
    offset, end = 0, len(data)
    while offset < end:
        if end - offset < _LENGTH.size:
            raise ValueError("a text is cut off")
        start = offset + _LENGTH.size
        offset = start + _LENGTH.unpack_from(data, offset)[0]
        if offset > end:
            raise ValueError("a text is cut off")
        raw = bytes(data[start:offset])
        try:
            elements.append(raw.decode())
        except UnicodeDecodeError:
            elements.append(raw)
    found = np.empty(len(elements), dtype=object)
    found[:] = elements
    return found.reshape(shape)
