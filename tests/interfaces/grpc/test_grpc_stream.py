"""ModelStreamInfer, with the real client."""

import asyncio
import queue

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.grpc import service_pb2

from modelwright.core.signature import Signature, TensorSpec
from modelwright.record.log import DuckLog


def rows(values, name="X"):
    tensor = triton.InferInput(name, [1, 3], "FP32")
    tensor.set_data_from_numpy(np.array([values], dtype=np.float32))
    return [tensor]


def raw_request(identity, model="total", **more):
    tensor = service_pb2.ModelInferRequest.InferInputTensor(name="X", datatype="FP32", shape=[1, 3])
    tensor.contents.fp32_contents.extend([1.0, 2.0, 3.0])
    return service_pb2.ModelInferRequest(model_name=model, id=identity, inputs=[tensor], **more)


def test_a_failing_request_is_an_error_message_and_the_stream_goes_on(serving):
    got = queue.Queue()
    with triton.InferenceServerClient(serving.grpc) as client:
        client.start_stream(lambda result, error: got.put((result, error)))
        client.async_stream_infer("total", rows([1, 2, 3]), request_id="first")
        client.async_stream_infer("nothing", rows([1, 2, 3]), request_id="second")
        client.async_stream_infer("total", rows([1, 2, 3], "Y"), request_id="third")
        client.async_stream_infer("total", rows([4, 5, 6]), request_id="fourth", enable_empty_final_response=True)
        answers = [got.get(timeout=30) for _ in range(4)]
        client.stop_stream()
    assert got.empty()
    (first, _), (_, unknown), (_, unfit), (last, _) = answers
    assert (first.as_numpy("total").tolist(), first.get_response().id) == ([[6.0]], "first")
    assert "triton_final_response" not in first.get_response().parameters
    assert "'nothing' is not served here" in unknown.message()
    assert "'Y'" in unfit.message()
    assert (last.as_numpy("total").tolist(), last.get_response().id) == ([[15.0]], "fourth")
    assert last.get_response().parameters["triton_final_response"].bool_param is True


def test_the_asynchronous_client_streams_too(serving):
    async def ask():
        async def requests():
            for number in range(50):
                yield {"model_name": "total", "inputs": rows([number, 0, 0]), "request_id": f"aio-{number}"}

        got = []
        async with triton_aio.InferenceServerClient(serving.grpc) as client:
            async for result, error in client.stream_infer(requests()):
                assert error is None
                got.append((result.get_response().id, result.as_numpy("total").item()))
        return got

    assert asyncio.run(ask()) == [(f"aio-{number}", float(number)) for number in range(50)]


def test_each_streamed_answer_is_on_record_under_the_id_that_it_names(serving):
    asked = [raw_request(""), raw_request("streamed-mine"), raw_request("streamed-wrong", model="nothing")]
    answers = list(serving.stub.ModelStreamInfer(iter(asked)))
    ours, mine, wrong = (answer.infer_response for answer in answers)
    assert [answer.id for answer in (ours, mine, wrong)] == ["", "streamed-mine", "streamed-wrong"]
    assert wrong.parameters["modelwright-error"].string_param == "serve.unknown-model"
    named = [answer.parameters["modelwright-prediction-id"].string_param for answer in (ours, mine)]
    assert named[1] == "streamed-mine"
    signature = Signature((TensorSpec("X", "FP32", (-1, 3)),), (TensorSpec("total", "FP32", (-1, 1)),))
    recorded = set(DuckLog(serving.home / "log").joined("total", signature=signature)["prediction_id"])
    assert set(named) <= recorded


def test_a_stranger_opens_no_stream_and_a_stopping_server_waits_for_no_idle_one(tmp_path, sum_package, gateway_process):
    gateway = gateway_process(tmp_path / "home", [sum_package("total")])
    sent = queue.Queue()
    try:
        with pytest.raises(grpc.RpcError) as refused:
            next(gateway.stub.ModelStreamInfer(iter(sent.get, None)))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        sent.put(None)
        kept = queue.Queue()
        answers = gateway.stub.ModelStreamInfer(
            iter(kept.get, None), metadata=(("authorization", f"Bearer {gateway.token}"),)
        )
        kept.put(raw_request("one"))
        assert next(answers).infer_response.id == "one"
    finally:
        assert gateway.stop(timeout=15) == 0  # half of drain_seconds
    with pytest.raises(grpc.RpcError) as stopped:
        next(answers)
    assert stopped.value.code() is grpc.StatusCode.UNAVAILABLE
    assert dict(stopped.value.trailing_metadata())["modelwright-error"] == "grpc.stopping"
    kept.put(None)
