"""SageMaker's container for several models; the one for a single model, ``/ping`` and ``/invocations``, is MLflow's.

The contract: https://docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html.
"""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from modelwright.core.errors import ConflictError, ModelwrightError
from modelwright.interfaces.http import infer
from modelwright.interfaces.http.dialects import mlflow
from modelwright.interfaces.http.endpoints import Context
from modelwright.interfaces.http.message import Reply, Request, error_with_body, json_reply, status_of, words
from modelwright.interfaces.http.route import HttpRoute
from modelwright.serve.route import LiveRoute


class LoadRequest(msgspec.Struct):
    """The body of a load."""

    model_name: str
    url: str = ""


_load_decoder = msgspec.json.Decoder(LoadRequest)


def errors(error: ModelwrightError) -> Reply:
    """The error body of the container's model routes."""
    return error_with_body(error, {"error": {"code": status_of(error), "message": words(error)}})


def models(context: Context, _request: Request) -> Reply:
    """Every model, in SageMaker's contract."""
    return json_reply({"models": [_model(route) for _, route in sorted(context.plane.routes.items())]})


def model(context: Context, request: Request) -> Reply:
    """One model, in SageMaker's contract."""
    return json_reply(_model(context.plane.route(request.parameters["model"])))


def load(context: Context, request: Request) -> Reply:
    """Refused: the registry decides what is served."""
    name = infer.parse(_load_decoder, request.body).model_name
    if name in context.plane.routes:
        raise ConflictError("serve.already-loaded", f"Model {name!r} is served already.")
    raise _registry_decides(f"Model {name[:100]!r} cannot be loaded from here.")


def unload(context: Context, request: Request) -> Reply:
    """Refused: the registry decides what is served."""
    name = context.plane.route(request.parameters["model"]).model
    raise _registry_decides(f"Model {name!r} cannot be unloaded from here.")


def _registry_decides(what: str) -> ConflictError:
    return ConflictError(
        "serve.registry-decides",
        what,
        why="The registry decides what is served.",
        fix="Use `modelwright promote`, `modelwright rollback` or `modelwright serve --package`.",
    )


def _model(route: LiveRoute) -> dict[str, str]:
    return {
        "modelName": route.model,
        "modelUrl": f"modelwright:/models/{quote(route.model)}/versions/{quote(route.champion.version)}",
    }


ROUTES = (
    HttpRoute(b"GET", "/models", "predict", models, errors=errors),
    HttpRoute(b"POST", "/models", "predict", load, errors=errors),
    HttpRoute(b"GET", "/models/{model}", "predict", model, errors=errors),
    HttpRoute(b"DELETE", "/models/{model}", "predict", unload, errors=errors),
    HttpRoute(b"POST", "/models/{model}/invoke", "predict", mlflow.invocations, timed=True, errors=errors),
)
