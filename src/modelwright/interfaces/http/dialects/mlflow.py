"""MLflow's scoring server: ``/invocations``, ``/ping``, ``/health``, ``/version``.

The contract: https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally. SageMaker calls the same path, so the
types of body and answer that are usual there (JSON lines, CSV without a header, ``Accept``) are taken here too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from modelwright.core.about import __version__
from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.core.signature import Signature
from modelwright.interfaces.http import infer, rows
from modelwright.interfaces.http.dialects import ask, csv_rows, parquet
from modelwright.interfaces.http.endpoints import Context
from modelwright.interfaces.http.message import JSON, Asked, Reply, Request, error_with_body, json_reply, words
from modelwright.interfaces.http.route import HttpRoute
from modelwright.serve.call import Answer, PredictCall

PARQUET = ("application/vnd.apache.parquet", "application/x-parquet", "application/parquet")
LINES = ("application/jsonlines", "application/x-jsonlines", "application/jsonl", "application/x-ndjson")
TAKEN = f"application/json, text/csv, {LINES[0]} or {PARQUET[0]}"
_FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")

_ERROR_CODES = {
    "bad-input": "BAD_REQUEST",
    "too-large": "BAD_REQUEST",
    "refused": "INVALID_STATE",
    "conflict": "RESOURCE_CONFLICT",
    "not-found": "RESOURCE_DOES_NOT_EXIST",
    "unauthenticated": "UNAUTHENTICATED",
    "forbidden": "PERMISSION_DENIED",
    "unavailable": "TEMPORARILY_UNAVAILABLE",
    "throttled": "REQUEST_LIMIT_EXCEEDED",
    "deadline": "DEADLINE_EXCEEDED",
}


class Split(msgspec.Struct, gc=False):
    """pandas' ``orient="split"``; the index is ignored."""

    data: list[list[msgspec.Raw]]
    columns: list[str | int] | None = None


class Invocation(msgspec.Struct, gc=False):
    """The JSON of a request: exactly one of the four, and no parameters."""

    dataframe_split: Split | msgspec.UnsetType = msgspec.UNSET
    dataframe_records: list[dict[str, msgspec.Raw]] | msgspec.UnsetType = msgspec.UNSET
    instances: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    inputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    params: Any = None


_decoder = msgspec.json.Decoder(Invocation | list[msgspec.Raw])
_line = msgspec.json.Decoder(msgspec.Raw)


def errors(error: ModelwrightError) -> Reply:
    """MLflow's error body."""
    code = _ERROR_CODES.get(error.kind, "INTERNAL_ERROR")
    return error_with_body(error, {"error_code": code, "message": words(error)})


def invocations(context: Context, request: Request) -> Asked:
    """Inference in MLflow's and SageMaker's contracts."""
    encode, content_type = _answer_as(request.headers.get(b"accept", b""))
    return ask.asked(context, request, partial(_take, request), encode, content_type)


def ping(context: Context, _request: Request) -> Reply:
    """200 while predictions can be asked for, in MLflow's and SageMaker's contracts."""
    return json_reply({}, 200 if context.ready() else 503)


def version(_context: Context, _request: Request) -> Reply:
    """The server's version as text."""
    return Reply(200, __version__.encode(), b"content-type: text/plain; charset=utf-8\r\n")


def take_split(call: PredictCall, signature: Signature, split: Split) -> None:
    """Fill the call's inputs from pandas' ``orient="split"``; without ``columns`` a row is a list of values.

    Raises:
        BadInputError: as :mod:`.rows`.
    """
    if split.columns is None:
        rows.take_instances(call, signature, list(map(rows.listed, split.data)))
        return
    for row in split.data:
        if len(row) != len(split.columns):
            raise BadInputError(
                "serve.bad-request", f"A row has {len(row)} values where {len(split.columns)} columns are named."
            )
    rows.take_table(call, signature, [str(name) for name in split.columns], split.data)


