"""Calls a gateway with KServe's inference clients and prints what they gave: ``calls.py HTTP GRPC``."""

import asyncio
import json
import logging
import sys

import grpc
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)
GZIP = ("grpc.default_compression_algorithm", 2)


def request(*, name="total", rows=ROWS, binary=True, **more):
    """An inference request for the sums."""
    tensor = InferInput("X", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows, binary_data=binary)
    return InferRequest(name, [tensor], request_id="r1", **more)


def text(words, *, binary):
    """An inference request for the echo."""
    tensor = InferInput("text", [len(words), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[word.encode()] for word in words], dtype=object), binary_data=binary)
    return InferRequest("echo", [tensor])


async def refused(call):
    """The type of the client's exception, and its words."""
    try:
        return ["answered", repr(await call)]
    except httpx.HTTPStatusError as error:
        return [type(error).__name__, error.response.status_code, str(error)]
    except grpc.aio.AioRpcError as error:
        return [type(error).__name__, error.code().name, error.details()]


def summed(answer):
    """What a client made of an answer."""
    return [answer.model_name, answer.id, answer.outputs[0].shape, answer.outputs[0].as_numpy().tolist()]


async def version_2(url):
    """REST, Open Inference Protocol."""
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        tall = np.ones((2000, 3), np.float32)
        sums, headers, kinds = {}, {}, {}
        for binary_in in (True, False):
            for binary_out in (True, False):
                asked = [RequestedOutput("total", {"binary_data": binary_out})]
                given = request(binary=binary_in, request_outputs=asked)
                sums[f"{binary_in} {binary_out}"] = summed(
                    await client.infer(url, given, "total", response_headers=headers)
                )
                kinds[str(binary_out)] = headers["content-type"]
        every = request(parameters={"binary_data_output": True})
        sums["every output binary"] = summed(await client.infer(url, every, "total"))
        long = await client.infer(url, request(rows=tall), "total", response_headers=headers)
        echoes = [await client.infer(url, text(["grün", "x"], binary=yes), "echo") for yes in (True, False)]
        return {
            "health": [
                await client.is_server_live(url),
                await client.is_server_ready(url),
                await client.is_model_ready(url, "total"),
                await client.is_model_ready(url, "nobody"),
            ],
            "sums": sums,
            "kinds": kinds,
            "long": [sum(long.outputs[0].data), headers["content-encoding"]],
            "echoes": [echo.outputs[0].data for echo in echoes],
            "errors": [
                await refused(client.infer(url, request(rows=ROWS[:, :2]), "total")),
                await refused(client.infer(url, request(name="nobody"), "nobody")),
            ],
        }


async def version_1(url, rows):
    """REST, V1."""
    async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
        return {
            "health": [await client.is_server_live(url), await client.is_model_ready(url, "iris")],
            "iris": await client.infer(url, {"instances": rows}, "iris"),
            "total": await client.infer(url, {"instances": ROWS.tolist()}, "total"),
            "errors": [
                await refused(client.infer(url, {"instances": [[1, 2]]}, "total")),
                await refused(client.infer(url, {"instances": [[1, 2]]}, "nobody")),
                await refused(client.is_model_ready(url, "nobody")),
            ],
        }


async def over_grpc(address):
    """The gRPC client."""
    async with InferenceGRPCClient(address) as client, InferenceGRPCClient(address, channel_args=[GZIP]) as packed:
        typed = InferRequest("total", [InferInput("X", [2, 3], "FP32", ROWS.flatten().tolist())], request_id="r1")
        echo = await client.infer(text(["grün", "x"], binary=True))
        return {
            "health": [
                await client.is_server_live(),
                await client.is_server_ready(),
                await client.is_model_ready("total"),
            ],
            "sums": [summed(await each.infer(asked)) for each in (client, packed) for asked in (request(), typed)],
            "echo": [bytes(word).decode() for word in echo.outputs[0].as_numpy().flatten()],
            "errors": [
                await refused(client.infer(request(rows=ROWS[:, :2]))),
                await refused(client.infer(request(name="nobody"))),
                await refused(client.is_model_ready("nobody")),
            ],
        }


async def main(http, address, rows):
    """Everything."""
    url = f"http://{http}"
    return {"v2": await version_2(url), "v1": await version_1(url, rows), "grpc": await over_grpc(address)}


logging.disable(logging.CRITICAL)  # it logs each refusal
print(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])))))
