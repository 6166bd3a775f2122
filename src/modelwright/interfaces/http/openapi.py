"""The OpenAPI 3.1 document of the data plane, or of one model; made from the route table and the model's signature.

Imported when it is first asked for. Every route is in it: the summary is the first line of its endpoint's docstring.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelwright.core import examples
from modelwright.core.about import __version__
from modelwright.core.package import Golden
from modelwright.core.signature import Signature
from modelwright.interfaces.http import openapi_schemas as schemas
from modelwright.interfaces.http.openapi_bodies import ANY, Bodies
from modelwright.interfaces.http.openapi_dialects import BODIES, ERRORS, SCHEMAS
from modelwright.interfaces.http.route import HttpRoute
from modelwright.interfaces.http.routes import ROUTES
from modelwright.serve.route import LiveArm

Json = dict[str, Any]
EXAMPLE_ROWS = 2
_STRING: Json = {"type": "string"}
_PARAMETER = re.compile(r"{(\w+)}")
_SAID = {"model": "The model's name.", "version": "The version's number; it must be loaded."}


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a document is about; ``bound`` values stand in the paths, ``examples`` by the name of their schema."""

    info: Json
    bound: Mapping[str, str] = field(default_factory=dict)
    schemas: Mapping[str, Json] = field(default_factory=lambda: SCHEMAS)
    examples: Mapping[str, Any] = field(default_factory=dict)


def document(arm: LiveArm | None = None, *, authenticate: bool = True, routes: Iterable[HttpRoute] = ROUTES) -> Json:
    """The document of all routes, or of those of one model (of one version, where the arm is a pinned one).

    Args:
        arm: whose signature; None = the whole server.
        authenticate: False where the server asks for no token.
        routes: the route table.
    """
    subject = _server() if arm is None else _model(arm)
    paths: dict[str, Json] = {}
    used: set[str] = set()
    for route in routes:
        names = set(_PARAMETER.findall(route.pattern))
        if subject.bound and names != set(subject.bound):
            continue
        bodies = BODIES.get(route.endpoint, Bodies())
        used |= {bodies.takes, bodies.gives, ERRORS.get(route.errors, ANY)}
        path = _PARAMETER.sub(lambda found: subject.bound.get(found[1], found[0]), route.pattern)
        paths.setdefault(path, {})[route.method.decode().lower()] = _operation(route, bodies, subject)
    return {
        "openapi": "3.1.0",
        "info": subject.info,
        "security": [{"token": []}] if authenticate else [],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "`modelwright token issue` makes one."}
            },
            "schemas": {name: schema for name, schema in subject.schemas.items() if name in used},
        },
    }


def summary(route: HttpRoute) -> str:
    """What a route does, in a line."""
    return (route.endpoint.__doc__ or "").strip().partition("\n")[0]


def _server() -> _Subject:
    said = "Predictions, ground truth, health and metrics. Each model has a document of its own: see its path."
    return _Subject({"title": "modelwright data plane", "version": __version__, "description": said})


def _model(arm: LiveArm) -> _Subject:
    signature, golden = arm.loaded.signature, _golden(arm)
    by_row = all(spec.shape[:1] == (-1,) for spec in signature.inputs)
    own = {
        "InferRequest": schemas.infer_request(signature),
        "InferAnswer": schemas.infer_answer(signature, arm.model, arm.version),
    }
    shown: dict[str, Any] = {}
    if golden is not None:
        shown = _v2_examples(arm, golden)
    if by_row and signature.inputs:
        own |= {
            "PredictRequest": schemas.predict_request(signature),
            "PredictAnswer": schemas.predict_answer(signature),
        }
        if golden is not None:
            shown |= _v1_examples(signature, golden)
    pinned = {"version": arm.version} if arm.role == "pinned" else {}
    info = {"title": arm.model, "version": arm.version, "description": _about(signature)}
    return _Subject(info, {"model": arm.model, **pinned}, {**SCHEMAS, **own}, shown)


def _golden(arm: LiveArm) -> Golden | None:
    """A few rows that the package must reproduce: a model that does not answer row by row gets all of them."""
    package, signature = arm.loaded.package, arm.loaded.signature
    if package.golden is None:
        return None
    if arm.loaded.batched:
        return examples.complete_rows(package.golden, signature, most=EXAMPLE_ROWS)
    return examples.whole(package.golden, signature)


def _about(signature: Signature) -> str:
    parts = [] if signature.task == "none" else [f"Task: {signature.task}."]
    parts += [f"Predicts `{signature.target}`."] if signature.target else []
    parts += [f"Classes: {', '.join(signature.classes)}."] if signature.classes else []
    return " ".join([*parts, "Examples are rows of the package with the answers it must reproduce."])


