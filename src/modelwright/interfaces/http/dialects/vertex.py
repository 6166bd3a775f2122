"""Vertex AI's prediction container: its routes come from the settings.

The contract: https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from modelwright.core.signature import Signature
from modelwright.interfaces.http import infer, rows
from modelwright.interfaces.http.dialects import ask
from modelwright.interfaces.http.endpoints import Context
from modelwright.interfaces.http.endpoints import ready as health
from modelwright.interfaces.http.message import Asked, Request
from modelwright.interfaces.http.route import HttpRoute
from modelwright.serve.call import Answer, PredictCall
from modelwright.settings import Settings


class PredictRequest(msgspec.Struct, gc=False):
    """The JSON of a request."""

    instances: list[msgspec.Raw]
    parameters: Any = None


_decoder = msgspec.json.Decoder(PredictRequest)


def routes(settings: Settings) -> tuple[HttpRoute, ...]:
    """The two routes, where the settings name them."""
    found = []
    if settings.predict_route:
        found.append(HttpRoute(b"POST", settings.predict_route, "predict", predict, timed=True))
    if settings.health_route:
        found.append(HttpRoute(b"GET", settings.health_route, None, health))
    return tuple(found)


def predict(context: Context, request: Request) -> Asked:
    """Inference in Vertex AI's contract."""
    return ask.asked(context, request, partial(_take, request), _encode)


def _take(request: Request, call: PredictCall, signature: Signature) -> None:
    body = infer.parse(_decoder, request.body)
    ask.no_parameters("parameters", body.parameters)
    rows.take_instances(call, signature, body.instances)


def _encode(answer: Answer) -> bytes:
    return msgspec.json.encode({"predictions": rows.predictions(answer, plain=True)})
