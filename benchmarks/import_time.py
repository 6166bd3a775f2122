"""What the import of a scoring process costs: wall time of fresh interpreters, with compiled bytecode as installed.

    python benchmarks/import_time.py

Aim: the gateway's import takes less than 250 ms. Its libraries alone are the limit.
"""

import os
import subprocess
import sys
import tempfile
import time

from kit.figures import machine, ratio, rounds_of, row

ROUNDS = 9
LIBRARIES = "import argparse, asyncio, concurrent.futures, hashlib, httptools, logging, msgspec, onnxruntime, uvloop"
STATEMENTS = {
    "an empty interpreter": "pass",
    "numpy": "import numpy",
    "the gateway's libraries alone": f"import os; os.environ['ORT_DISABLE_TELEMETRY'] = '1'; {LIBRARIES}",
    "modelwright.processes.gateway": "import modelwright.processes.gateway",
}


def milliseconds(statement: str, environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], env=environment, check=True)
    return (time.perf_counter() - began) * 1000


def main() -> None:
    machine()
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        measures = {label: lambda code=code: milliseconds(code, environment) for label, code in STATEMENTS.items()}
        rounds_of(1, measures)  # compiles
        figures = rounds_of(ROUNDS, measures)
    for label, times in figures.items():
        row(label, times, "ms")
    empty, _, libraries, gateway = figures.values()
    net = [our - nothing for our, nothing in zip(gateway, empty, strict=True)]
    row("the gateway's import, less the interpreter", net, "ms", note="aim: < 250")
    print(f"  the gateway against its libraries alone: {ratio(gateway, libraries)}")


if __name__ == "__main__":
    main()
