"""A closed-loop HTTP load generator in Python, for machines without wrk; prints one line of JSON.

    python benchmarks/kit/generator.py 127.0.0.1:8080 FOLDER --connections 16 --seconds 3

``FOLDER`` holds complete HTTP/1.1 requests, one per file; every connection sends the next of them as soon as it has its
answer. It costs more of a core per request than wrk, so a fast server looks slower through it.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import httptools
import uvloop


class Connection(asyncio.Protocol):
    """One keep-alive connection: a request, its answer, the next request."""

    def __init__(self, requests: Iterator[bytes], latencies: list[float], until: float) -> None:
        self._requests, self._latencies, self._until = requests, latencies, until
        self._parser = httptools.HttpResponseParser(self)
        self._sent = 0.0
        self.errors = 0
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin."""
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Parse."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Count the answer and go on."""
        now = time.perf_counter()
        if self._parser.get_status_code() == 200:
            self._latencies.append(now - self._sent)
        else:
            self.errors += 1
        if now < self._until:
            self._parser = httptools.HttpResponseParser(self)
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Ended by us, or a failure of the server."""
        self.errors += time.perf_counter() < self._until
        self.closed.set_result(error)

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(next(self._requests))


async def load(address: str, requests: list[bytes], connections: int, seconds: float) -> dict[str, float]:
    """Rate, p50 and p99 in milliseconds, and errors."""
    host, _, port = address.rpartition(":")
    loop, latencies, turn = asyncio.get_running_loop(), [], cycle(requests)
    start = time.perf_counter()
    opened = [
        (await loop.create_connection(lambda: Connection(turn, latencies, start + seconds), host, int(port)))[1]
        for _ in range(connections)
    ]
    _, late = await asyncio.wait([connection.closed for connection in opened], timeout=seconds + 10)
    spent = time.perf_counter() - start
    cuts = statistics.quantiles(latencies, n=100) if len(latencies) > 1 else [0.0] * 99
    errors = sum(connection.errors for connection in opened) + len(late)
    return {"rate": len(latencies) / spent, "p50": cuts[49] * 1000, "p99": cuts[98] * 1000, "errors": errors}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3)
    given = parser.parse_args()
    requests = [path.read_bytes() for path in sorted(given.folder.iterdir())]
    print(json.dumps(uvloop.run(load(given.address, requests, given.connections, given.seconds))))


if __name__ == "__main__":
    main()
