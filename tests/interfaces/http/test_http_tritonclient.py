"""NVIDIA's HTTP clients, unmodified; the synchronous one also meets a whole process in tests/processes."""

import asyncio

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)
SUMS = [[3.0], [12.0]]
WAYS = [(True, True, None), (True, False, "gzip"), (False, True, "deflate"), (False, False, "gzip")]


@pytest.fixture
def address(serve, sum_package, echo_package):
    return f"127.0.0.1:{serve(sum_package(), echo_package('echo', {'text': ('BYTES', (-1, 1))})).port}"


def rows(values=ROWS, *, binary=True):
    given = triton.InferInput("X", list(values.shape), "FP32")
    given.set_data_from_numpy(values, binary_data=binary)
    return [given]


def text(words):
    given = triton.InferInput("text", [len(words), 1], "BYTES")
    given.set_data_from_numpy(np.array([[word] for word in words], dtype=object))
    return [given]


def test_the_asynchronous_client_sees_health_and_metadata(address):
    async def calls():
        async with triton_aio.InferenceServerClient(address) as client:
            ready = [await client.is_model_ready(name) for name in ("total", "nobody")]
            models = {row["name"] for row in await client.get_model_repository_index()}
            metadata = await client.get_model_metadata("total", model_version="1")
            assert await client.is_server_live()
            assert await client.is_server_ready()
            return ready, models, metadata["inputs"], (await client.get_server_metadata())["name"]

    tensor = {"name": "X", "datatype": "FP32", "shape": [-1, 3]}
    assert asyncio.run(calls()) == ([True, False], {"total", "echo"}, [tensor], "modelwright")


@pytest.mark.parametrize(("binary_in", "binary_out", "packed"), WAYS)
def test_the_asynchronous_client_sends_and_reads_both_forms_compressed_or_not(address, binary_in, binary_out, packed):
    async def call():
        async with triton_aio.InferenceServerClient(address) as client:
            return await client.infer(
                "total",
                rows(binary=binary_in),
                model_version="1",
                outputs=[triton.InferRequestedOutput("total", binary_data=binary_out)],
                request_id="r1",
                request_compression_algorithm=packed,
                response_compression_algorithm=packed,
            )

    answer = asyncio.run(call())
    assert answer.as_numpy("total").tolist() == SUMS
    assert answer.get_response()["id"] == "r1"


def test_answers_of_many_calls_at_once_belong_to_their_calls(address):
    async def calls():
        async with triton_aio.InferenceServerClient(address, conn_limit=8) as client:
            asked = [client.infer("total", rows(ROWS + number)) for number in range(40)]
            long = client.infer("total", rows(np.ones((2000, 3), np.float32)), response_compression_algorithm="gzip")
            return await asyncio.gather(*asked, long, client.infer("echo", text(["grün", ""])))

    *sums, long, echo = asyncio.run(calls())
    assert [answer.as_numpy("total").tolist() for answer in sums] == (
        [[[3.0 + 3 * number], [12.0 + 3 * number]] for number in range(40)]
    )
    assert long.as_numpy("total").sum() == 6000.0
    assert echo.as_numpy("text_out").tolist() == [["grün".encode()], [b""]]


def test_errors_come_as_the_asynchronous_clients_own_exception(address):
    async def call(name, given, words):
        async with triton_aio.InferenceServerClient(address) as client:
            with pytest.raises(InferenceServerException, match=words) as raised:
                await client.infer(name, given)
            return raised.value.status()

    assert asyncio.run(call("total", rows(ROWS[:, :2]), r"shape \[2, 2\] where the model takes \[-1, 3\]")) == "400"
    assert asyncio.run(call("nobody", rows(), "not served here")) == "404"


def test_the_synchronous_client_may_call_in_the_background(address):
    with triton.InferenceServerClient(address, concurrency=4) as client:
        asked = [client.async_infer("total", rows(ROWS + number)) for number in range(8)]
        firsts = [one.get_result().as_numpy("total")[0, 0] for one in asked]
        assert firsts == [3.0 + 3 * number for number in range(8)]
        with pytest.raises(InferenceServerException, match="not served here"):
            client.async_infer("nobody", rows()).get_result()


def test_the_asyncio_client_reads_a_long_answer_in_a_coding_that_it_asked_for(serve, sum_package):
    rows = np.ones((5000, 3), dtype=np.float32)

    async def story(address):
        async with triton_aio.InferenceServerClient(address) as client:
            asked = triton.InferInput("X", list(rows.shape), "FP32")
            asked.set_data_from_numpy(rows)
            answer = await client.infer("total", [asked])
            return answer.as_numpy("total")

    np.testing.assert_array_equal(asyncio.run(story(f"127.0.0.1:{serve(sum_package()).port}")).reshape(-1), 3.0)
