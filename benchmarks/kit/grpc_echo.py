"""The limits: gRPC servers that answer every ModelInfer with the same bytes and look at nothing in it.

    python benchmarks/kit/grpc_echo.py ours|threads|aio

`ours` is modelwright's transport without modelwright behind it; `threads` and `aio` are grpcio's own servers.
"""

import asyncio
import sys
import threading
from concurrent import futures

import grpc
import uvloop

from modelwright.interfaces.grpc.wire import Call, Transport

SERVICE, METHOD = "inference.GRPCInferenceService", "ModelInfer"
ANSWER = b"\x0a\x06linear\x12\x011" + b"\0" * 40
THREADS = 4  # the best of 1, 2, 4 and 16


def generic(answer: object) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(SERVICE, {METHOD: grpc.unary_unary_rpc_method_handler(answer)})


def say(port: int) -> None:
    print(f"ready 127.0.0.1:{port}", flush=True)


def threads() -> None:
    made = grpc.server(futures.ThreadPoolExecutor(THREADS))
    made.add_generic_rpc_handlers((generic(lambda _request, _context: ANSWER),))
    port = made.add_insecure_port("127.0.0.1:0")
    made.start()
    say(port)
    made.wait_for_termination()


async def aio() -> None:
    async def answer(_request: bytes, _context: object) -> bytes:
        return ANSWER

    made = grpc.aio.server()
    made.add_generic_rpc_handlers((generic(answer),))
    port = made.add_insecure_port("127.0.0.1:0")
    await made.start()
    say(port)
    await made.wait_for_termination()


async def ours() -> None:
    def answer(call: Call, _data: bytes) -> None:
        call.trailing = (("modelwright-prediction-id", "0" * 32), ("modelwright-version", "1"))
        call.finish(ANSWER)

    made = Transport({f"/{SERVICE}/{METHOD}".encode(): answer}, {}, ())
    port = made.bind("127.0.0.1:0")
    made.start()
    say(port)
    await asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)


if __name__ == "__main__":
    kind = sys.argv[1]
    if kind == "threads":
        threads()
    else:
        uvloop.run({"aio": aio, "ours": ours}[kind]())
