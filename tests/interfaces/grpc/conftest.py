"""A real gateway process over both protocols, and a server in this process whose log and tokens a test can turn."""

import asyncio
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter

import grpc
import pytest
from tritonclient.grpc import service_pb2_grpc

from modelwright.adapters.stores.package_files import write_zip
from modelwright.core.access import Actor
from modelwright.core.signature import DATATYPES
from modelwright.core.version import Arm, Route, RoutingTable
from modelwright.interfaces.grpc.guard import Shared
from modelwright.interfaces.grpc.server import start
from modelwright.interfaces.http import tensors
from modelwright.serve.plane import Plane
from modelwright.serve.turn import Turn
from modelwright.testing.record import InMemorySink
from modelwright.testing.runner import FunctionRunners


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Serving:
    """A gateway process over both protocols."""

    def __init__(self, home, packages, *flags, wait=True):
        self.home, self.grpc = home, f"127.0.0.1:{free_port()}"
        command = [sys.executable, "-m", "modelwright.processes.gateway", "--home", home, "--http", "127.0.0.1:0"]
        command += ["--grpc", self.grpc, *flags]
        for package in packages:
            write_zip(package, path := home.parent / f"{package.name}.mw")
            command += ["--package", path]
        self.popen = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.token = self.http = ""
        for line in self.popen.stdout if wait else ():
            if line.startswith("token "):
                self.token = line.split()[1]
            if match := re.match(r"ready (http://\S+)", line):
                self.http = match[1]
                break
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(self.grpc))

    def stop(self, timeout=60):
        self.popen.send_signal(signal.SIGTERM)
        self.popen.communicate(timeout=timeout)
        return self.popen.returncode


@pytest.fixture(scope="session")
def serving(tmp_path_factory, sum_package, echo_package):
    every = echo_package("every", {datatype.lower(): (datatype, (-1, 1)) for datatype in DATATYPES})
    narrow = echo_package("narrow", {"x": ("INT8", (-1, 1))})
    gateway = Serving(tmp_path_factory.mktemp("grpc") / "home", [sum_package("total"), every, narrow], "--no-auth")
    yield gateway
    assert gateway.stop() == 0


@pytest.fixture(scope="session")
def gateway_process():
    """The class, for a test that wants a process of its own."""
    return Serving


class Inside:
    """A server on a loop of its own: ``sink.failing`` breaks its log, ``refused`` (an error) its tokens."""

    def __init__(self, *made, observer=None):
        self._observer = observer
        self.sink, self.refused, self.observed, self.errors = InMemorySink(), None, [], Counter()
        self._packages = {package.digest: package for package, _ in made}
        runners = FunctionRunners({package.digest: function for package, function in made})
        self.plane = Plane(self.sink, runners, offload=self._aside)
        routes = {
            package.name: Route(package.name, (Arm("1", package.digest, 1.0, "champion"),)) for package, _ in made
        }
        self.plane.apply(RoutingTable(1, routes), self._packages.__getitem__)
        self.address = f"127.0.0.1:{free_port()}"
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    def _aside(self, work, then):
        def back(future):
            then(future.result())
            self._turn.schedule()

        self._loop.run_in_executor(None, work).add_done_callback(back)

    def _admit(self, _authorization, _permission, _now, *, counted=False):
        if self.refused is not None:
            raise self.refused
        return Actor("tester", "admin")

    async def _main(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._turn = Turn(self.plane, self.sink, self._loop.call_soon)
        shared = Shared(
            turn=self._turn,
            admit=self._admit,
            ready=lambda *_: True,
            stopping=lambda: False,
            log_required=True,
            decode_raw=tensors.decode_binary,
            encode_raw=tensors.encode_binary,
            event_time=float,
            request_seconds=30.0,
            observe=lambda *seen: self.observed.append(seen),
            count_error=lambda code: self.errors.update([code]),
            observer=self._observer,
        )
        running = await start(shared, self.address, max_message_bytes=2**20, max_streams=3)
        self._started.set()
        await self._stop.wait()
        await running.stop(30)

    def __enter__(self):
        self._thread.start()
        assert self._started.wait(20)
        self.channel = grpc.insecure_channel(self.address)
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(self.channel)
        return self

    def stop(self):
        self._loop.call_soon_threadsafe(self._stop.set)

    def join(self, timeout):
        self._thread.join(timeout)
        assert not self._thread.is_alive()

    def __exit__(self, *_):
        self.channel.close()
        if self._thread.is_alive():
            self.stop()
        self.join(20)


@pytest.fixture
def inside():
    """``with inside((package, function), ...) as server``."""
    return Inside
