"""Answers in events: what is asked, in the protocol's own form or in the short one of its generate extension."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec

from modelwright.core.errors import BadInputError
from modelwright.core.signature import Signature, TensorSpec
from modelwright.interfaces.http import infer, tensors
from modelwright.interfaces.http.endpoints import Context, arm_of
from modelwright.interfaces.http.message import AskedStream, Request
from modelwright.serve.call import Answer

_OWN = frozenset({"id", "parameters"})


def generate_stream(context: Context, request: Request) -> AskedStream:
    """Inference, answered in events as the model makes its chunks."""
    model, version = request.parameters["model"], request.parameters.get("version", "")
    signature = arm_of(context, request).loaded.signature
    asked = _object(request.body)
    short = "inputs" not in asked or any(spec.name == "inputs" for spec in signature.inputs)
    body = msgspec.json.encode(_long(asked, signature)) if short else request.body
    actor, at = request.actor.subject, request.received_at
    decoded = infer.decode(model, version, body, None, actor=actor, received_at=at)
    decoded.binary_default, decoded.binary = False, {}
    return AskedStream(decoded.call, partial(_short_event if short else _event, decoded), _headers)


def _object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadInputError("serve.bad-json", "The body is no JSON object.", why=f"{error}.") from error


def _long(asked: Mapping[str, Any], signature: Signature) -> dict[str, Any]:
    """The protocol's own form of a request that names inputs by themselves: ``{"text": "hello"}``."""
    specs = {spec.name: spec for spec in signature.inputs}
    unknown = next((name for name in asked if name not in specs and name not in _OWN), None)
    if unknown is not None:
        raise BadInputError(
            "serve.unknown-input", f"There is no input {unknown[:100]!r}.", fix=f"Give {', '.join(specs)}."
        )
    inputs = [_input(spec, asked[name]) for name, spec in specs.items() if name in asked]
    return {"inputs": inputs, **{name: asked[name] for name in _OWN if name in asked}}


def _input(spec: TensorSpec, value: Any) -> dict[str, Any]:
    """A value, or a list of values, for one tensor: its one variable dimension follows from how many there are."""
    flat = _flat(value)
    fixed = math.prod(size for size in spec.shape if size != -1)
    shape, left = [], len(flat) // fixed if fixed else 0
    for size in spec.shape:
        if size == -1:
            shape.append(left)
            left = 1
        else:
            shape.append(size)
    return {"name": spec.name, "datatype": spec.datatype, "shape": shape, "data": flat}


def _flat(value: Any) -> list[Any]:
    rest, flat = [value], []
    while rest:
        item = rest.pop()
        if isinstance(item, list):
            rest.extend(reversed(item))
        else:
            flat.append(item)
    return flat


def _event(decoded: infer.Decoded, answer: Answer) -> bytes:
    return infer.encode(decoded, answer, infer.opening(answer.model, answer.version))[0]


def _short_event(decoded: infer.Decoded, answer: Answer) -> bytes:
    """``{"model_name": ..., "model_version": ..., "text": "hello"}``: a tensor of one element as that."""
    said = b"%b%b" % (
        infer.opening(answer.model, answer.version),
        b"" if decoded.echo_id is None else b'"id":%b,' % msgspec.json.encode(decoded.echo_id),
    )
    values = []
    for name, tensor in answer.outputs.items():
        data = tensors.encode_json(name, tensor)
        values.append(b"%b:%b" % (msgspec.json.encode(name), data[1:-1] if tensor.size == 1 else data))
    return said + b",".join(values) + b"}"


def _headers(answer: Answer) -> bytes:
    return b"modelwright-version: %b\r\nmodelwright-prediction-id: %b\r\n" % (
        quote(answer.version).encode(),
        quote(answer.prediction_id).encode(),
    )
