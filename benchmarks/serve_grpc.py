"""Single-row ModelInfer calls per second of one gateway on one core: validation, log, metrics and authentication on.

    python benchmarks/serve_grpc.py

Needs at least two cores: server and generator are pinned to one each. The generator is h2load; where that is missing a
Python client takes its place, and may be the limit. The limits are echoes of fixed bytes in the same rounds: over
modelwright's transport, and over the two servers that grpcio brings. That every call was answered with a prediction is
read from ModelStatistics afterwards: h2load does not see gRPC's status.
"""

import argparse
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import grpc
import numpy as np

from kit import models
from kit.figures import machine, ratio, rounds_of, row, two_cores
from modelwright.adapters.stores.package_files import write_zip
from modelwright.interfaces.grpc.messages import message
from serve_single_row import server

KIT = Path(__file__).parent / "kit"
SERVICE = "/inference.GRPCInferenceService/"
SHAPES = ((16, 8), (16, 1), (1, 1))  # connections, streams of each


class Load:
    """A generator against one server, with one body."""

    def __init__(self, address: str, body: Path, shape: tuple[int, int], seconds: int, core: int, token: str) -> None:
        connections, streams = map(str, shape)
        if shutil.which("h2load"):
            load = ["h2load", "-t1", f"-c{connections}", f"-m{streams}", f"-D{seconds}", "--warm-up-time=1", "-d", body]
            load += ["-H", "te: trailers", "-H", "content-type: application/grpc"]
            load += ["-H", f"authorization: Bearer {token}", f"http://{address}{SERVICE}ModelInfer"]
        else:
            load = [sys.executable, KIT / "grpc_client.py", address, body, connections, streams, seconds, token]
        self._command = [str(part) for part in ("taskset", "-c", core, *load)]
        self.failed = 0
        self.done = 0

    def measure(self) -> float:
        """Calls per second."""
        said = subprocess.run(self._command, capture_output=True, text=True, check=True).stdout
        if "h2load" not in self._command:
            return float(said)
        done, succeeded = map(int, re.search(r"(\d+) done, (\d+) succeeded", said).groups())
        self.done += done
        self.failed += done - succeeded
        return float(re.search(r"([\d.]+) req/s", said)[1])


def bodies(folder: Path) -> dict[str, Path]:
    """A framed request for one row, with raw and with typed contents."""
    values = (np.arange(models.WIDTH) * 0.37 - 3).astype("<f4")
    tensor = message("ModelInferRequest.InferInputTensor")(name="X", datatype="FP32", shape=[1, models.WIDTH])
    raw = message("ModelInferRequest")(model_name="linear", inputs=[tensor], raw_input_contents=[values.tobytes()])
    tensor.contents.fp32_contents.extend(values.tolist())
    typed = message("ModelInferRequest")(model_name="linear", inputs=[tensor])
    made = {}
    for name, request in (("raw", raw), ("typed", typed)):
        data = request.SerializeToString()
        made[name] = folder / f"{name}.bin"
        made[name].write_bytes(b"\0" + struct.pack(">I", len(data)) + data)
    return made


def answered(address: str, token: str) -> tuple[int, int]:
    """Requests that the server says it answered with a prediction, and those that failed."""
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(f"{SERVICE}ModelStatistics")
        told = call(b"", metadata=(("authorization", f"Bearer {token}"),), timeout=30)
    stats = message("ModelStatisticsResponse").FromString(told).model_stats[0].inference_stats
    return stats.success.count, stats.fail.count


def compare(folder: Path, rounds: int, seconds: int) -> None:
    core, generator = two_cores()
    write_zip(models.linear(), folder / "linear.mw")
    files = bodies(folder)
    gateway = [sys.executable, "-m", "modelwright.processes.gateway", "--home", folder / "data"]
    address = f"127.0.0.1:{free_port()}"
    gateway += ["--http", "127.0.0.1:0", "--grpc", address, "--package", folder / "linear.mw"]
    echo = [sys.executable, KIT / "grpc_echo.py"]
    with (
        server(gateway, core) as said,
        server([*echo, "ours"], core) as ours,
        server([*echo, "threads"], core) as threads,
        server([*echo, "aio"], core) as aio,
    ):
        token = said[1]
        echoes = {"echo, this transport": ours[1], "echo, grpc.server": threads[1], "echo, grpc.aio": aio[1]}
        loads = {}
        for shape in SHAPES:
            for name, body in files.items():
                loads[f"linear {name}, {shape[0]} x {shape[1]}"] = Load(address, body, shape, seconds, generator, token)
            for name, limit in echoes.items():
                loads[f"{name}, {shape[0]} x {shape[1]}"] = Load(limit, files["raw"], shape, seconds, generator, token)
        figures = rounds_of(rounds, {label: load.measure for label, load in loads.items()})
        succeeded, failed = answered(address, token)
    print("  connections x streams of each")
    for label, rates in figures.items():
        count = label.partition(", ")[2] if label.startswith("linear") else label.rpartition(", ")[2]
        note = f"{ratio(rates, figures[f'echo, this transport, {count}'])} the limit"
        row(label, rates, "calls/s", note=note + (" WITH FAILURES" if loads[label].failed else ""))
    asked = sum(load.done for label, load in loads.items() if label.startswith("linear"))
    print(f"  the server answered {succeeded:,} calls with a prediction and failed {failed:,}")
    if asked:
        print(f"  h2load counted {asked:,}, without its warm-up")
    print("  aim: 8,000 calls/s at 16 connections")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    machine()
    if len(os.sched_getaffinity(0)) < 2:
        print("  not measured: this needs two cores")
        return
    if not shutil.which("h2load"):
        print("  no h2load on the path: the Python client used instead may be the limit")
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), given.rounds, given.seconds)


if __name__ == "__main__":
    main()