def _v2_examples(arm: LiveArm, golden: Golden) -> dict[str, Any]:
    signature = arm.loaded.signature
    return {
        "InferRequest": {"inputs": examples.tensors_json(signature.inputs, golden.inputs)},
        "InferAnswer": {
            "model_name": arm.model,
            "model_version": arm.version,
            "outputs": examples.tensors_json(signature.outputs, golden.outputs),
        },
    }


def _v1_examples(signature: Signature, golden: Golden) -> dict[str, Any]:
    only = signature.inputs[0]
    if len(signature.inputs) > 1:
        named = {spec.name: [_bare(row) for row in golden.inputs[spec.name]] for spec in signature.inputs}
        instances: list[Any] = _rows(named, golden.rows)
    elif only.features and len(only.shape) == 2 and only.shape[1] == len(only.features):
        instances = [dict(zip(only.features, row, strict=True)) for row in golden.inputs[only.name]]
    else:
        instances = golden.inputs[only.name]
    outputs = {spec.name: golden.outputs[spec.name] for spec in signature.outputs}
    predictions = next(iter(outputs.values())) if len(outputs) == 1 else _rows(outputs, golden.rows)
    return {"PredictRequest": {"instances": instances}, "PredictAnswer": {"predictions": predictions}}


def _rows(columns: Mapping[str, list[Any]], count: int) -> list[dict[str, Any]]:
    return [{name: values[row] for name, values in columns.items()} for row in range(count)]


def _bare(row: Any) -> Any:
    return row[0] if isinstance(row, list) and len(row) == 1 and not isinstance(row[0], list) else row


def _operation(route: HttpRoute, bodies: Bodies, subject: _Subject) -> Json:
    says = summary(route)
    operation: Json = {
        "operationId": f"{route.method.decode().lower()}_{re.sub(r'[^A-Za-z0-9]+', '_', route.pattern).strip('_')}",
        "summary": says,
        "description": f"Needs permission `{route.permission}`." if route.permission else "Open to everyone.",
        "x-modelwright-permission": route.permission,
        "parameters": [*_path_parameters(route, subject), *_headers(route, bodies)],
        "responses": _responses(route, bodies, subject),
    }
    if route.permission is None:
        operation["security"] = []
    if bodies.takes:
        operation["requestBody"] = {"required": True, "content": _content(bodies.takes, bodies, subject)}
    return operation


def _path_parameters(route: HttpRoute, subject: _Subject) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "description": _SAID.get(name, ""), "schema": _STRING}
        for name in _PARAMETER.findall(route.pattern)
        if name not in subject.bound
    ]


def _headers(route: HttpRoute, bodies: Bodies) -> list[Json]:
    whole: Json = {"type": "integer", "minimum": 0}
    told = []
    if route.timed:
        told.append(("Modelwright-Timeout-Ms", "Milliseconds until the caller gives up."))
    if bodies.binary:
        told.append(("Inference-Header-Content-Length", "Bytes of the JSON before binary tensors; 0: the body is raw."))
    return [{"name": name, "in": "header", "description": says, "schema": whole} for name, says in told]


def _responses(route: HttpRoute, bodies: Bodies, subject: _Subject) -> Json:
    answer: Json = {"description": "Done.", "content": _content(bodies.gives, bodies, subject)}
    if route.timed:
        answer["headers"] = {
            "modelwright-version": {"description": "The version that answered.", "schema": _STRING},
            "modelwright-prediction-id": {"description": "The id that ground truth refers to.", "schema": _STRING},
        }
    error: Json = {
        "description": "An error.",
        "headers": {
            "modelwright-error": {"description": "The error's stable code.", "schema": _STRING},
            "retry-after": {"description": "Seconds to wait, with 429 and 503.", "schema": {"type": "integer"}},
        },
        "content": {"application/json": {"schema": _reference(ERRORS.get(route.errors, ANY))}},
    }
    responses = {"200": answer, "default": error}
    if bodies.not_ready:
        responses["503"] = {"description": "Not ready.", "content": answer["content"]}
    return responses


def _content(name: str, bodies: Bodies, subject: _Subject) -> Json:
    media: Json = {"schema": _reference(name)}
    if name in subject.examples:
        media["examples"] = {"golden": {"summary": "Rows of the package", "value": subject.examples[name]}}
    if bodies.events and name == bodies.gives:
        return {"text/event-stream": media}
    content = {"text/plain" if bodies.text else "application/json": media}
    if bodies.binary:
        content["application/octet-stream"] = {}
    return content


def _reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
