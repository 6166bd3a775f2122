"""What each route does: translate, call the plane, translate back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import quote

import msgspec

from modelwright.core.about import __version__
from modelwright.core.access import Permission
from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.core.signature import TensorSpec
from modelwright.interfaces.http import infer, instances, truth
from modelwright.interfaces.http.message import JSON, Asked, AskedAll, Logged, Reply, Request, json_reply
from modelwright.interfaces.http.metrics import CONTENT_TYPE, Metrics
from modelwright.serve import each_row
from modelwright.serve.call import Answer, PredictCall
from modelwright.serve.describe import configuration, described_columns, platform_of, statistics
from modelwright.serve.plane import Plane
from modelwright.serve.repository import Repository
from modelwright.serve.route import LiveArm

EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "parameters",
    "schedule_policy",
    "statistics",
)
"""Those kept in full. ``model_repository`` is where a folder is served; with a registry, only its index is."""


@dataclass(slots=True)
class Context:
    """What the endpoints reach.

    ``unready(model, version)`` says why nothing would be answered now, ``stopping`` whether the server is about to end;
    ``document`` makes the OpenAPI document of the whole server (None) or of an arm; ``may(authorization, permission,
    now)`` tells whether the caller has a permission. What is cached is forgotten with the table.
    """

    plane: Plane
    repository: Repository
    metrics: Metrics
    unready: Callable[[str, str], list[str]]
    stopping: Callable[[], bool]
    document: Callable[[LiveArm | None], object]
    may: Callable[[bytes | None, Permission, float], bool]
    openings: dict[tuple[str, str], tuple[bytes, bytes]] = field(default_factory=dict)
    documents: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def ready(self) -> bool:
        """Whether every model would answer now."""
        return not self.unready("", "")

    def forget(self) -> None:
        """Empty the caches."""
        self.openings.clear()
        self.documents.clear()


def live(_context: Context, _request: Request) -> Reply:
    """The process answers."""
    return json_reply({"live": True})


def alive(_context: Context, _request: Request) -> Reply:
    """The process answers: Azure's probe wants no more, and clients of KServe's V1 protocol look for these words."""
    return json_reply({"status": "alive"})


def ready(context: Context, request: Request) -> Reply:
    """Every model of the table is loaded and proved, and its runner would answer; who may read is told what is not."""
    return _readiness(context, request, {}, context.unready("", ""))


def model_ready(context: Context, request: Request) -> Reply:
    """This model (this version) would answer; 404 when it is not known, which before the first table is not known."""
    named = request.parameters
    return _readiness(
        context, request, {"name": named["model"]}, context.unready(named["model"], named.get("version", ""))
    )


def _readiness(context: Context, request: Request, body: dict[str, object], reasons: list[str]) -> Reply:
    body["ready"] = not reasons
    if reasons and context.may(request.headers.get(b"authorization"), "read", request.received_at):
        body["reasons"] = reasons
    return json_reply(body, 503 if reasons else 200)


def server_metadata(context: Context, _request: Request) -> Reply:
    """Name, version and extensions."""
    extensions = sorted((*EXTENSIONS, "model_repository") if context.repository.changeable else EXTENSIONS)
    return json_reply({"name": "modelwright", "version": __version__, "extensions": extensions})


def model_metadata(context: Context, request: Request) -> Reply:
    """Tensors of the model."""
    arm = arm_of(context, request)
    signature = arm.loaded.signature
    versions = list(context.plane.route(arm.model).by_version)
    metadata: dict[str, object] = {
        "name": arm.model,
        "versions": [request.parameters["version"]] if "version" in request.parameters else versions,
        "platform": platform_of(arm.loaded),
        "inputs": [_tensor(spec) for spec in signature.inputs],
        "outputs": [_tensor(spec) for spec in signature.outputs],
    }
    columns = described_columns(signature)
    return json_reply(metadata | ({"properties": {"modelwright_columns": columns}} if columns else {}))


def model_configuration(context: Context, request: Request) -> Reply:
    """Configuration of the model, in Triton's words."""
    return json_reply(configuration(context.plane.route(request.parameters["model"]), arm_of(context, request)))


