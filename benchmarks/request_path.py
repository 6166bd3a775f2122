"""Microseconds one single-row JSON request spends in this process, from its bytes to its answer's bytes, log included.

    python benchmarks/request_path.py

No sockets: 64 connections are fed in turn, then one turn of the event loop writes the log and the answers. Beside it
stand what cannot be had for less: the HTTP parser alone and ONNX Runtime alone. Pinned to one core.
"""

import asyncio
import gc
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httptools
import msgspec
import numpy as np
import uvloop

from kit import models
from kit.figures import machine, ratio, row, two_cores
from modelwright import settings
from modelwright.adapters.runners.onnx import OnnxRunners
from modelwright.core.package import Package
from modelwright.core.signature import DATATYPES
from modelwright.core.version import Arm, Route, RoutingTable, TokenGrant
from modelwright.interfaces.http.connection import Connection
from modelwright.interfaces.http.server import DataPlane
from modelwright.processes.gateway import GC_THRESHOLDS
from modelwright.record.writer import SegmentWriter
from modelwright.serve.plane import Plane
from modelwright.serve.turn import Turn

ROUNDS, TURNS, CONNECTIONS = 15, 8, 64
TOKEN = "mw_" + "a" * 43


class Sent:
    """A transport that keeps the last answer."""

    last = b""

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.last = data

    def is_closing(self) -> bool:
        """Never."""
        return False

    def get_extra_info(self, _name: str) -> None:
        """Nothing."""


class Callbacks:
    """What a parser must be given to parse a request."""

    def on_url(self, part: bytes) -> None:
        """Nothing."""

    def on_header(self, name: bytes, value: bytes) -> None:
        """Nothing."""

    def on_body(self, part: bytes) -> None:
        """Nothing."""


def request(package: Package) -> bytes:
    body = models.one_row(package)
    head = f"POST /v2/models/{package.name}/infer HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAuthorization: Bearer {TOKEN}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def feeds(package: Package) -> dict[str, np.ndarray]:
    tensors = msgspec.json.decode(models.one_row(package))["inputs"]
    return {t["name"]: np.array(t["data"], DATATYPES[t["datatype"]]).reshape(t["shape"]) for t in tensors}


def each(work: Callable[[], object]) -> float:
    """Microseconds of one call."""
    times = TURNS * CONNECTIONS
    began = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - began) / times * 1e6


async def whole_path(connections: list[Connection], data: bytes) -> float:
    """Microseconds of one request."""
    began = time.perf_counter()
    for _ in range(TURNS):
        for connection in connections:
            connection.data_received(data)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    taken = time.perf_counter() - began
    if b" 200 OK" not in connections[0].transport.last:
        raise SystemExit(connections[0].transport.last)
    return taken / TURNS / CONNECTIONS * 1e6


async def compare(packages: list[Package], home: Path) -> None:
    sink = SegmentWriter(home / "log", writer_id="bench")
    plane = Plane(sink, OnnxRunners())
    turn = Turn(plane, sink, lambda work: asyncio.get_running_loop().call_soon(work))
    server = DataPlane(turn, settings.load({"home": home}, {}), {})
    grant = TokenGrant(hashlib.sha256(TOKEN.encode()).hexdigest(), "bench", "admin")
    routes = {p.name: Route(p.name, (Arm("1", p.digest, 1.0, "champion"),)) for p in packages}
    server.commit(plane.prepare(RoutingTable(1, routes, (grant,)), {p.digest: p for p in packages}.__getitem__))
    connections = [server.connection() for _ in range(CONNECTIONS)]
    for connection in connections:
        connection.connection_made(Sent())
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    for package in packages:
        data, tensors = request(package), feeds(package)
        run, parser = plane.routes[package.name].champion.loaded.run, httptools.HttpRequestParser(Callbacks())
        figures: dict[str, list[float]] = {"parser": [], "model": [], "whole": []}
        for _ in range(ROUNDS):
            figures["parser"].append(each(lambda parser=parser, data=data: parser.feed_data(data)))
            figures["model"].append(each(lambda run=run, tensors=tensors: run(tensors)))
            figures["whole"].append(await whole_path(connections, data))
        row(f"{package.name}: the HTTP parser alone", figures["parser"], "us")
        row(f"{package.name}: ONNX Runtime alone", figures["model"], "us")
        limit = [parser + model for parser, model in zip(figures["parser"], figures["model"], strict=True)]
        row(f"{package.name}: the whole request", figures["whole"], "us", note=f"{ratio(figures['whole'], limit)} both")
    sink.close()


def main() -> None:
    machine()
    os.sched_setaffinity(0, {two_cores()[0]})
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(compare([models.linear(), models.columns()], Path(folder)))


if __name__ == "__main__":
    main()
