"""The protocol's messages, built from a table: names, numbers and types are those of the Open Inference Protocol.

Source: ``specification/protocol/open_inference_grpc.proto`` of kserve/open-inference-protocol; parameters 4 and 5, the
stream, the repository, configuration and statistics as in Triton's ``grpc_service.proto``; health and reflection as in
grpc/grpc-proto. The messages live in a pool of their own, so that a client library in the same process can bring its
own copy.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pool

from modelwright.interfaces.grpc.describe import Fields, File

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

_TABLE: dict[str, Fields] = {
    "ServerLiveRequest": [],
    "ServerLiveResponse": [("live", 1, "bool")],
    "ServerReadyRequest": [],
    "ServerReadyResponse": [("ready", 1, "bool")],
    "ModelReadyRequest": [("name", 1, "string"), ("version", 2, "string")],
    "ModelReadyResponse": [("ready", 1, "bool")],
    "ServerMetadataRequest": [],
    "ServerMetadataResponse": [("name", 1, "string"), ("version", 2, "string"), ("extensions", 3, "[]string")],
    "ModelMetadataRequest": [("name", 1, "string"), ("version", 2, "string")],
    "ModelMetadataResponse": [
        ("name", 1, "string"),
        ("versions", 2, "[]string"),
        ("platform", 3, "string"),
        ("inputs", 4, "[]ModelMetadataResponse.TensorMetadata"),
        ("outputs", 5, "[]ModelMetadataResponse.TensorMetadata"),
    ],
    "ModelMetadataResponse.TensorMetadata": [
        ("name", 1, "string"),
        ("datatype", 2, "string"),
        ("shape", 3, "[]int64"),
    ],
    "InferParameter": [
        ("bool_param", 1, "|bool"),
        ("int64_param", 2, "|int64"),
        ("string_param", 3, "|string"),
        ("double_param", 4, "|double"),
        ("uint64_param", 5, "|uint64"),
    ],
    "InferTensorContents": [
        ("bool_contents", 1, "[]bool"),
        ("int_contents", 2, "[]int32"),
        ("int64_contents", 3, "[]int64"),
        ("uint_contents", 4, "[]uint32"),
        ("uint64_contents", 5, "[]uint64"),
        ("fp32_contents", 6, "[]float"),
        ("fp64_contents", 7, "[]double"),
        ("bytes_contents", 8, "[]bytes"),
    ],
    "ModelInferRequest": [
        ("model_name", 1, "string"),
        ("model_version", 2, "string"),
        ("id", 3, "string"),
        ("parameters", 4, "{}InferParameter"),
        ("inputs", 5, "[]ModelInferRequest.InferInputTensor"),
        ("outputs", 6, "[]ModelInferRequest.InferRequestedOutputTensor"),
        ("raw_input_contents", 7, "[]bytes"),
    ],
    "ModelInferRequest.InferInputTensor": [
        ("name", 1, "string"),
        ("datatype", 2, "string"),
        ("shape", 3, "[]int64"),
        ("parameters", 4, "{}InferParameter"),
        ("contents", 5, "InferTensorContents"),
    ],
    "ModelInferRequest.InferRequestedOutputTensor": [("name", 1, "string"), ("parameters", 2, "{}InferParameter")],
    "ModelInferResponse": [
        ("model_name", 1, "string"),
        ("model_version", 2, "string"),
        ("id", 3, "string"),
        ("parameters", 4, "{}InferParameter"),
        ("outputs", 5, "[]ModelInferResponse.InferOutputTensor"),
        ("raw_output_contents", 6, "[]bytes"),
    ],
    "ModelInferResponse.InferOutputTensor": [
        ("name", 1, "string"),
        ("datatype", 2, "string"),
        ("shape", 3, "[]int64"),
        ("parameters", 4, "{}InferParameter"),
        ("contents", 5, "InferTensorContents"),
    ],
    "ModelStreamInferResponse": [("error_message", 1, "string"), ("infer_response", 2, "ModelInferResponse")],
    "ModelRepositoryParameter": [
        ("bool_param", 1, "|bool"),
        ("int64_param", 2, "|int64"),
        ("string_param", 3, "|string"),
        ("bytes_param", 4, "|bytes"),
    ],
    "RepositoryIndexRequest": [("repository_name", 1, "string"), ("ready", 2, "bool")],
    "RepositoryIndexResponse": [("models", 1, "[]RepositoryIndexResponse.ModelIndex")],
    "RepositoryIndexResponse.ModelIndex": [
        ("name", 1, "string"),
        ("version", 2, "string"),
        ("state", 3, "string"),
        ("reason", 4, "string"),
    ],
    "RepositoryModelLoadRequest": [
        ("repository_name", 1, "string"),
        ("model_name", 2, "string"),
        ("parameters", 3, "{}ModelRepositoryParameter"),
    ],
    "RepositoryModelLoadResponse": [],
    "RepositoryModelUnloadRequest": [
        ("repository_name", 1, "string"),
        ("model_name", 2, "string"),
        ("parameters", 3, "{}ModelRepositoryParameter"),
    ],
    "RepositoryModelUnloadResponse": [],
    "ModelConfigRequest": [("name", 1, "string"), ("version", 2, "string")],
    "ModelConfigResponse": [("config", 1, "ModelConfig")],
    "ModelStatisticsRequest": [("name", 1, "string"), ("version", 2, "string")],
    "ModelStatisticsResponse": [("model_stats", 1, "[]ModelStatistics")],
    "ModelStatistics": [
        ("name", 1, "string"),
        ("version", 2, "string"),
        ("last_inference", 3, "uint64"),
        ("inference_count", 4, "uint64"),
        ("execution_count", 5, "uint64"),
        ("inference_stats", 6, "InferStatistics"),
        ("batch_stats", 7, "[]InferBatchStatistics"),
        ("memory_usage", 8, "[]MemoryUsage"),
        ("response_stats", 9, "{}InferResponseStatistics"),
    ],
    "StatisticDuration": [("count", 1, "uint64"), ("ns", 2, "uint64")],
    "InferStatistics": [
        ("success", 1, "StatisticDuration"),
        ("fail", 2, "StatisticDuration"),
        ("queue", 3, "StatisticDuration"),
        ("compute_input", 4, "StatisticDuration"),
        ("compute_infer", 5, "StatisticDuration"),
        ("compute_output", 6, "StatisticDuration"),
        ("cache_hit", 7, "StatisticDuration"),
        ("cache_miss", 8, "StatisticDuration"),
    ],
    "InferResponseStatistics": [
        ("compute_infer", 1, "StatisticDuration"),
        ("compute_output", 2, "StatisticDuration"),
        ("success", 3, "StatisticDuration"),
        ("fail", 4, "StatisticDuration"),
        ("empty_response", 5, "StatisticDuration"),
        ("cancel", 6, "StatisticDuration"),
    ],
    "InferBatchStatistics": [
        ("batch_size", 1, "uint64"),
        ("compute_input", 2, "StatisticDuration"),
        ("compute_infer", 3, "StatisticDuration"),
        ("compute_output", 4, "StatisticDuration"),
    ],
    "MemoryUsage": [("type", 1, "string"), ("id", 2, "int64"), ("byte_size", 3, "uint64")],
}
# Of Triton's model_config.proto the fields that are said of a model here; what else it has would only ever be empty.
_CONFIG: dict[str, Fields] = {
    "ModelConfig": [
        ("name", 1, "string"),
        ("platform", 2, "string"),
        ("max_batch_size", 4, "int32"),
        ("input", 5, "[]ModelInput"),
        ("output", 6, "[]ModelOutput"),
        ("version_policy", 3, "ModelVersionPolicy"),
        ("instance_group", 7, "[]ModelInstanceGroup"),
        ("dynamic_batching", 11, "|ModelDynamicBatching"),
        ("backend", 17, "string"),
        ("model_transaction_policy", 19, "ModelTransactionPolicy"),
    ],
    "ModelVersionPolicy": [("specific", 3, "|ModelVersionPolicy.Specific")],
    "ModelVersionPolicy.Specific": [("versions", 1, "[]int64")],
    "ModelInstanceGroup": [
        ("name", 1, "string"),
        ("count", 2, "int32"),
        ("gpus", 3, "[]int32"),
        ("kind", 4, "InstanceKind"),
    ],
    "ModelDynamicBatching": [],
    "ModelTransactionPolicy": [("decoupled", 1, "bool")],
    "ModelInput": [("name", 1, "string"), ("data_type", 2, "DataType"), ("dims", 4, "[]int64")],
    "ModelOutput": [("name", 1, "string"), ("data_type", 2, "DataType"), ("dims", 3, "[]int64")],
}
_DATATYPES = (
    *("INVALID", "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *("FP16", "FP32", "FP64", "STRING", "BF16"),
)
_UNARY = (
    *("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer"),
    *("RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload", "ModelConfig", "ModelStatistics"),
)
INFERENCE = File(
    "modelwright/open_inference.proto",
    PACKAGE,
    {**_TABLE, **_CONFIG},
    {
        "GRPCInferenceService": {name: (f"{name}Request", f"{name}Response") for name in _UNARY}
        | {"ModelStreamInfer": ("stream ModelInferRequest", "stream ModelStreamInferResponse")}
    },
    enums={
        "DataType": tuple(f"TYPE_{name}" for name in _DATATYPES),
        "InstanceKind": ("KIND_AUTO", "KIND_GPU", "KIND_CPU", "KIND_MODEL"),
    },
    oneofs={"ModelConfig": "scheduling_choice", "ModelVersionPolicy": "policy_choice"},
)
HEALTH = File(
    "grpc/health/v1/health.proto",
    "grpc.health.v1",
    {
        "HealthCheckRequest": [("service", 1, "string")],
        "HealthCheckResponse": [("status", 1, "HealthCheckResponse.ServingStatus")],
    },
    {
        "Health": {
            "Check": ("HealthCheckRequest", "HealthCheckResponse"),
            "Watch": ("HealthCheckRequest", "stream HealthCheckResponse"),
        }
    },
    enums={"HealthCheckResponse.ServingStatus": ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")},
)


def _reflection(version: str) -> File:
    return File(
        f"grpc/reflection/{version}/reflection.proto",
        f"grpc.reflection.{version}",
        {
            "ServerReflectionRequest": [
                ("host", 1, "string"),
                ("file_by_filename", 3, "|string"),
                ("file_containing_symbol", 4, "|string"),
                ("file_containing_extension", 5, "|ExtensionRequest"),
                ("all_extension_numbers_of_type", 6, "|string"),
                ("list_services", 7, "|string"),
            ],
            "ExtensionRequest": [("containing_type", 1, "string"), ("extension_number", 2, "int32")],
            "ServerReflectionResponse": [
                ("valid_host", 1, "string"),
                ("original_request", 2, "ServerReflectionRequest"),
                ("file_descriptor_response", 4, "|FileDescriptorResponse"),
                ("all_extension_numbers_response", 5, "|ExtensionNumberResponse"),
                ("list_services_response", 6, "|ListServiceResponse"),
                ("error_response", 7, "|ErrorResponse"),
            ],
            "FileDescriptorResponse": [("file_descriptor_proto", 1, "[]bytes")],
            "ExtensionNumberResponse": [("base_type_name", 1, "string"), ("extension_number", 2, "[]int32")],
            "ListServiceResponse": [("service", 1, "[]ServiceResponse")],
            "ServiceResponse": [("name", 1, "string")],
            "ErrorResponse": [("error_code", 1, "int32"), ("error_message", 2, "string")],
        },
        {
            "ServerReflection": {
                "ServerReflectionInfo": ("stream ServerReflectionRequest", "stream ServerReflectionResponse")
            }
        },
        oneofs={"ServerReflectionRequest": "message_request", "ServerReflectionResponse": "message_response"},
    )


REFLECTIONS = (_reflection("v1"), _reflection("v1alpha"))
POOL = descriptor_pool.DescriptorPool()
for _file in (INFERENCE, HEALTH, *REFLECTIONS):
    POOL.Add(_file.described())


@cache
def message(name: str) -> Any:
    """The class of a message, by its name in the protocol (``ModelInferRequest``)."""
    return INFERENCE.message(POOL, name)
