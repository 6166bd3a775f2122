"""Seldon Core's first protocol: ``/api/v1.0/predictions`` and ``/api/v0.1/predictions``.

The contract: https://docs.seldon.io/projects/seldon-core/en/latest/graph/protocols.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from numpy.typing import NDArray

from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.core.signature import Signature
from modelwright.interfaces.http import infer, rows, tensors
from modelwright.interfaces.http.dialects import ask
from modelwright.interfaces.http.endpoints import Context
from modelwright.interfaces.http.message import Asked, Reply, Request, error_with_body, status_of, words
from modelwright.interfaces.http.route import HttpRoute
from modelwright.serve.call import Answer, PredictCall

_OTHER = ("strData", "binData", "jsonData", "customData")


class Tensor(msgspec.Struct, gc=False):
    """A shape and the flat values."""

    shape: list[int]
    values: list[msgspec.Raw]


class Data(msgspec.Struct, gc=False):
    """One of the two forms; ``names`` are the columns."""

    names: list[str] | None = None
    ndarray: list[msgspec.Raw] | None = None
    tensor: Tensor | None = None


class Meta(msgspec.Struct, gc=False):
    """``puid`` is the prediction's id; what else stands there is ignored."""

    puid: str = ""


class SeldonMessage(msgspec.Struct, gc=False, rename="camel"):
    """The JSON of a request."""

    data: Data | None = None
    meta: Meta | None = None
    str_data: Any = None
    bin_data: Any = None
    json_data: Any = None
    custom_data: Any = None


_decoder = msgspec.json.Decoder(SeldonMessage)
_table = msgspec.json.Decoder(list[list[msgspec.Raw]])


def errors(error: ModelwrightError) -> Reply:
    """Seldon's error body."""
    status = {"code": status_of(error), "info": words(error), "reason": error.code, "status": "FAILURE"}
    return error_with_body(error, {"status": status})


def predictions(context: Context, request: Request) -> Asked:
    """Inference in Seldon's first protocol."""
    ask.addressed(context, request)  # an unknown model is said to be so, whatever the body holds
    message = infer.parse(_decoder, request.body)
    data = _data(message)
    return ask.asked(context, request, partial(_take, data, message.meta), partial(_encode, data.tensor is not None))


def _data(message: SeldonMessage) -> Data:
    data = message.data
    if data is None:
        other = [name for name, field in zip(_OTHER, SeldonMessage.__struct_fields__[2:], strict=True)
                 if getattr(message, field) is not None]  # fmt: skip
        raise BadInputError(
            "serve.bad-request",
            f"The message holds {', '.join(other) or 'no data'}.",
            why="A model here takes rows of values." if other else "",
            fix="Send data.ndarray or data.tensor.",
        )
    if (data.ndarray is None) == (data.tensor is None):
        raise BadInputError("serve.bad-request", "The data holds exactly one of ndarray and tensor.")
    return data


def _take(data: Data, meta: Meta | None, call: PredictCall, signature: Signature) -> None:
    if meta is not None:
        call.prediction_id = meta.puid
    table: Sequence[rows.Text] = data.ndarray or () if data.tensor is None else _unflattened(data.tensor)
    named = len(signature.inputs) > 1 or bool(signature.inputs[0].features)
    if not data.names or not named:
        rows.take_instances(call, signature, table)
        return
    found = infer.parse(_table, rows.listed(table))
    if any(len(row) != len(data.names) for row in found):
        raise BadInputError("serve.bad-request", f"A row is no list of {len(data.names)} values, one per name.")
    rows.take_table(call, signature, data.names, found)


def _unflattened(tensor: Tensor) -> Sequence[rows.Text]:
    """The values nested as the shape says."""
    shape = tensor.shape
    values: Sequence[rows.Text] = tensor.values
    if tensors.element_count("tensor", shape) != len(values) or not shape:
        raise BadInputError(
            "serve.wrong-count",
            f"The tensor has {len(values)} values where its shape asks for another number.",
            fix="Make shape and values agree.",
        )
    if not values:
        return []
    for size in reversed(shape[1:]):
        values = [rows.listed(values[start : start + size]) for start in range(0, len(values), size)]
    return values


def _encode(as_tensor: bool, answer: Answer) -> bytes:
    rows.require_rows(answer)
    found = [_column(name, tensor) for name, tensor in answer.outputs.items()]
    names = [name for own, _ in found for name in own]
    meta = {"puid": answer.prediction_id, "requestPath": {answer.model: f"modelwright:{answer.version}"}}
    table = [[cell for part in parts for cell in part] for parts in zip(*(part for _, part in found), strict=True)]
    plain = all(tensor.dtype.kind in "iuf" and tensor.ndim <= 2 for tensor in answer.outputs.values())
    data: dict[str, object] = {"names": names}
    if as_tensor and plain:
        data["tensor"] = {"shape": [len(table), len(names)], "values": [cell for row in table for cell in row]}
    else:
        data["ndarray"] = table
    return msgspec.json.encode({"data": data, "meta": meta})


def _column(name: str, tensor: NDArray[Any]) -> tuple[list[str], list[list[Any]]]:
    """The names of an output's columns, and its cells by row."""
    if tensor.ndim == 1:
        tensor = tensor.reshape(-1, 1)
    cells = rows.nested(name, tensor)
    if tensor.ndim > 2:
        return [name], [[cell] for cell in cells]
    width = tensor.shape[1]
    return ([name] if width == 1 else [f"{name}:{index}" for index in range(width)]), cells


ROUTES = tuple(
    HttpRoute(b"POST", f"/api/{version}/predictions", "predict", predictions, timed=True, errors=errors)
    for version in ("v1.0", "v0.1")
)
