"""Azure Machine Learning's inference server: ``/score`` and the liveness probe ``/``.

The contract: https://learn.microsoft.com/azure/machine-learning/how-to-inference-server-http; ``input_data`` is the
form of its MLflow models.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.core.signature import Signature
from modelwright.interfaces.http import infer, rows
from modelwright.interfaces.http.dialects import ask
from modelwright.interfaces.http.dialects.mlflow import Split, take_split
from modelwright.interfaces.http.endpoints import Context
from modelwright.interfaces.http.message import Asked, Reply, Request, error_with_body, words
from modelwright.interfaces.http.route import HttpRoute
from modelwright.serve.call import Answer, PredictCall


class ScoreRequest(msgspec.Struct, gc=False):
    """The JSON of a request: rows under ``data``, or a table, rows or columns under ``input_data``."""

    data: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    input_data: msgspec.Raw = msgspec.Raw(b"")
    params: Any = None


_decoder = msgspec.json.Decoder(ScoreRequest)
_split = msgspec.json.Decoder(Split)


def errors(error: ModelwrightError) -> Reply:
    """Azure's error body."""
    return error_with_body(error, {"error": {"code": error.code, "message": words(error)}})


def score(context: Context, request: Request) -> Asked:
    """Inference in Azure's contract."""
    ask.addressed(context, request)  # an unknown model is said to be so, whatever the body holds
    body = infer.parse(_decoder, request.body)
    ask.no_parameters("params", body.params)
    if (body.data is msgspec.UNSET) != bool(body.input_data):
        raise BadInputError("serve.bad-request", 'The body holds exactly one of "data" and "input_data".')
    bare = body.data is msgspec.UNSET
    return ask.asked(context, request, partial(_take, body), partial(_encode, bare))


def _take(body: ScoreRequest, call: PredictCall, signature: Signature) -> None:
    given = body.input_data
    if body.data is not msgspec.UNSET:
        rows.take_instances(call, signature, body.data)
    elif rows.is_list(given):
        rows.take_instances(call, signature, rows.elements(given))
    elif rows.is_object(given) and {"data"} <= rows.members(given).keys() <= {"columns", "index", "data"}:
        take_split(call, signature, infer.parse(_split, bytes(given)))
    else:
        rows.take_columns(call, signature, given)


def _encode(bare: bool, answer: Answer) -> bytes:
    """The bare list where the request came as to an MLflow model, else under ``result``."""
    found = rows.predictions(answer, plain=True)
    return msgspec.json.encode(found if bare else {"result": found})


ROUTES = (HttpRoute(b"POST", "/score", "predict", score, timed=True, errors=errors),)
