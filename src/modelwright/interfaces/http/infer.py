"""One Open Inference Protocol request body to a call of the plane, and its answer to a response body."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import BadInputError
from modelwright.core.signature import DATATYPES, TensorSpec
from modelwright.interfaces.http import tensors
from modelwright.interfaces.http.parameters import NO_WISHES, InferOutput, Parameter, schedule, wishes
from modelwright.serve import each_row
from modelwright.serve.call import Answer, PredictCall
from modelwright.serve.classification import classify
from modelwright.serve.sequences import mark_of
from modelwright.serve.validate import datatype_of

Body = TypeVar("Body")
_LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


class InferInput(msgspec.Struct, gc=False):
    """One element of ``inputs``."""

    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = msgspec.Raw(b"")
    parameters: dict[str, Parameter] | None = None


class InferRequest(msgspec.Struct, gc=False):
    """The JSON of an inference request."""

    inputs: list[InferInput]
    id: str | None = None
    parameters: dict[str, Parameter] | None = None
    outputs: list[InferOutput] | None = None


class PlainRequest(msgspec.Struct, gc=False):
    """An inference request whose tensors are flat lists of their datatype: most are, and one pass decodes them."""

    inputs: list[tensors.PlainInput]
    id: str | None = None
    parameters: dict[str, Parameter] | None = None
    outputs: list[InferOutput] | None = None


class RowsRequest(msgspec.Struct, gc=False):
    """An inference request whose tensors are lists of rows of their datatype."""

    inputs: list[tensors.RowsInput]
    id: str | None = None
    parameters: dict[str, Parameter] | None = None
    outputs: list[InferOutput] | None = None


_ROWS_OPEN, _PEEKED = b"[[", 4096
_decoder = msgspec.json.Decoder(InferRequest)
_plain_decoder = msgspec.json.Decoder(PlainRequest)
_rows_decoder = msgspec.json.Decoder(RowsRequest)


@dataclass(slots=True)
class Decoded:
    """A decoded request: the call, the id to echo, and how the caller wants which output.

    ``binary`` tells whether in binary, ``classes`` how many of the best classes of each row instead of the tensor,
    ``row_errors`` whether rows may fail by themselves.
    """

    call: PredictCall
    echo_id: str | None
    binary_default: bool
    binary: Mapping[str, bool]
    classes: Mapping[str, int]
    row_errors: bool = False


def decode(
    model: str, version: str, body: bytes | memoryview, json_length: int | None, *, actor: str, received_at: float
) -> Decoded:
    """Decode a body whose first ``json_length`` bytes are JSON (None: all of it) and the rest tensors.

    Raises:
        BadInputError: ``serve.bad-json``, ``serve.bad-request`` and everything of :mod:`.tensors`.
    """
    nulls: dict[str, NDArray[np.bool_]] = {}
    request: PlainRequest | RowsRequest | InferRequest | None = None
    if json_length is None:
        try:
            request = _plain_decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            request = _rows(body)  # what else it may be is seen below
    if isinstance(request, PlainRequest):
        inputs, finite = tensors.decode_plain(request.inputs), True
    elif isinstance(request, RowsRequest):
        inputs, finite = tensors.decode_rows(request.inputs), True
    else:
        request = parse(_decoder, body if json_length is None else memoryview(body)[:json_length])
        finite = json_length is None
        inputs = _decode_any(request.inputs, body, len(body) if json_length is None else json_length, nulls)
    parameters = request.parameters
    call = PredictCall(
        model,
        inputs,
        actor,
        received_at,
        version,
        request.id or "",
        None if request.outputs is None else [output.name for output in request.outputs],
        nulls=nulls,
        finite=finite,
    )
    binary, classes = wishes(request.outputs) if request.outputs else NO_WISHES
    if not parameters:
        return Decoded(call, request.id, False, binary, classes)
    if "event_time" in parameters:
        call.event_time = event_time(parameters["event_time"])
    call.limit, call.priority = schedule(parameters)
    if "sequence_id" in parameters:
        call.sequence = mark_of(*(parameters.get(f"sequence_{part}") for part in ("id", "start", "end")))
    as_binary, by_row = parameters.get("binary_data_output") is True, parameters.get("row_errors") is True
    return Decoded(call, request.id, as_binary, binary, classes, by_row)


def _rows(body: bytes | memoryview) -> RowsRequest | None:
    """The request where all its tensors are lists of rows, in one pass; None where it is anything else."""
    if _ROWS_OPEN not in bytes(body[:_PEEKED]):
        return None
    try:
        request = _rows_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    # data beside a binary_data_size is refused where tensors of any form are decoded
    binary = any(item.parameters and "binary_data_size" in item.parameters for item in request.inputs)
    return None if binary else request


def _decode_any(
    items: list[InferInput], body: bytes | memoryview, offset: int, nulls: dict[str, NDArray[np.bool_]]
) -> dict[str, NDArray[Any]]:
    """Tensors in JSON of any form, and those in binary from ``offset`` on; ``nulls`` gets where a null stood."""
    inputs: dict[str, NDArray[Any]] = {}
    for item in items:
        name = item.name
        if name in inputs:
            raise tensors.given_twice(name)
        datatype = item.datatype if item.datatype in DATATYPES else tensors.datatype_of(name, item.datatype)
        if item.parameters and "binary_data_size" in item.parameters:
            size = _binary_size(item, len(body) - offset)
            inputs[name] = tensors.decode_binary(name, datatype, item.shape, memoryview(body)[offset : offset + size])
            offset += size
            continue
        if not item.data:
            raise BadInputError("serve.bad-request", f"Input {name[:100]!r} has no data.")
        inputs[name], missing = tensors.decode_json(name, datatype, item.shape, item.data)
        if missing is not None:
            nulls[name] = missing
    if offset != len(body):
        raise BadInputError(
            "serve.bad-request", f"The body has {len(body) - offset} bytes that no binary_data_size accounts for."
        )
    return inputs


def decode_raw(
    model: str, version: str, specs: tuple[TensorSpec, ...], body: bytes | memoryview, *, actor: str, received_at: float
) -> Decoded:
    """A raw request: the whole body is the single input, and all outputs come back in binary.

    Raises:
        BadInputError: ``serve.raw-not-possible``, ``serve.wrong-count``.
    """
    if len(specs) != 1:
        raise BadInputError(
            "serve.raw-not-possible",
            f"A raw request needs a model with one input; {model!r} has {len(specs)}.",
            fix="Send a JSON head with Inference-Header-Content-Length.",
        )
    spec = specs[0]
    shape = _raw_shape(spec, len(body))
    if spec.datatype == "BYTES":
        body = len(body).to_bytes(4, "little") + bytes(body)
    array = tensors.decode_binary(spec.name, spec.datatype, shape, memoryview(body))
    return Decoded(PredictCall(model, {spec.name: array}, actor, received_at, version), None, True, *NO_WISHES)


def _raw_shape(spec: TensorSpec, size: int) -> list[int]:
    """The shape of a raw body: one variable dimension follows from its size; of two, the first is a batch of 1."""
    shape = list(spec.shape)
    if shape.count(-1) == 2 and shape[0] == -1:
        shape[0] = 1
    if shape.count(-1) > 1:
        raise BadInputError("serve.raw-not-possible", f"Input {spec.name!r} has more than one variable dimension.")
    if spec.datatype == "BYTES":
        return [1 if dimension == -1 else dimension for dimension in shape]
    fixed = math.prod(dimension for dimension in shape if dimension != -1) * DATATYPES[spec.datatype].itemsize
    return [size // fixed if dimension == -1 and fixed else dimension for dimension in shape]


def event_time(value: object) -> float:
    """Unix seconds from a number or from ISO 8601 text (UTC where it names no zone).

    Raises:
        BadInputError: ``serve.bad-event-time``.
    """
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(type(value).__name__)  # noqa: TRY004, TRY301 - one way out for every bad value
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        seconds = float(value)
        if not -_LATEST < seconds < _LATEST:
            raise ValueError("out of range")  # noqa: TRY301 - as above
    except (ValueError, OverflowError) as error:
        raise BadInputError(
            "serve.bad-event-time",
            f"The event time {str(value)[:50]!r} cannot be read.",
            fix="Give Unix seconds or ISO 8601 text, for example 2013-03-01T12:00:00Z.",
        ) from error
    return seconds


def encode(decoded: Decoded, answer: Answer, prefix: bytes) -> tuple[bytes, int | None]:
    """The response body, and the length of its JSON when tensors follow it (else None).

    ``prefix`` is the cached opening of every answer of this version: see :func:`opening`.

    Raises:
        BadInputError: ``serve.not-json``, ``serve.not-classifiable``.
    """
    items: list[bytes] = []
    tails: list[bytes] = []
    for name, count in decoded.classes.items():
        answer.outputs[name] = classify(answer.outputs[name], count, answer.signature.classes)
    for name, tensor in answer.outputs.items():
        shape = tensor.shape
        head = b"%b%b]," % (
            _heads.get((name, tensor.dtype)) or _head(name, tensor),
            b"%d,%d" % shape if len(shape) == 2 else ",".join(map(str, shape)).encode(),
        )
        if decoded.binary.get(name, decoded.binary_default):
            raw = tensors.encode_binary(tensor)
            tails.append(raw)
            items.append(b'%b"parameters":{"binary_data_size":%d}}' % (head, len(raw)))
        else:
            data = _with_gaps(name, tensor, answer) if answer.row_errors else tensors.encode_json(name, tensor)
            items.append(b'%b"data":%b}' % (head, data))
    echo = b"" if decoded.echo_id is None else b'"id":%b,' % msgspec.json.encode(decoded.echo_id)
    if decoded.row_errors:
        echo += b'"parameters":%b,' % msgspec.json.encode({"row_errors": each_row.in_words(answer)})
    text = b'%b%b"outputs":[%b]}' % (prefix, echo, b",".join(items))
    if not tails:
        return text, None
    return b"".join((text, *tails)), len(text)


def _with_gaps(name: str, tensor: NDArray[Any], answer: Answer) -> bytes:
    """The data with null for every element of a row that failed."""
    whole = np.array([row not in answer.row_errors for row in range(answer.rows)])
    values = np.full(tensor.shape, None, dtype=object)
    good = tensor[whole]
    values[whole] = np.array(msgspec.json.decode(tensors.encode_json(name, good)), dtype=object).reshape(good.shape)
    return msgspec.json.encode(values.reshape(-1).tolist())


def opening(model: str, version: str) -> bytes:
    """The bytes every response body of a version begins with."""
    return b'{"model_name":%b,"model_version":%b,' % (msgspec.json.encode(model), msgspec.json.encode(version))


# how an output begins, by name and dtype: as many as the served models have outputs
_heads: dict[tuple[str, np.dtype[Any]], bytes] = {}


def _head(name: str, tensor: NDArray[Any]) -> bytes:
    head = b'{"name":%b,"datatype":"%b","shape":[' % (msgspec.json.encode(name), datatype_of(tensor).encode())
    _heads[(name, tensor.dtype)] = head
    return head


def parse(decoder: msgspec.json.Decoder[Body], text: bytes | memoryview) -> Body:
    """The body as the decoder's type.

    Raises:
        BadInputError: ``serve.bad-json``, ``serve.bad-request``.
    """
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        raise BadInputError(
            "serve.bad-request", "The body is no inference request.", why=f"{error}.", fix="See the protocol."
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInputError("serve.bad-json", "The body is not JSON.", why=f"{error}.") from error


def _binary_size(item: InferInput, available: int) -> int:
    size = (item.parameters or {})["binary_data_size"]
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= available:
        raise BadInputError(
            "serve.bad-request",
            f"Input {item.name[:100]!r} names a binary_data_size that the body does not hold.",
            fix="Set Inference-Header-Content-Length, and binary_data_size to the tensor's bytes.",
        )
    if item.data:
        raise BadInputError("serve.bad-request", f"Input {item.name[:100]!r} has both data and binary_data_size.")
    return size
