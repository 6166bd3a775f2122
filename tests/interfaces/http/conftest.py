"""A data plane on a thread, on a port of its own, and a small client."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import json
import socket
import struct
import threading
import time
from types import SimpleNamespace

import pytest
import uvloop

from modelwright import settings
from modelwright.adapters.runners.onnx import OnnxRunners
from modelwright.core.signature import Feature
from modelwright.core.version import Arm, Route, RoutingTable, TokenGrant
from modelwright.interfaces.http.server import DataPlane
from modelwright.serve.plane import Plane
from modelwright.serve.turn import Turn
from modelwright.testing.record import InMemorySink

TOKENS = {
    "mw_admin": TokenGrant(hashlib.sha256(b"mw_admin").hexdigest(), "ada", "admin"),
    "mw_viewer": TokenGrant(hashlib.sha256(b"mw_viewer").hexdigest(), "vic", "viewer"),
    "mw_predictor": TokenGrant(hashlib.sha256(b"mw_predictor").hexdigest(), "pat", "predictor"),
    "mw_expired": TokenGrant(hashlib.sha256(b"mw_expired").hexdigest(), "exe", "admin", 1.0),
}


class Served:
    """One data plane under test."""

    def __init__(
        self,
        packages,
        *,
        authenticate=False,
        loader=None,
        table=None,
        sink=None,
        aside=False,
        observer=None,
        home,
        **limits,
    ):
        self.sink = sink or InMemorySink()
        self.plane = Plane(self.sink, loader or OnnxRunners(), **({"offload": self._aside} if aside else {}))
        turn = Turn(self.plane, self.sink, lambda work: asyncio.get_running_loop().call_soon(work))
        self.server = DataPlane(turn, settings.load({"home": home, **limits}, {}), {}, observer=observer)
        self._packages = {package.digest: package for package in packages}
        self._table = table or RoutingTable(
            1,
            {p.name: Route(p.name, (Arm("1", p.digest, 1.0, "champion"),)) for p in packages},
            tuple(TOKENS.values()),
            authenticate=authenticate,
        )
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._up, self._stop = threading.Event(), None
        self._thread = threading.Thread(target=self._run)

    def start(self, *, loaded=True):
        self._loaded = loaded
        self._thread.start()
        self._up.wait()
        return self

    def _run(self):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._main())

    def _aside(self, work, then):
        """Long runs in another thread, as a gateway makes them."""

        def back(future):
            then(future.result())
            self.server.turn.schedule()

        asyncio.get_running_loop().run_in_executor(None, work).add_done_callback(back)

    async def _main(self):
        self.loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        if self._loaded:
            self.server.commit(self.plane.prepare(self._table, self._packages.__getitem__))
        await self.server.start(self._listener)
        self._up.set()
        await self._stop.wait()
        await self.server.drain(1.0)

    def load(self):
        """Put the table in force, in the server's own thread."""
        prepared = self.plane.prepare(self._table, self._packages.__getitem__)
        done = threading.Event()
        self.loop.call_soon_threadsafe(lambda: (self.server.commit(prepared), done.set()))
        done.wait()

    def stop(self):
        if self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # closed meanwhile: the server was about to end by itself
                self.loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def request(self, method, path, body=None, headers=None, token=None):
        """Status, headers in lower case, body (decoded when it is JSON)."""
        headers = dict(headers or {})
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if isinstance(body, dict | list):
            body = json.dumps(body)
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            client.request(method, path, body, headers)
            answer = client.getresponse()
            content = answer.read()
        finally:
            client.close()
        names = {name.lower(): value for name, value in answer.getheaders()}
        if names.get("content-type") == "application/json" and content and "content-encoding" not in names:
            content = json.loads(content)
        return SimpleNamespace(status=answer.status, headers=names, body=content)

    def infer(self, model, *inputs, headers=None, version="", **more):
        """POST an inference request; an input is (name, datatype, shape, data)."""
        path = f"/v2/models/{model}{f'/versions/{version}' if version else ''}/infer"
        tensors = [
            {"name": name, "datatype": datatype, "shape": shape, "data": data} for name, datatype, shape, data in inputs
        ]
        return self.request("POST", path, {"inputs": tensors, **more}, headers)

    def rows(self, model, rows):
        """The V2 answer for rows of FP32 values, as one list of values."""
        answer = self.infer(model, ("X", "FP32", [len(rows), len(rows[0])], rows))
        return answer.body["outputs"][0]["data"]

    def binary(self, model, head, raw, length=None):
        """POST a binary request; its answer as (JSON, rest of the body) or the error's reply."""
        text = json.dumps(head).encode() if head is not None else b""
        headers = {"Inference-Header-Content-Length": str(len(text) if length is None else length)}
        answer = self.request("POST", f"/v2/models/{model}/infer", text + raw, headers)
        if answer.status == 200 and "inference-header-content-length" in answer.headers:
            size = int(answer.headers["inference-header-content-length"])
            answer.json, answer.raw = json.loads(answer.body[:size]), answer.body[size:]
        return answer

    def connect(self):
        """A raw connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def raw(self, data, *, eof=False):
        """Send bytes and read until the server closes."""
        with self.connect() as client:
            client.sendall(data)
            if eof:
                client.shutdown(socket.SHUT_WR)
            return read_all(client)

    def records(self, count, kind=object):
        """The first ``count`` records, once they are there."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            found = [record for record in self.sink.records if isinstance(record, kind)]
            if len(found) >= count:
                return found
            time.sleep(0.005)
        raise AssertionError(f"{len(self.sink.records)} records where {count} were expected")


def read_all(client):
    """Everything until the other side closes (or resets)."""
    parts = []
    try:
        while part := client.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


@pytest.fixture(scope="session")
def bytes_elements():
    """BYTES elements as the binary extension lays them out."""
    return lambda *elements: b"".join(struct.pack("<I", len(element)) + element for element in elements)


@pytest.fixture(scope="session")
def iris_package(echo_package):
    """ "iris": three scores for three named classes come back as "X_out"."""
    return echo_package("iris", {"X": ("FP32", (-1, 3))}, classes=("setosa", "versicolor", "virginica"))


@pytest.fixture(scope="session")
def people_package(echo_package):
    """A column of each kind comes back as it was; a missing city becomes "nowhere"."""
    kinds = {"age": "FP64", "visits": "INT64", "member": "BOOL", "city": "BYTES"}
    return echo_package(
        "people",
        {name: (kind, (-1, 1)) for name, kind in kinds.items()},
        (Feature("age", "number"), Feature("city", "category", nullable=True, null_as="nowhere")),
    )


@pytest.fixture
def serve(tmp_path):
    """``serve(package, ..., **limits)``: a started server, stopped at the end of the test."""
    started = []

    def start(*packages, loaded=True, **options):
        server = Served(packages, home=tmp_path, **options)
        started.append(server)
        return server.start(loaded=loaded)

    yield start
    for server in started:
        server.stop()
