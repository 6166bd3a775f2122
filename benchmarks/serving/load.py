"""The load on a running server: wrk where it is installed, else the kit's own generator, on a core of its own."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from kit import generator
from serving.forms import Form
from serving.server import FailedError, Running, busy_seconds
from serving.workloads import Workload

TIMEOUT_SECONDS = 20
ONE_CORE = 1.1
SHARES = ("server_cpu", "generator_cpu", "others", "squeezed")
SCRIPT = """
local requests, turn = {}, 0
function init()
  for number = 1, COUNT do
    local file = io.open(string.format("FOLDER/%04d", number), "rb")
    requests[number] = file:read("*a")
    file:close()
  end
end
function request()
  turn = turn % COUNT + 1
  return requests[turn]
end
function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  local rate = (summary.requests - errors.status) / summary.duration * 1e6
  io.write(string.format('\\nRESULT {"rate": %f, "p50": %f, "p99": %f, "errors": %d}\\n',
    rate, latency:percentile(50) / 1000, latency:percentile(99) / 1000, failed))
end
"""


@dataclass(frozen=True)
class Loaded:
    """What one load showed.

    The last four are shares of a core: what the server used of its own and the generator of its own, and what others
    took of the server's (``others``) and of the generator's (``squeezed``).
    """

    rate: float
    p50: float
    p99: float
    errors: int
    server_cpu: float
    generator_cpu: float
    others: float
    squeezed: float


def tool() -> str:
    """What makes the load here."""
    return "wrk" if shutil.which("wrk") else "kit/generator.py"


def measure(running: Running, form: Form, workload: Workload, seconds: int, cores: tuple[int, int]) -> Loaded:
    """Load the server for some seconds; ``cores`` are the server's and the generator's.

    Raises:
        FailedError: the server was not held to its core, or the generator failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        requests = Path(folder) / "requests"
        requests.mkdir()
        for number, array in enumerate(workload.arrays, start=1):
            wire = form.encode(array).wire(running.address, running.headers)
            (requests / f"{number:04d}").write_bytes(wire)
        pinned = ["taskset", "-c", str(cores[1]), *_command(running.address, requests, workload, seconds)]
        before, served, spent = [busy_seconds(core) for core in cores], running.cpu_seconds(), os.times()
        try:
            said = subprocess.run(pinned, capture_output=True, text=True, check=True, timeout=seconds + 60).stdout
            result = json.loads(said.rpartition("RESULT")[2])
        except (subprocess.SubprocessError, ValueError) as error:
            raise FailedError(f"the load failed: {error}") from error
        after, done = os.times(), running.cpu_seconds()
        taken = [busy_seconds(core) - then for core, then in zip(cores, before, strict=True)]
    wall = after.elapsed - spent.elapsed
    own = after.children_user + after.children_system - spent.children_user - spent.children_system
    shares = [part / wall for part in (done - served, own, taken[0] - done + served, taken[1] - own)]
    if shares[0] > ONE_CORE:
        raise FailedError(f"its threads left the core they were given and used {shares[0]:.1f} cores")
    return Loaded(**result, **dict(zip(SHARES, (max(share, 0.0) for share in shares), strict=True)))


def _command(address: str, requests: Path, workload: Workload, seconds: int) -> list[str]:
    if tool() != "wrk":
        count = ["--connections", str(workload.connections), "--seconds", str(seconds)]
        return [sys.executable, str(generator.__file__), address, str(requests), *count]
    script = requests.parent / "load.lua"
    script.write_text(SCRIPT.replace("COUNT", str(len(workload.arrays))).replace("FOLDER", str(requests)))
    how = ["-t1", f"-c{workload.connections}", f"-d{seconds}", f"--timeout={TIMEOUT_SECONDS}", "--latency"]
    return ["wrk", *how, "-s", str(script), f"http://{address}/"]
