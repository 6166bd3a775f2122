"""The whole table of what the routes take and give: that of ``openapi_bodies`` and other servers' dialects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from modelwright.interfaces.http import endpoints, openapi_bodies, repository
from modelwright.interfaces.http.dialects import azure, cloudevents, mlflow, sagemaker, seldon, vertex
from modelwright.interfaces.http.openapi_bodies import ANY, STRING, Bodies, Schema, array_of, object_of

BODIES: Mapping[Callable[..., Any], Bodies] = {
    **openapi_bodies.BODIES,
    endpoints.alive: Bodies(gives="Alive"),
    endpoints.model_statistics: Bodies(gives="Statistics"),
    endpoints.model_configuration: Bodies(gives="Configuration"),
    repository.load: Bodies(gives="Nothing"),
    repository.unload: Bodies(gives="Nothing"),
    mlflow.invocations: Bodies("Invocation", "Predictions"),
    mlflow.ping: Bodies(gives="Nothing"),
    mlflow.version: Bodies(gives="VersionText", text=True),
    sagemaker.models: Bodies(gives="SageMakerModels"),
    sagemaker.model: Bodies(gives="SageMakerModel"),
    sagemaker.load: Bodies(gives=ANY),
    sagemaker.unload: Bodies(gives=ANY),
    azure.score: Bodies("Score", ANY),
    seldon.predictions: Bodies("SeldonMessage", "SeldonMessage"),
    cloudevents.events: Bodies("Event", "Event"),
    vertex.predict: Bodies("VertexRequest", "Predictions"),
}
ERRORS: Mapping[Callable[..., Any], str] = {
    **openapi_bodies.ERRORS,
    mlflow.errors: "MlflowError",
    sagemaker.errors: "SageMakerError",
    azure.errors: "AzureError",
    seldon.errors: "SeldonError",
}

_ROWS = array_of({})
_DURATION = object_of({"count": {"type": "integer"}, "ns": {"type": "integer"}})
_SELDON_DATA = object_of(
    {},
    {
        "names": array_of(STRING),
        "ndarray": _ROWS,
        "tensor": object_of({"shape": array_of({"type": "integer"}), "values": array_of({"type": "number"})}),
    },
)

SCHEMAS: Mapping[str, Schema] = {
    **openapi_bodies.SCHEMAS,
    "Alive": object_of({"status": {"const": "alive"}}),
    "Statistics": object_of(
        {
            "model_stats": array_of(
                object_of(
                    {
                        "name": STRING,
                        "version": STRING,
                        "last_inference": {"type": "integer", "description": "Milliseconds since 1970."},
                        "inference_count": {"type": "integer", "description": "Rows."},
                        "execution_count": {"type": "integer", "description": "Runs."},
                        "inference_stats": {"type": "object", "additionalProperties": _DURATION},
                        "batch_stats": array_of({"type": "object"}),
                    }
                )
            )
        }
    ),
    "Configuration": object_of({"name": STRING, "platform": STRING, "max_batch_size": {"type": "integer"}}),
    "Nothing": {"type": "object", "maxProperties": 0},
    "VersionText": {"type": "string", "description": "The server's version."},
    "Invocation": {
        "description": "Exactly one of the four forms; by content type also a list of rows, CSV, Parquet, JSON lines.",
        "type": ["object", "array"],
        "properties": {
            "dataframe_split": object_of({"data": _ROWS}, {"columns": array_of(STRING), "index": array_of({})}),
            "dataframe_records": array_of({"type": "object"}),
            "instances": _ROWS,
            "inputs": {"description": "An array, or an object of arrays by input."},
            "params": {"type": ["object", "null"]},
        },
    },
    "Predictions": object_of({"predictions": {"type": "array", "description": "One prediction per row."}}),
    "MlflowError": object_of({"error_code": STRING, "message": STRING}),
    "SageMakerModels": object_of({"models": array_of(object_of({"modelName": STRING}, {"modelUrl": STRING}))}),
    "SageMakerModel": object_of({"modelName": STRING}, {"modelUrl": STRING}),
    "SageMakerError": object_of({"error": object_of({"code": {"type": "integer"}, "message": STRING})}),
    "Score": object_of({}, {"data": _ROWS, "input_data": {"type": ["array", "object"]}}),
    "AzureError": object_of({"error": object_of({"code": STRING, "message": STRING})}),
    "SeldonMessage": object_of({}, {"data": _SELDON_DATA, "meta": {"type": "object"}}),
    "SeldonError": object_of(
        {
            "status": object_of(
                {"code": {"type": "integer"}, "info": STRING, "reason": STRING, "status": {"const": "FAILURE"}}
            )
        }
    ),
    "Event": {
        "description": "A CloudEvent: its data alone in binary mode, itself in structured mode, or a list of them.",
    },
    "VertexRequest": object_of({"instances": _ROWS}, {"parameters": {"type": ["object", "null"]}}),
}
