"""A generator for a machine without h2load; it may be slower than what it measures. Prints requests per second.

python benchmarks/kit/grpc_client.py HOST:PORT FILE CONNECTIONS STREAMS SECONDS [TOKEN]
"""

import asyncio
import sys
import time
from pathlib import Path

import grpc.aio

PATH = "/inference.GRPCInferenceService/ModelInfer"


async def main(body: bytes, address: str, connections: str, streams: str, seconds: str, token: str = "") -> None:
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    apart = [("grpc.use_local_subchannel_pool", 1)]  # or all channels would share one connection
    channels = [grpc.aio.insecure_channel(address, apart) for _ in range(int(connections))]
    begin = time.perf_counter()

    async def ask(channel: grpc.aio.Channel) -> int:
        call, answered = channel.unary_unary(PATH), 0
        while time.perf_counter() - begin < float(seconds):
            await call(body, metadata=metadata)
            answered += 1
        return answered

    answered = await asyncio.gather(*(ask(channel) for channel in channels for _ in range(int(streams))))
    print(sum(answered) / (time.perf_counter() - begin))


if __name__ == "__main__":
    given, place, *others = sys.argv[1:]
    asyncio.run(main(Path(place).read_bytes()[5:], given, *others))  # without the frame
