"""What the routes take and give, for any model: one row per endpoint. A route without a row fails a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modelwright.core.signature import DATATYPES
from modelwright.interfaces.http import endpoints, generate, repository
from modelwright.interfaces.http.message import error_reply
from modelwright.serve.call import MAX_ID_LENGTH, MAX_PRIORITY

Schema = dict[str, Any]
STRING: Schema = {"type": "string"}
ANY = "Any"


@dataclass(frozen=True, slots=True)
class Bodies:
    """Names in :data:`SCHEMAS`: of the body taken (empty: none) and of the answer given.

    ``binary`` tells that both may also be binary tensors, ``text`` that the answer is plain text, ``events`` that it
    comes in events, ``not_ready`` that 503 has the answer's shape too.
    """

    takes: str = ""
    gives: str = ANY
    binary: bool = False
    text: bool = False
    not_ready: bool = False
    events: bool = False


BODIES: Mapping[Callable[..., Any], Bodies] = {
    endpoints.live: Bodies(gives="Live"),
    endpoints.ready: Bodies(gives="Ready", not_ready=True),
    endpoints.model_ready: Bodies(gives="ModelReady", not_ready=True),
    endpoints.server_metadata: Bodies(gives="Server"),
    endpoints.model_metadata: Bodies(gives="Model"),
    endpoints.predict: Bodies("InferRequest", "InferAnswer", binary=True),
    generate.generate_stream: Bodies("GenerateRequest", "Events", events=True),
    endpoints.predict_instances: Bodies("PredictRequest", "PredictAnswer"),
    endpoints.model_list: Bodies(gives="ModelList"),
    repository.index: Bodies(gives="RepositoryIndex"),
    endpoints.record_truth: Bodies("Truths", "Accepted"),
    endpoints.metrics: Bodies(gives="Metrics", text=True),
    endpoints.openapi: Bodies(gives="Document"),
}
ERRORS: Mapping[Callable[..., Any], str] = {error_reply: "Error"}
"""What an error looks like, by the route's ``errors``."""


def object_of(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """The schema of an object with these properties."""
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}


def array_of(items: Schema) -> Schema:
    """The schema of an array of these."""
    return {"type": "array", "items": items}


REASONS: Mapping[str, Schema] = {
    "reasons": {
        "type": "array",
        "items": {"type": "string"},
        "description": "What is not ready, for who may read.",
    }
}
ID: Schema = {
    "type": "string",
    "maxLength": MAX_ID_LENGTH,
    "description": "The prediction's id; left out: one is made. Ground truth refers to it.",
}
EVENT_TIME: Schema = {
    "type": ["number", "string"],
    "description": "When it happened, if not now: Unix seconds or ISO 8601 text.",
}
_BYTES: Schema = object_of({}, {"binary_data_size": {"type": "integer", "minimum": 0}})
OUTPUT_WISH_PARAMETERS: Schema = object_of({}, {"binary_data": {"type": "boolean"}})
INFER_PARAMETERS: Schema = object_of(
    {},
    {
        "event_time": EVENT_TIME,
        "timeout": {"type": "integer", "minimum": 0, "description": "Microseconds until the caller gives up; 0: none."},
        "priority": {
            "type": "integer",
            "minimum": 0,
            "maximum": MAX_PRIORITY,
            "description": "1 goes first among the caller's waiting requests; 0: the usual one.",
        },
        "row_errors": {"type": "boolean", "description": "Bad rows fail by themselves; the answer names them."},
        "sequence_id": {"type": ["integer", "string"], "description": "The sequence that the request belongs to."},
        "sequence_start": {"type": "boolean", "description": "It is the first of its sequence."},
        "sequence_end": {"type": "boolean", "description": "It is the last of its sequence."},
        "binary_data_output": {"type": "boolean", "description": "All outputs as binary tensors after the JSON."},
    },
)
_SHAPE = array_of({"type": "integer"})
_DATATYPE: Schema = {"enum": list(DATATYPES)}
_NAMED = {"name": STRING, "datatype": _DATATYPE, "shape": _SHAPE}
_VALUE: Schema = {"type": ["number", "string", "boolean", "null"]}

SCHEMAS: Mapping[str, Schema] = {
    ANY: {},
    "Error": object_of({"error": {"type": "string", "description": "What is wrong, why, and what to do."}}),
    "GenerateRequest": {
        "type": "object",
        "description": "A value, or a list of values, for each input by its name; or an inference request.",
    },
    "Events": {
        "type": "string",
        "description": "Server-Sent Events: one without a name for each chunk, then `end`, or `error` with its code.",
    },
    "Live": object_of({"live": {"const": True}}),
    "Ready": object_of({"ready": {"type": "boolean"}}, REASONS),
    "ModelReady": object_of({"name": STRING, "ready": {"type": "boolean"}}, REASONS),
    "Server": object_of({"name": STRING, "version": STRING, "extensions": array_of(STRING)}),
    "Model": object_of(
        {
            "name": STRING,
            "versions": array_of(STRING),
            "platform": STRING,
            "inputs": array_of(object_of(_NAMED)),
            "outputs": array_of(object_of(_NAMED)),
        },
        {"properties": {"type": "object", "additionalProperties": STRING}},
    ),
    "InferRequest": object_of(
        {
            "inputs": array_of(
                object_of(
                    {**_NAMED, "datatype": {"enum": [*DATATYPES, "STRING"]}},
                    {"data": {"description": "Flat in row-major order, or nested."}, "parameters": _BYTES},
                )
            )
        },
        {
            "id": ID,
            "parameters": INFER_PARAMETERS,
            "outputs": array_of(object_of({"name": STRING}, {"parameters": OUTPUT_WISH_PARAMETERS})),
        },
    ),
    "InferAnswer": object_of(
        {
            "model_name": STRING,
            "model_version": STRING,
            "outputs": array_of(object_of(_NAMED, {"data": array_of(_VALUE), "parameters": _BYTES})),
        },
        {"id": STRING},
    ),
    "PredictRequest": object_of({"instances": {"type": "array", "description": "One instance is one row."}}),
    "PredictAnswer": object_of({"predictions": {"type": "array", "description": "One prediction per row."}}),
    "ModelList": object_of({"models": array_of(STRING)}),
    "RepositoryIndex": array_of(object_of({"name": STRING, "version": STRING, "state": STRING, "reason": STRING})),
    "Truths": object_of(
        {
            "model": STRING,
            "truths": array_of(
                object_of(
                    {"prediction_id": ID | {"minLength": 1}},
                    {"values": array_of(_VALUE), "value": _VALUE, "event_time": EVENT_TIME},
                )
                | {"oneOf": [{"required": ["values"]}, {"required": ["value"]}]}
            ),
        }
    ),
    "Accepted": object_of({"accepted": {"type": "integer", "minimum": 0}}),
    "Metrics": {"type": "string", "description": "Prometheus' text format."},
    "Document": object_of({"openapi": {"const": "3.1.0"}, "info": {"type": "object"}, "paths": {"type": "object"}}),
}
