"""Single-row JSON requests per second of models that run as code: gateway and model process on one core together.

    python benchmarks/native_row.py

Needs two cores: server and generator (`wrk`, else `kit/generator.py`) are pinned to one each. `centroid` is a
scikit-learn model that has no conversion to ONNX, `logistic` one that is told to run as code. The limits, in the same
rounds: `linear`, a model that the gateway runs itself, and what scikit-learn answers in a loop, a row at a time and 64
at a time. Validation, log and metrics are on. Every answer of the bodies that are sent is compared with scikit-learn's.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid

from kit import generator, models
from kit.figures import machine, ratio, rounds_of, row, two_cores
from kit.gateways import Gateway
from modelwright.adapters.stores.package_files import write_zip
from serving.load import SCRIPT, tool

TARGET, BODIES, WIDTH = 15_000, 16, models.WIDTH


def fitted() -> Mapping[str, tuple[Any, Sequence[str]]]:
    """The models, and what `modelwright pack` is told of each."""
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(500, WIDTH))
    truth = (rows.sum(axis=1) > 0).astype(int)
    return {
        "centroid": (NearestCentroid().fit(rows, truth), ()),
        "logistic": (LogisticRegression().fit(rows, truth), ("--native",)),
    }


def pack(folder: Path, name: str, model: Any, more: Sequence[str]) -> Path:
    """The package that a user gets."""
    names = ",".join(f"x{number}" for number in range(WIDTH))
    np.savetxt(folder / "examples.csv", bodies()[:BODIES, :], delimiter=",", header=names, comments="")
    joblib.dump(model, folder / f"{name}.joblib")
    command = [sys.executable, "-m", "modelwright", "pack", f"{name}.joblib", "--name", name, "--data", "examples.csv"]
    subprocess.run([*command, *more, "-o", f"{name}.mw"], cwd=folder, check=True, capture_output=True)
    return folder / f"{name}.mw"


def bodies() -> np.ndarray:
    """The rows that are sent, in turn."""
    return np.round(np.random.default_rng(1).normal(size=(BODIES, WIDTH)), 3)


def wire(name: str, values: Sequence[float], datatype: str) -> tuple[str, bytes]:
    """The target and body of one request."""
    tensor = {"name": "X", "shape": [1, WIDTH], "datatype": datatype, "data": list(values)}
    return f"/v2/models/{name}/infer", json.dumps({"inputs": [tensor]}).encode()


def check(port: int, name: str, model: Any) -> None:
    """Every body once, beside scikit-learn."""
    for values in bodies().tolist():
        target, body = wire(name, values, "FP64")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{target}", body, timeout=20) as answer:
            outputs = {output["name"]: output["data"] for output in json.loads(answer.read())["outputs"]}
        assert outputs["label"] == model.predict([values]).tolist(), (name, outputs)
        np.testing.assert_allclose(outputs["probabilities"], model.predict_proba([values])[0])


class Load:
    """The load on one model over a number of connections."""

    def __init__(self, folder: Path, port: int, name: str, connections: int, seconds: int, core: int) -> None:
        place = folder / f"requests-{name}"
        place.mkdir(exist_ok=True)
        for number, values in enumerate(bodies().tolist(), start=1):
            target, body = wire(name, values, "FP32" if name == "linear" else "FP64")
            head = f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            (place / f"{number:04d}").write_bytes(head.encode() + body)
        script = folder / f"{name}.lua"
        script.write_text(SCRIPT.replace("COUNT", str(BODIES)).replace("FOLDER", str(place)))
        how = ["-t1", f"-c{connections}", f"-d{seconds}", "--latency", "-s", str(script), f"http://127.0.0.1:{port}/"]
        python = [sys.executable, str(generator.__file__), f"127.0.0.1:{port}", str(place)]
        python += ["--connections", str(connections), "--seconds", str(seconds)]
        self._command = ["taskset", "-c", str(core), *(["wrk", *how] if tool() == "wrk" else python)]
        self.tails: list[float] = []
        self.middles: list[float] = []
        self.errors = 0

    def measure(self) -> float:
        """Requests per second; latencies (ms) and failures are kept."""
        said = subprocess.run(self._command, capture_output=True, text=True, check=True).stdout
        result = json.loads(said.rpartition("RESULT")[2])
        self.middles.append(result["p50"])
        self.tails.append(result["p99"])
        self.errors += int(result["errors"])
        return float(result["rate"])


def loop(model: Any, rows: int, core: int) -> Callable[[], float]:
    """Rows per second that scikit-learn answers in this process, on the server's core, so many rows at a time."""
    batch = np.resize(bodies(), (rows, WIDTH))

    def measure() -> float:
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core})
        try:
            began, done = time.perf_counter(), 0
            while (passed := time.perf_counter() - began) < 0.5:
                model.predict_proba(batch)
                done += rows
        finally:
            os.sched_setaffinity(0, before)
        return done / passed

    return measure


def compare(folder: Path, rounds: int, seconds: int) -> None:
    core, other = two_cores()
    write_zip(models.linear(), folder / "linear.mw")
    found = fitted()
    packages = [pack(folder, name, *told) for name, told in found.items()]
    arguments = [part for path in (*packages, folder / "linear.mw") for part in ("--package", path)]
    gateway = Gateway(folder / "home", [*arguments, "--no-auth"], {}, ("taskset", "-c", str(core)))
    try:
        gateway.wait_ready()
        for name, (model, _) in found.items():
            check(gateway.port, name, model)
        loads = {
            f"{name}, {connections} connection{'s' * (connections > 1)}": Load(
                folder, gateway.port, name, connections, seconds, other
            )
            for connections in (64, 1)
            for name in (*found, "linear")
        }
        measures = {label: load.measure for label, load in loads.items()}
        for name, (model, _) in found.items():
            measures |= {f"{name}, a loop of {rows} at a time": loop(model, rows, core) for rows in (1, 64)}
        figures = rounds_of(rounds, measures)
    finally:
        gateway.stop()
    for label, rates in figures.items():
        load = loads.get(label)
        row(label, rates, "rows/s", note=ratio(rates, figures["linear, 64 connections"]) + " linear" if load else "")
        if load is not None:
            row("    p50", load.middles, "ms")
            row("    p99", load.tails, "ms", note="WITH FAILURES" if load.errors else "")
    print(f"  aim: {TARGET:,} requests/s at 64 connections for a model that has no conversion")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    machine()
    if len(os.sched_getaffinity(0)) < 2:
        print("  not measured: this needs two cores")
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), given.rounds, given.seconds)


if __name__ == "__main__":
    main()
