"""The protocol's messages, built from a table: names, numbers and types are those of the Open Inference Protocol.

Source: ``specification/protocol/open_inference_grpc.proto`` of kserve/open-inference-protocol; parameters 4 and 5 as in
Triton's ``grpc_service.proto``. The messages live in a pool of their own, so that a client library in the same process
can bring its own copy.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

# message -> fields (name, number, type); a type with a capital is a message of this table; [] = repeated,
# {} = map<string, InferParameter>, | = one of the message's only oneof
_TABLE: dict[str, list[tuple[str, int, str]]] = {
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
        ("parameters", 4, "{}"),
        ("inputs", 5, "[]ModelInferRequest.InferInputTensor"),
        ("outputs", 6, "[]ModelInferRequest.InferRequestedOutputTensor"),
        ("raw_input_contents", 7, "[]bytes"),
    ],
    "ModelInferRequest.InferInputTensor": [
        ("name", 1, "string"),
        ("datatype", 2, "string"),
        ("shape", 3, "[]int64"),
        ("parameters", 4, "{}"),
        ("contents", 5, "InferTensorContents"),
    ],
    "ModelInferRequest.InferRequestedOutputTensor": [("name", 1, "string"), ("parameters", 2, "{}")],
    "ModelInferResponse": [
        ("model_name", 1, "string"),
        ("model_version", 2, "string"),
        ("id", 3, "string"),
        ("parameters", 4, "{}"),
        ("outputs", 5, "[]ModelInferResponse.InferOutputTensor"),
        ("raw_output_contents", 6, "[]bytes"),
    ],
    "ModelInferResponse.InferOutputTensor": [
        ("name", 1, "string"),
        ("datatype", 2, "string"),
        ("shape", 3, "[]int64"),
        ("parameters", 4, "{}"),
        ("contents", 5, "InferTensorContents"),
    ],
}
_FIELD = descriptor_pb2.FieldDescriptorProto


def _file() -> descriptor_pb2.FileDescriptorProto:
    """The table as a file descriptor."""
    described = descriptor_pb2.FileDescriptorProto(
        name="modelwright/open_inference.proto", package=PACKAGE, syntax="proto3"
    )
    made: dict[str, descriptor_pb2.DescriptorProto] = {}
    for path, fields in _TABLE.items():
        outer, _, name = path.rpartition(".")
        message = (made[outer].nested_type if outer else described.message_type).add(name=name)
        made[path] = message
        for field in fields:
            _add(message, path, *field)
    return described


def _add(message: descriptor_pb2.DescriptorProto, path: str, name: str, number: int, kind: str) -> None:
    field = message.field.add(name=name, number=number, label=_FIELD.LABEL_OPTIONAL)
    if kind == "{}":
        entry = message.nested_type.add(name="ParametersEntry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=_FIELD.LABEL_OPTIONAL, type=_FIELD.TYPE_STRING)
        value = entry.field.add(name="value", number=2, label=_FIELD.LABEL_OPTIONAL, type=_FIELD.TYPE_MESSAGE)
        value.type_name = f".{PACKAGE}.InferParameter"
        kind = f"[]{path}.ParametersEntry"
    if kind.startswith("[]"):
        field.label = _FIELD.LABEL_REPEATED
        kind = kind[2:]
    if kind.startswith("|"):
        if not message.oneof_decl:
            message.oneof_decl.add(name="parameter_choice")
        field.oneof_index = 0
        kind = kind[1:]
    if kind[0].isupper():
        field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    else:
        field.type = _FIELD.Type.Value(f"TYPE_{kind.upper()}")


_pool = descriptor_pool.DescriptorPool()
_pool.Add(_file())


def message(name: str) -> Any:
    """The class of a message, by its name in the protocol (``ModelInferRequest``)."""
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
