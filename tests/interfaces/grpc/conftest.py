"""A real gateway process over both protocols."""

import re
import signal
import socket
import subprocess
import sys

import grpc
import pytest
from tritonclient.grpc import service_pb2_grpc

from modelwright.adapters.stores.package_files import write_zip
from modelwright.core.signature import DATATYPES


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
