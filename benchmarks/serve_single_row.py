"""Single-row JSON requests per second of one gateway on one core: validation, log, metrics and authentication on.

    python benchmarks/serve_single_row.py

Needs `wrk` on the path and at least two cores: server and generator are pinned to one each. The models cost little, so
that what is measured is the server; `linear` takes one tensor of 30 numbers, `columns` 12 tensors of one column each.
The limit is httptools on uvloop answering a fixed body, in the same rounds.
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kit import models
from kit.figures import machine, ratio, rounds_of, row, two_cores
from modelwright.adapters.stores.package_files import write_zip

ECHO = Path(__file__).parent / "kit" / "echo.py"


class Load:
    """wrk against one server with one body, over a number of connections."""

    def __init__(self, url: str, script: Path, connections: int, seconds: int, core: int) -> None:
        load = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency", "-s", str(script), url]
        self._command = ["taskset", "-c", str(core), *load]
        self.middle: list[float] = []
        self.tail: list[float] = []
        self.failed = 0

    def measure(self) -> float:
        """Requests per second; latencies (ms) are kept."""
        said = subprocess.run(self._command, capture_output=True, text=True, check=True).stdout
        for share, kept in ((50, self.middle), (99, self.tail)):
            number, unit = re.search(rf"^\s+{share}%\s+([\d.]+)(\w+)", said, re.MULTILINE).groups()
            kept.append(float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit])
        self.failed += "Non-2xx" in said or "Socket errors" in said
        return float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])


@contextlib.contextmanager
def server(command: list[object], core: int) -> Iterator[list[str]]:
    """A pinned server and the words of its lines, up to its ready line."""
    process = subprocess.Popen(
        ["taskset", "-c", str(core), *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    words: list[str] = []
    try:
        for line in process.stdout:
            words += line.split()
            if line.startswith("ready"):
                break
        yield words
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def post(folder: Path, name: str, body: bytes, token: str) -> Path:
    script = folder / f"{name}.lua"
    script.write_text(
        f'wrk.method = "POST"; wrk.body = [[{body.decode()}]]\n'
        f'wrk.headers["Content-Type"] = "application/json"; wrk.headers["Authorization"] = "Bearer {token}"\n'
    )
    return script


def compare(folder: Path, rounds: int, seconds: int) -> None:
    ours, generator = two_cores()
    packages = [models.linear(), models.columns()]
    gateway = [
        sys.executable,
        "-m",
        "modelwright.processes.gateway",
        "--home",
        folder / "data",
        "--http",
        "127.0.0.1:0",
    ]
    for package in packages:
        write_zip(package, folder / f"{package.name}.mw")
        gateway += ["--package", folder / f"{package.name}.mw"]
    with server(gateway, ours) as said, server([sys.executable, ECHO], ours) as limit:
        token, address = said[1], said[3]
        loads = {}
        for connections in (64, 1):
            for package in packages:
                script = post(folder, package.name, models.one_row(package), token)
                url = f"{address}/v2/models/{package.name}/infer"
                loads[f"{package.name}, {connections} connections"] = Load(url, script, connections, seconds, generator)
            script = folder / "linear.lua"
            loads[f"limit, {connections} connections"] = Load(limit[1], script, connections, seconds, generator)
        figures = rounds_of(rounds, {label: load.measure for label, load in loads.items()})
    for label, rates in figures.items():
        count = label.partition(", ")[2]
        note = f"{ratio(rates, figures[f'limit, {count}'])} the limit" if not label.startswith("limit") else ""
        row(label, rates, "requests/s", note=note)
        row("    p50", loads[label].middle, "ms")
        row("    p99", loads[label].tail, "ms", note="WITH FAILURES" if loads[label].failed else "")
    print("  aims: 50,000 requests/s and p99 <= 3 ms at 64 connections, p50 <= 0.1 ms at 1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    machine()
    if not shutil.which("wrk") or len(os.sched_getaffinity(0)) < 2:
        print("  not measured: this needs wrk on the path and two cores")
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), given.rounds, given.seconds)


if __name__ == "__main__":
    main()