def model_statistics(context: Context, request: Request) -> Reply:
    """What this version, every version of this model, or every version of every model has done."""
    named = request.parameters
    return json_reply({"model_stats": statistics(context.plane, named.get("model", ""), named.get("version", ""))})


def predict(context: Context, request: Request) -> Asked | AskedAll:
    """Inference."""
    model, version = request.parameters["model"], request.parameters.get("version", "")
    arm = arm_of(context, request)  # an unknown model is said to be so, whatever the body holds
    length = request.headers.get(b"inference-header-content-length")
    actor, at = request.actor.subject, request.received_at
    body = request.body if request.long is None else request.long
    if length is None:
        decoded = infer.decode(model, version, body, None, actor=actor, received_at=at)
    elif (json_length := _json_length(length, len(body))) == 0:
        specs = arm.loaded.signature.inputs
        decoded = infer.decode_raw(model, version, specs, body, actor=actor, received_at=at)
    else:
        decoded = infer.decode(model, version, body, json_length, actor=actor, received_at=at)
    if decoded.row_errors:
        calls = each_row.split(decoded.call, arm.loaded)
        return AskedAll(calls, partial(_inferred_by_row, context, decoded, calls))
    return Asked(decoded.call, partial(_inferred, context, decoded))


def _inferred_by_row(
    context: Context,
    decoded: infer.Decoded,
    calls: Sequence[PredictCall],
    outcomes: Sequence[Answer | ModelwrightError],
) -> Reply:
    answer = each_row.join(calls, outcomes)
    for error in answer.row_errors.values():
        context.metrics.count_error(error.code)
    return _inferred(context, decoded, answer)


def _inferred(context: Context, decoded: infer.Decoded, answer: Answer) -> Reply:
    opening, headers = _opening(context, answer)
    body, json_size = infer.encode(decoded, answer, opening)
    if json_size is None:
        headers = JSON + headers
    else:
        headers = (
            b"content-type: application/octet-stream\r\ninference-header-content-length: %d\r\n" % json_size + headers
        )
    return Reply(200, body, headers, Logged.PREDICTION, (answer.model, answer.version))


def predict_instances(context: Context, request: Request) -> Asked:
    """Inference in KServe's V1 protocol."""
    model, version = request.parameters["model"], request.parameters.get("version", "")
    signature = arm_of(context, request).loaded.signature
    call, by_columns = instances.decode(
        model, version, signature, request.body, actor=request.actor.subject, received_at=request.received_at
    )

    def finish(answer: Answer) -> Reply:
        return predicted(context, answer, instances.encode(answer, by_columns=by_columns))

    return Asked(call, finish)


def predicted(context: Context, answer: Answer, body: bytes, content_type: bytes = JSON) -> Reply:
    """The reply that carries an answer in whatever dialect: its headers name the version and the prediction's id."""
    _, headers = _opening(context, answer)
    return Reply(200, body, content_type + headers, Logged.PREDICTION, (answer.model, answer.version))


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


def openapi(context: Context, request: Request) -> Reply:
    """The OpenAPI document: of this server, or of one model (one version) with its own inputs and examples."""
    model, version = request.parameters.get("model", ""), request.parameters.get("version", "")
    arm = arm_of(context, request) if model else None
    body = context.documents.get((model, version))
    if body is None:
        body = context.documents[(model, version)] = msgspec.json.encode(context.document(arm))
    return Reply(200, body)


def metrics(context: Context, _request: Request) -> Reply:
    """Prometheus text."""
    return Reply(200, context.metrics.render(), CONTENT_TYPE)


def arm_of(context: Context, request: Request) -> LiveArm:
    """The arm that the path names: of the version, or the champion."""
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
    headers = b"%bmodelwright-prediction-id: %b\r\n" % (cached[1], identity.encode())
    if answer.warnings:
        headers += b"modelwright-warnings: %b\r\n" % quote(", ".join(answer.warnings), safe=" ,-_.").encode()
    return cached[0], headers
