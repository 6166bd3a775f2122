"""One server under test with all its processes: started on one core, asked, weighed, and stopped to its last child."""

import contextlib
import ctypes
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serving import environments
from serving.catalog import PEERS, Server
from serving.forms import Floats, Form, Request
from serving.workloads import Workload

START_SECONDS, STOP_SECONDS = 120.0, 20.0
TOLERANCE = 1e-4
SILENT = {  # no server calls home
    "BENTOML_DO_NOT_TRACK": "true",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
UNREADABLE = (OSError, http.client.HTTPException, ValueError, LookupError, TypeError)
TICKS = os.sysconf("SC_CLK_TCK")


class FailedError(Exception):
    """A server did not start, or gave no right answer."""


@dataclass
class Running:
    """A started server: where it listens, what every request carries besides, and its first process."""

    address: str
    process: subprocess.Popen[bytes]
    headers: dict[str, str]

    def ask(self, request: Request, seconds: float = 30.0) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (names in lower case) and body."""
        connection = http.client.HTTPConnection(self.address, timeout=seconds)
        with contextlib.closing(connection):
            connection.request("POST", request.path, request.body, {**request.headers, **self.headers})
            said = connection.getresponse()
            return said.status, {name.lower(): value for name, value in said.getheaders()}, said.read()

    def check(self, form: Form, workload: Workload) -> None:
        """Ask for every array of the workload once.

        Raises:
            FailedError: an answer that is not scikit-learn's.
        """
        for array, expected in zip(workload.arrays, workload.answers, strict=True):
            try:
                status, headers, body = self.ask(form.encode(array))
                if status != 200:
                    raise FailedError(f"status {status}: {body[:200].decode(errors='replace')}")
                answer = form.decode(headers, body)
            except UNREADABLE as error:
                raise FailedError(f"no readable answer: {error!r}") from error
            if not _same(answer, expected):
                raise FailedError("a wrong answer")

    def cpu_seconds(self) -> float:
        """CPU time of all processes so far."""
        return sum(sum(map(int, fields[11:15])) for _, fields in _descendants()) / TICKS

    def megabytes(self) -> float:
        """Proportional set size of all processes, in MB."""
        total = 0
        for pid, _ in _descendants():
            with contextlib.suppress(OSError):
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
        return total * 1024 / 1e6


def adopt_orphans() -> None:
    """Make this process the parent of every orphan below it, so that a server's daemons are found and ended too."""
    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


@contextlib.contextmanager
def started(server: Server, python: Path, models: Path, home: Path, core: int) -> Iterator[Running]:
    """Run a server on one core; ends all its processes.

    Raises:
        FailedError: it ended, or said nothing in time.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    said, errors = home / "stdout.log", home / "stderr.log"
    with said.open("wb") as out, errors.open("wb") as log:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *_command(server, python, models, home, address)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
            env=_environment(server, python, models, home, address),
            cwd=home,
            start_new_session=True,
        )
    try:
        yield Running(address, process, {"Authorization": f"Bearer {_token(process, said)}"} if server.token else {})
    except FailedError as error:
        raise FailedError(f"{error}; its last line: {_last_line(errors, said)}") from error
    finally:
        _end(process)


def busy_seconds(core: int) -> float:
    """How long a core was not idle since boot, time that the host took from it included."""
    lines = Path("/proc/stat").read_text().splitlines()
    fields = next(line.split()[1:9] for line in lines if line.startswith(f"cpu{core} "))
    user, nice, system, _idle, _waiting, hard, soft, stolen = map(int, fields)
    return (user + nice + system + hard + soft + stolen) / TICKS


def first_answer(running: Running, form: Form, workload: Workload, since: float) -> float:
    """Seconds from ``since`` to the first right answer.

    Raises:
        FailedError: it ended, or gave none in time.
    """
    request = form.encode(workload.arrays[0])
    while time.perf_counter() - since < START_SECONDS:
        if running.process.poll() is not None:
            raise FailedError(f"it ended with {running.process.returncode}")
        with contextlib.suppress(*UNREADABLE):
            status, headers, body = running.ask(request)
            if status == 200 and _same(form.decode(headers, body), workload.answers[0]):
                return time.perf_counter() - since
        time.sleep(0.005)
    raise FailedError(f"no right answer in {START_SECONDS:.0f} s")


def _same(answer: Floats, expected: Floats) -> bool:
    return answer.size == expected.size and np.allclose(answer, expected.ravel(), atol=TOLERANCE)


def _token(process: subprocess.Popen[bytes], said: Path) -> str:
    """The token that a gateway makes up and prints when it is ready."""
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        words = said.read_text().split()
        if words[:1] == ["token"] and len(words) > 2:
            return words[1]
        time.sleep(0.005)
    raise FailedError("it printed no token")


def _command(server: Server, python: Path, models: Path, home: Path, address: str) -> list[str]:
    if server.peer:
        return [str(python), str(PEERS / server.peer / "app.py")]
    packages = [word for name in ("trees", "image") for word in ("--package", str(models / f"{name}.mw"))]
    gateway = [sys.executable, "-m", "modelwright.processes.gateway", "--home", str(home), "--http", address]
    return [*gateway, *packages, *(() if server.token else ("--no-auth",))]


def _environment(server: Server, python: Path, models: Path, home: Path, address: str) -> dict[str, str]:
    told = {
        "SERVING_BACKEND": server.backend,
        "SERVING_MODELS": str(models),
        "SERVING_PORT": address.rpartition(":")[2],
        "OMP_NUM_THREADS": "1",
        "HOME": str(home),
        "TMPDIR": str(home),
        **SILENT,
    }
    if server.peer:
        told["PYTHONPATH"] = str(environments.INSIDE)
        told["PATH"] = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **told}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the first process to stop, then end whatever is left below us."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    until = time.monotonic() + STOP_SECONDS
    while (left := [pid for pid, _ in _descendants()]) and time.monotonic() < until:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
        process.poll()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _descendants() -> list[tuple[int, list[str]]]:
    """Pid and the fields after the name in ``/proc/PID/stat`` of every process below this one."""
    seen: dict[int, list[str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                seen[int(entry.name)] = (entry / "stat").read_text().rpartition(")")[2].split()
    below, grown = {os.getpid()}, True
    while grown:
        more = {pid for pid, fields in seen.items() if int(fields[1]) in below} - below
        below, grown = below | more, bool(more)
    return [(pid, seen[pid]) for pid in sorted(below - {os.getpid()})]


def _last_line(*paths: Path) -> str:
    """Of the first file that has one."""
    texts = [path.read_text(errors="replace") for path in paths]
    lines = next((text.strip().splitlines() for text in texts if text.strip()), [])
    return lines[-1].strip()[:200] if lines else "nothing"
