"""Health checking, reflection and the repository, over a real channel."""

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from modelwright.interfaces.grpc.messages import HEALTH, POOL, REFLECTIONS

CHECK = HEALTH.message(POOL, "HealthCheckRequest")
RESPONSE = HEALTH.message(POOL, "HealthCheckResponse")
SERVICE = "inference.GRPCInferenceService"


@pytest.fixture(scope="module")
def channel(serving):
    with grpc.insecure_channel(serving.grpc) as made:
        yield made


def health(channel, method="Check"):
    kind = channel.unary_unary if method == "Check" else channel.unary_stream
    return kind(
        f"/grpc.health.v1.Health/{method}",
        request_serializer=CHECK.SerializeToString,
        response_deserializer=RESPONSE.FromString,
    )


def reflect(channel, file, **asked):
    request, response = (file.message(POOL, f"ServerReflection{kind}") for kind in ("Request", "Response"))
    call = channel.stream_stream(
        f"/{file.package}.ServerReflection/ServerReflectionInfo",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    (answer,) = call(iter([request(**asked)]), timeout=30)
    return answer


@pytest.mark.parametrize("service", ["", SERVICE])
def test_health_says_that_a_ready_server_serves(channel, service):
    assert health(channel)(CHECK(service=service), timeout=30).status == 1
    watched = health(channel, "Watch")(CHECK(service=service), timeout=30)
    assert next(watched).status == 1
    watched.cancel()


def test_health_of_a_service_that_is_not_here_is_not_found(channel):
    with pytest.raises(grpc.RpcError) as caught:
        health(channel)(CHECK(service="nothing"), timeout=30)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    watched = health(channel, "Watch")(CHECK(service="nothing"), timeout=30)
    assert next(watched).status == 3  # SERVICE_UNKNOWN: the stream stays, as the protocol wants it
    watched.cancel()


def test_a_watcher_hears_that_the_server_stops_and_does_not_hold_it_up(tmp_path, sum_package, gateway_process):
    gateway = gateway_process(tmp_path / "home", [sum_package("total")])
    try:
        with grpc.insecure_channel(gateway.grpc) as channel:
            assert health(channel)(CHECK(), timeout=30).status == 1  # without a token
            watched = health(channel, "Watch")(CHECK())
            assert next(watched).status == 1
            assert gateway.stop(timeout=15) == 0  # half of drain_seconds
            assert [response.status for response in watched] == [2]
    finally:
        gateway.popen.kill()


def test_a_gateway_whose_registry_published_nothing_lives_and_does_not_serve(tmp_path, gateway_process):
    gateway = gateway_process(tmp_path / "home", [], "--id", "g1", wait=False)
    try:
        with grpc.insecure_channel(gateway.grpc) as channel:
            grpc.channel_ready_future(channel).result(timeout=30)
            assert health(channel)(CHECK(), timeout=30).status == 2
            assert gateway.stub.ServerLive(service_pb2.ServerLiveRequest()).live
            assert not gateway.stub.ServerReady(service_pb2.ServerReadyRequest()).ready
    finally:
        assert gateway.stop() == 0


@pytest.mark.parametrize("file", REFLECTIONS, ids=lambda file: file.package)
def test_a_client_without_our_files_can_call_by_what_reflection_tells(channel, file):
    listed = reflect(channel, file, list_services="").list_services_response.service
    assert {service.name for service in listed} == {
        SERVICE,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    pool = descriptor_pool.DescriptorPool()
    for service in listed:
        answer = reflect(channel, file, file_containing_symbol=service.name)
        (data,) = answer.file_descriptor_response.file_descriptor_proto
        described = descriptor_pb2.FileDescriptorProto.FromString(data)
        again = reflect(channel, file, file_by_filename=described.name)
        assert list(again.file_descriptor_response.file_descriptor_proto) == [data]
        pool.Add(described)
    method = pool.FindServiceByName(SERVICE).FindMethodByName("ServerReady")
    request, response = map(message_factory.GetMessageClass, (method.input_type, method.output_type))
    call = channel.unary_unary(
        f"/{SERVICE}/{method.name}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    assert call(request(), timeout=30).ready
    stream = pool.FindServiceByName(SERVICE).FindMethodByName("ModelStreamInfer")
    assert stream.client_streaming
    assert stream.server_streaming


@pytest.mark.parametrize("file", REFLECTIONS, ids=lambda file: file.package)
def test_reflection_says_what_it_does_not_know_or_do(channel, file):
    not_found, unimplemented = (
        status.value[0] for status in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED)
    )
    for asked, code in (
        ({"file_containing_symbol": "inference.Nothing"}, not_found),
        ({"file_by_filename": "nothing.proto"}, not_found),
        ({"all_extension_numbers_of_type": SERVICE}, unimplemented),
        ({"file_containing_extension": {"containing_type": SERVICE, "extension_number": 1}}, unimplemented),
        ({}, unimplemented),
    ):
        answer = reflect(channel, file, **asked)
        assert answer.error_response.error_code == code
        assert answer.error_response.error_message


@pytest.mark.parametrize("ready", [False, True])
def test_the_index_lists_every_loaded_version(serving, ready):
    index = serving.stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(ready=ready))
    assert sorted((model.name, model.version, model.state) for model in index.models) == [
        ("every", "1", "READY"),
        ("narrow", "1", "READY"),
        ("total", "1", "READY"),
    ]


def test_loading_and_unloading_are_refused_with_the_command_that_does_it(serving):
    with triton.InferenceServerClient(serving.grpc) as client:
        assert {model.name for model in client.get_model_repository_index().models} >= {"total"}
        for call in (client.load_model, client.unload_model):
            with pytest.raises(InferenceServerException, match="modelwright release") as caught:
                call("total")
            assert caught.value.status() == "StatusCode.FAILED_PRECONDITION"
        assert client.is_model_ready("total")


def test_there_is_one_repository_and_it_has_no_name(serving):
    named = service_pb2.RepositoryIndexRequest(repository_name="other")
    load = service_pb2.RepositoryModelLoadRequest(repository_name="other", model_name="total")
    for call, asked in ((serving.stub.RepositoryIndex, named), (serving.stub.RepositoryModelLoad, load)):
        with pytest.raises(grpc.RpcError) as caught:
            call(asked, timeout=20)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_parameters_of_all_five_types_and_those_that_triton_reserves_are_taken(serving):
    five = {"flag": True, "count": -(2**63), "text": "ünïcode", "ratio": 0.5}
    rows = triton.InferInput("X", [1, 3], "FP32")
    rows.set_data_from_numpy(np.array([[1, 2, 3]], dtype=np.float32))
    with triton.InferenceServerClient(serving.grpc) as client:
        answer = client.infer(
            "total",
            [rows],
            sequence_id=7,
            sequence_start=True,
            sequence_end=True,
            priority=1,
            timeout=10**6,
            parameters=five | {"event_time": 1362096000.5},
        )
    assert answer.as_numpy("total").tolist() == [[6.0]]
    tensor = service_pb2.ModelInferRequest.InferInputTensor(name="X", datatype="FP32", shape=[1, 3])
    tensor.contents.fp32_contents.extend([1.0, 2.0, 3.0])
    asked = service_pb2.ModelInferRequest(model_name="total", inputs=[tensor])
    for name in ("triton_enable_empty_final_response", "triton_anything", "binary_data_output"):
        asked.parameters[name].bool_param = True
    asked.parameters["headers"].string_param = "x"
    asked.parameters["timeout"].uint64_param = 2**64 - 1
    asked.parameters["event_time"].uint64_param = 1362096000
    assert list(serving.stub.ModelInfer(asked).outputs[0].contents.fp32_contents) == [6.0]
    asked.parameters["event_time"].bool_param = True
    with pytest.raises(grpc.RpcError) as caught:
        serving.stub.ModelInfer(asked)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
