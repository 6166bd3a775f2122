"""NVIDIA's gRPC clients, unmodified: what the other files of this folder do not ask of them."""

import asyncio
import queue

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)


def rows(values=ROWS):
    given = triton.InferInput("X", list(values.shape), "FP32")
    given.set_data_from_numpy(values)
    return [given]


def test_the_asynchronous_client_works_unmodified(serving):
    async def calls():
        async with triton_aio.InferenceServerClient(serving.grpc) as client:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert await client.is_model_ready("total", "1")
            assert (await client.get_server_metadata()).name == "modelwright"
            assert list((await client.get_model_metadata("total")).inputs[0].shape) == [-1, 3]
            assert "total" in {model.name for model in (await client.get_model_repository_index()).models}
            asked = [client.infer("total", rows(ROWS + number), request_id=str(number)) for number in range(40)]
            return await asyncio.gather(*asked)

    for number, answer in enumerate(asyncio.run(calls())):
        assert answer.get_response().id == str(number)
        assert answer.as_numpy("total").tolist() == [[3.0 + 3 * number], [12.0 + 3 * number]]


def test_errors_come_as_the_asynchronous_clients_own_exception(serving):
    async def call(name, values):
        async with triton_aio.InferenceServerClient(serving.grpc) as client:
            with pytest.raises(InferenceServerException) as raised:
                await client.infer(name, rows(values))
            return raised.value.status(), raised.value.message()

    status, words = asyncio.run(call("total", ROWS[:, :2]))
    assert status == "StatusCode.INVALID_ARGUMENT"
    assert "shape [2, 2] where the model takes [-1, 3]" in words
    status, words = asyncio.run(call("nobody", ROWS))
    assert status == "StatusCode.NOT_FOUND"
    assert "not served here" in words


@pytest.mark.parametrize("packed", ["gzip", "deflate"])
def test_calls_may_be_compressed(serving, packed):
    with triton.InferenceServerClient(serving.grpc) as client:
        answer = client.infer("total", rows(np.ones((2000, 3), np.float32)), compression_algorithm=packed)
    assert answer.as_numpy("total").sum() == 6000.0


def test_the_synchronous_client_may_call_in_the_background(serving):
    came = queue.Queue()
    with triton.InferenceServerClient(serving.grpc) as client:
        for name in ("total", "nobody"):
            client.async_infer(name, rows(), callback=lambda result, error: came.put(error or result))
        answers = [came.get(timeout=20) for _ in range(2)]
    error, answer = sorted(answers, key=lambda one: isinstance(one, triton.InferResult))
    assert answer.as_numpy("total").tolist() == [[3.0], [12.0]]
    assert isinstance(error, InferenceServerException)
    assert "not served here" in error.message()


def test_spaces_around_a_token_are_no_part_of_it(tmp_path, sum_package, gateway_process):
    gateway = gateway_process(tmp_path / "home", [sum_package()])
    good = (f" Bearer {gateway.token}", f"Bearer {gateway.token} ")  # perf_analyzer -H "authorization: Bearer ..."
    try:
        with triton.InferenceServerClient(gateway.grpc) as client:
            for token in good:
                answer = client.infer("total", rows(), headers={"authorization": token})
                assert answer.as_numpy("total").tolist() == [[3.0], [12.0]]
            with pytest.raises(InferenceServerException, match="unknown"):
                client.infer("total", rows(), headers={"authorization": f" Bearer {gateway.token}x"})
    finally:
        assert gateway.stop() == 0
