"""Single-row JSON requests per second of `modelwright serve` with one gateway process and with two, in the same rounds.

    python benchmarks/serve_workers.py

The server with one gateway is pinned to one core, the one with two to two; the generator gets all other cores, or
shares them where there are none (then the ratio says little). The generator is wrk; where wrk is missing, one process
of kit/generator.py on each of its cores. How busy its cores are is told too: it must not be the limit.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from kit import models
from kit.figures import machine, ratio, rounds_of, row
from modelwright import settings
from modelwright.core import package_codec
from modelwright.core.access import Act
from modelwright.core.package import Package
from modelwright.core.version import Lineage
from modelwright.deploy import plan
from modelwright.wiring import platform as wired

GENERATOR = Path(__file__).parent / "kit" / "generator.py"
ACT = Act("bench", "a benchmark")
STARTING_SECONDS = 60.0


@contextlib.contextmanager
def serving(folder: Path, package: Package, workers: int, cores: list[int]) -> Iterator[tuple[str, str]]:
    """Address and token of a server over a registry of its own, pinned to its cores."""
    with wired(settings.load({"home": folder / "home"})) as platform:
        digest = package_codec.store(package, platform.blobs.put)
        lineage, verdict = Lineage(), {"passed": True}
        version = platform.versions.register(package.name, digest, lineage=lineage, verdict=verdict, act=ACT)
        platform.routes.set_route(plan.all_at_once(version), act=ACT)
    pinned = ["taskset", "-c", ",".join(map(str, cores))]
    command = [*pinned, sys.executable, "-m", "modelwright", "--home", str(folder / "home"), "serve"]
    command += ["--workers", str(workers), "--http", "127.0.0.1:0", "--control", "127.0.0.1:0"]
    said = folder / "said"
    with said.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL, cwd=folder)
    try:
        end = time.monotonic() + STARTING_SECONDS
        while "Ctrl-C" not in said.read_text():
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit("the server did not start")
            time.sleep(0.05)
        facts = json.loads((folder / "home" / "run" / "server.json").read_text())
        yield facts["http"], next(word for word in said.read_text().split() if word.startswith("mw_"))
    finally:
        process.terminate()
        process.wait(STARTING_SECONDS)


class Load:
    """The generator against one server."""

    def __init__(
        self, place: tuple[str, str], package: Package, folder: Path, cores: list[int], given: argparse.Namespace
    ) -> None:
        self._address, token = place
        path, body = f"/v2/models/{package.name}/infer", models.one_row(package)
        pinned = ["taskset", "-c", ",".join(map(str, cores))]
        self._processes = 1 if shutil.which("wrk") else len(cores)
        if shutil.which("wrk"):
            script = folder / f"{self._address.replace(':', '-')}.lua"
            script.write_text(
                f'wrk.method = "POST"; wrk.body = [[{body.decode()}]]\n'
                f'wrk.headers["Content-Type"] = "application/json"; wrk.headers["Authorization"] = "Bearer {token}"\n'
            )
            load = ["wrk", f"-t{len(cores)}", f"-c{given.connections}", f"-d{given.seconds}", "-s", str(script)]
            self._command = [*pinned, *load, f"http://{self._address}{path}"]
        else:
            requests = folder / self._address.replace(":", "-")
            requests.mkdir()
            head = f"POST {path} HTTP/1.1\r\nHost: {self._address}\r\nAuthorization: Bearer {token}\r\n"
            (requests / "one").write_bytes(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            load = ["--connections", str(given.connections // len(cores)), "--seconds", str(given.seconds)]
            self._command = [*pinned, sys.executable, str(GENERATOR), self._address, str(requests), *load]
        self.failed = False
        self.busy: list[float] = []

    def measure(self) -> float:
        """Requests per second; how busy the generator's cores were is kept (1: they were the limit)."""
        began, used = time.perf_counter(), _seconds_of_children()
        running = [subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True) for _ in range(self._processes)]
        said = [process.communicate()[0] for process in running]
        cores = len(self._command[2].split(","))
        self.busy.append((_seconds_of_children() - used) / (time.perf_counter() - began) / cores)
        if self._processes == 1 and "Requests/sec" in said[0]:
            self.failed |= "Non-2xx" in said[0] or "Socket errors" in said[0]
            return float(re.search(r"Requests/sec:\s+([\d.]+)", said[0])[1])
        told = [json.loads(text) for text in said]
        self.failed |= any(figures["errors"] for figures in told)
        return sum(figures["rate"] for figures in told)


def _seconds_of_children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def compare(folder: Path, given: argparse.Namespace) -> None:
    cores = sorted(os.sched_getaffinity(0))
    ours, others = cores[-2:], cores[:-2] or cores
    print(f"  server on cores {ours[-1:]} and {ours}, generator on {others}")
    package, loads = models.linear(), {}
    with contextlib.ExitStack() as servers:
        for workers in (1, 2):
            place = folder / str(workers)
            place.mkdir()
            running = servers.enter_context(serving(place, package, workers, ours[-workers:]))
            loads[f"{workers} gateway{'s'[: workers - 1]}"] = Load(running, package, folder, others, given)
        figures = rounds_of(given.rounds, {label: load.measure for label, load in loads.items()})
    one, two = figures.values()
    for (label, rates), load in zip(figures.items(), loads.values(), strict=True):
        row(label, rates, "requests/s", note="WITH FAILURES" if load.failed else "")
        row("    the generator's cores busy", load.busy, "of 1")
    row("two to one, round by round", [b / a for a, b in zip(one, two, strict=True)], "x", note=ratio(two, one))
    print("  aim: 1.8 x on two cores")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--connections", type=int, default=64)
    given = parser.parse_args()
    machine()
    if len(os.sched_getaffinity(0)) < 2 or not shutil.which("taskset"):
        print("  not measured: this needs two cores and taskset")
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), given)


if __name__ == "__main__":
    main()