def _take(request: Request, call: PredictCall, signature: Signature) -> None:
    header = request.headers.get(b"content-type", b"")
    media = ask.media_type(header)
    if media in ("text/csv", "application/csv"):
        known = rows.datatypes(signature)
        rows.take_table(call, signature, *csv_rows.read(request.body, known, header=_header(header)))
    elif media in PARQUET:
        rows.take_table(call, signature, *parquet.read(request.body, rows.datatypes(signature)))
    elif media in LINES:
        rows.take_instances(call, signature, _instances(request.body, signature))
    elif ask.is_json(media):
        _take_json(infer.parse(_decoder, request.body), call, signature)
    else:
        raise ask.unsupported(media, TAKEN)


def _take_json(body: Invocation | list[msgspec.Raw], call: PredictCall, signature: Signature) -> None:
    if isinstance(body, list):
        rows.take_instances(call, signature, body)
        return
    given = [name for name in _FORMATS if getattr(body, name) is not msgspec.UNSET]
    if len(given) != 1:
        raise BadInputError(
            "serve.bad-request",
            f"The body holds {', '.join(given) or 'no input'}.",
            fix=f"Send exactly one of {', '.join(_FORMATS)}.",
        )
    if body.dataframe_split is not msgspec.UNSET:
        take_split(call, signature, body.dataframe_split)
    elif body.dataframe_records is not msgspec.UNSET:
        rows.take_records(call, signature, body.dataframe_records)
    elif body.instances is not msgspec.UNSET:
        rows.take_instances(call, signature, body.instances)
    elif body.inputs is not msgspec.UNSET:
        rows.take_columns(call, signature, body.inputs)


def _instances(body: bytes, signature: Signature) -> list[msgspec.Raw]:
    """JSON lines: each is a row, as it is or under ``features``, as SageMaker writes it."""
    found = [infer.parse(_line, line) for line in body.split(b"\n") if line.strip()]
    if "features" in rows.datatypes(signature):
        return found
    return [_row(line) if rows.is_object(line) else line for line in found]


def _row(line: msgspec.Raw) -> msgspec.Raw:
    fields = rows.members(line)
    return fields["features"] if fields.keys() == {"features"} else line


def _header(content_type: bytes) -> bool | None:
    """RFC 4180's parameter of ``text/csv``: whether there is a header (None: it does not say)."""
    parameters = content_type.lower().replace(b" ", b"").split(b";")[1:]
    if b"header=absent" in parameters:
        return False
    return True if b"header=present" in parameters else None


def _answer_as(accept: bytes) -> tuple[Callable[[Answer], bytes], bytes]:
    """How the answer is written: as the first type in ``Accept`` that we write, else JSON."""
    for wish in accept.split(b","):
        media = ask.media_type(wish)
        if media == "text/csv":
            return _csv, b"content-type: text/csv; charset=utf-8\r\n"
        if media in LINES:
            return _json_lines, b"content-type: %b\r\n" % media.encode()
        if media in ("application/json", "application/*", "*/*"):
            break
    return _json, JSON


def _json(answer: Answer) -> bytes:
    return msgspec.json.encode({"predictions": rows.predictions(answer, plain=True)})


def _json_lines(answer: Answer) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows.predictions(answer, plain=True))


def _csv(answer: Answer) -> bytes:
    return csv_rows.write(_flat(row) for row in rows.predictions(answer, plain=True))


def _flat(value: Any) -> list[object]:
    if isinstance(value, dict):
        value = list(value.values())
    return [cell for inner in value for cell in _flat(inner)] if isinstance(value, list) else [value]


ROUTES = (
    HttpRoute(b"POST", "/invocations", "predict", invocations, timed=True, errors=errors),
    HttpRoute(b"GET", "/ping", None, ping, errors=errors),
    HttpRoute(b"GET", "/health", None, ping, errors=errors),
    HttpRoute(b"GET", "/version", "predict", version, errors=errors),
)
