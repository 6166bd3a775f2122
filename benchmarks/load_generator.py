"""How far the generator of `modelwright bench` can be trusted: beside wrk, on a gateway and on an idle echo.

python benchmarks/load_generator.py

Server and generator have a core each. Where the gateway is the limit both must get the same from it; how fast the
generator itself is shows on the echo.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kit import echo, figures
from kit.models import linear, one_row
from modelwright.adapters.stores.package_files import write_zip
from modelwright.bench.generators import Generators
from modelwright.bench.job import Job, Load

ROUNDS, SECONDS = 4, 2
CONNECTIONS = (1, 16, 64)
PATH = "/v2/models/linear/infer"


@contextmanager
def held(core: int, *command: str) -> Iterator[int]:
    """A server on its core; gives its port."""
    pinned = ["taskset", "-c", str(core), sys.executable, *command]
    server = subprocess.Popen(pinned, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield int(re.search(r":(\d+)", server.stdout.readline())[1])
    finally:
        server.terminate()
        server.wait()


def wrk(port: int, connections: int, core: int, script: Path) -> float:
    """Requests per second that wrk gets."""
    how = ["-t1", f"-c{connections}", f"-d{SECONDS}", "-s", str(script), f"http://127.0.0.1:{port}{PATH}"]
    said = subprocess.run(["taskset", "-c", str(core), "wrk", *how], capture_output=True, text=True, check=True).stdout
    return float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])


def compare(label: str, port: int, request: bytes, core: int, script: Path) -> None:
    """Rounds of both in turns, on one server."""
    with Generators(Job("127.0.0.1", port, [request]), 1, [core]) as generators:
        for connections in CONNECTIONS:
            load = Load(connections, 0.0, SECONDS, warm=0.2)
            measures = {"bench": lambda load=load: generators.measure(load).figures.rate}
            if shutil.which("wrk"):
                measures["wrk"] = lambda count=connections: wrk(port, count, core, script)
            found = figures.rounds_of(ROUNDS, measures)
            for name, rates in found.items():
                note = f"{figures.ratio(rates, found['wrk'])} of wrk" if name == "bench" and "wrk" in found else ""
                figures.row(f"{label}, {connections} connections: {name}", rates, "answers/s", note=note)


def main() -> None:
    figures.machine()
    server_core, generator_core = figures.two_cores()
    body = one_row(linear())
    request = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_zip(linear(), place / "linear.mw")
        (place / "body").write_bytes(body)
        script = place / "load.lua"
        script.write_text(f'wrk.method = "POST"\nwrk.body = io.open("{place}/body", "rb"):read("*a")\n')
        gateway = ["-m", "modelwright.processes.gateway", "--home", str(place / "home"), "--http", "127.0.0.1:0"]
        gateway += ["--no-auth", "--package", str(place / "linear.mw")]
        with held(server_core, *gateway) as port:
            compare("gateway", port, request, generator_core, script)
        with held(server_core, echo.__file__) as port:
            compare("echo", port, request, generator_core, script)


if __name__ == "__main__":
    main()
