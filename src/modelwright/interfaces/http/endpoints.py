"""What each route does: translate, call the plane, translate back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote

from modelwright.core.about import __version__
from modelwright.core.errors import BadInputError
from modelwright.core.signature import TensorSpec
from modelwright.interfaces.http import infer, instances, truth
from modelwright.interfaces.http.message import JSON, Logged, Reply, Request, json_reply
from modelwright.interfaces.http.metrics import CONTENT_TYPE, Metrics
from modelwright.serve.call import Answer
from modelwright.serve.plane import Plane
from modelwright.serve.route import LiveArm

EXTENSIONS = ("binary_tensor_data", "model_repository", "parameters")
PLATFORM = "onnx_onnxv1"


@dataclass(slots=True)
class Context:
    """What the endpoints reach. ``ready`` is False before the first table and while draining."""

    plane: Plane
    metrics: Metrics
    ready: Callable[[], bool]
    openings: dict[tuple[str, str], tuple[bytes, bytes]] = field(default_factory=dict)


def live(_context: Context, _request: Request) -> Reply:
    """The process answers."""
    return json_reply({"live": True})


def ready(context: Context, _request: Request) -> Reply:
    """Every model of the table is loaded and proved."""
    yes = context.ready()
    return json_reply({"ready": yes}, 200 if yes else 503)


def model_ready(context: Context, request: Request) -> Reply:
    """This model (this version) is loaded; 404 when it is not known, which before the first table is not known."""
    if context.plane.table is not None:
        _arm(context, request)
    name, yes = request.parameters["model"], context.ready()
    return json_reply({"name": name, "ready": yes}, 200 if yes else 503)


def server_metadata(_context: Context, _request: Request) -> Reply:
    """Name, version and extensions."""
    return json_reply({"name": "modelwright", "version": __version__, "extensions": EXTENSIONS})


def model_metadata(context: Context, request: Request) -> Reply:
    """Tensors of the model."""
    arm = _arm(context, request)
    signature = arm.loaded.signature
    versions = list(context.plane.route(arm.model).by_version)
    return json_reply(
        {
            "name": arm.model,
            "versions": [request.parameters["version"]] if "version" in request.parameters else versions,
            "platform": PLATFORM,
            "inputs": [_tensor(spec) for spec in signature.inputs],
            "outputs": [_tensor(spec) for spec in signature.outputs],
        }
    )


def repository_index(context: Context, _request: Request) -> Reply:
    """Every loaded version."""
    return json_reply(
        [
            {"name": route.model, "version": version, "state": "READY", "reason": ""}
            for route in context.plane.routes.values()
            for version in route.by_version
        ]
    )


def predict(context: Context, request: Request) -> Reply:
    """Inference."""
    model, version = request.parameters["model"], request.parameters.get("version", "")
    arm = _arm(context, request)  # an unknown model is said to be so, whatever the body holds
    length = request.headers.get(b"inference-header-content-length")
    actor, at = request.actor.subject, request.received_at
    if length is None:
        decoded = infer.decode(model, version, request.body, None, actor=actor, received_at=at)
    elif (json_length := _json_length(length, len(request.body))) == 0:
        specs = arm.loaded.signature.inputs
        decoded = infer.decode_raw(model, version, specs, request.body, actor=actor, received_at=at)
    else:
        decoded = infer.decode(model, version, request.body, json_length, actor=actor, received_at=at)
    answer = context.plane.predict(decoded.call)
    opening, headers = _opening(context, answer)
    body, json_size = infer.encode(decoded, answer, opening)
    if json_size is None:
        headers = JSON + headers
    else:
        headers = (
            b"content-type: application/octet-stream\r\ninference-header-content-length: %d\r\n" % json_size + headers
        )
    return Reply(200, body, headers, Logged.PREDICTION, (answer.model, answer.version))


def predict_instances(context: Context, request: Request) -> Reply:
    """Inference in KServe's V1 protocol."""
    model, version = request.parameters["model"], request.parameters.get("version", "")
    signature = _arm(context, request).loaded.signature
    call = instances.decode(
        model, version, signature, request.body, actor=request.actor.subject, received_at=request.received_at
    )
    answer = context.plane.predict(call)
    _, headers = _opening(context, answer)
    return Reply(200, instances.encode(answer), JSON + headers, Logged.PREDICTION, (answer.model, answer.version))


def model_list(context: Context, _request: Request) -> Reply:
    """Every model, in KServe's V1 protocol."""
    return json_reply({"models": sorted(context.plane.routes)})


def record_truth(context: Context, request: Request) -> Reply:
    """Ground truth by prediction id; the answer leaves after it is written."""
    model, records = truth.decode(request.body, actor=request.actor.subject, received_at=request.received_at)
    context.plane.route(model)
    for record in records:
        context.plane.append(record)
    reply = json_reply({"accepted": len(records)})
    reply.logged = Logged.TRUTH
    return reply


def metrics(context: Context, _request: Request) -> Reply:
    """Prometheus text."""
    return Reply(200, context.metrics.render(), CONTENT_TYPE)


def _arm(context: Context, request: Request) -> LiveArm:
    route = context.plane.route(request.parameters["model"])
    version = request.parameters.get("version")
    return route.champion if version is None else route.pinned(version)


def _tensor(spec: TensorSpec) -> dict[str, object]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}


def _json_length(header: bytes, total: int) -> int:
    text = header.strip()
    if not text.isdigit() or len(text) > 20 or int(text) > total:
        raise BadInputError(
            "http.bad-json-length",
            f"Inference-Header-Content-Length is no number from 0 to the body's {total} bytes.",
        )
    return int(text)


def _opening(context: Context, answer: Answer) -> tuple[bytes, bytes]:
    """How the answer's body begins, cached per version, and the headers that name its version and its id."""
    key = (answer.model, answer.version)
    cached = context.openings.get(key)
    if cached is None:
        version = b"modelwright-version: %b\r\n" % quote(answer.version).encode()
        cached = context.openings[key] = (infer.opening(*key), version)
    identity = answer.prediction_id
    if not (identity.isascii() and identity.isprintable()):
        identity = quote(identity)
    return cached[0], b"%bmodelwright-prediction-id: %b\r\n" % (cached[1], identity.encode())
