"""200 models behind one gateway under a budget for 20, 60 and all of them: what requests cost, and what memory is held.

    python benchmarks/many_models.py

Models of 0.1 MB that hold about 1 MB each. Requests choose one at random, and by a Zipf law (a few models get most).
The limit is the same load with every model in memory. Then 200 of which every other one runs as code, in a process of
its own, under a budget of 2 GB: what the system says that all processes hold together (their proportional set size),
while every model answers and after all of them were unloaded.
"""

import http.client
import json
import random
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kit.burden import answer_to, coded
from kit.figures import machine, row
from kit.gateways import Gateway
from modelwright.adapters.stores.package_files import write_zip
from modelwright.core import package_codec
from modelwright.core.package import Description, Golden, Package
from modelwright.core.signature import Signature, TensorSpec

MODELS, WIDTH, CLIENTS, REQUESTS = 200, 12_000, 4, 400
BUDGET, ROUNDS = 2_000_000_000, 3
BODY = json.dumps({"inputs": [{"name": "X", "shape": [1, 1], "datatype": "FP32", "data": [2.0]}]})


def package(name: str, factor: float) -> Package:
    signature = Signature((TensorSpec("X", "FP32", (-1, 1)),), (TensorSpec("y", "FP32", (-1, 1)),))
    weights = {"a": np.zeros((1, WIDTH), np.float32), "b": np.ones((WIDTH, 1), np.float32)}
    weights["a"][0, 0] = factor
    nodes = [helper.make_node("MatMul", ["X", "a"], ["t"]), helper.make_node("MatMul", ["t", "b"], ["y"])]
    ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, [None, 1]) for end in ("X", "y")]
    graph = helper.make_graph(
        nodes, name, ends[:1], ends[1:], [numpy_helper.from_array(value, key) for key, value in weights.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    described = Description(name, "onnx", onnx.__version__, "graph", "onnx", "2026-01-01T00:00:00Z", "3.11")
    return package_codec.assemble(
        name,
        {
            "package.json": package_codec.description_json(described),
            "signature.json": package_codec.signature_json(signature),
            "golden.json": package_codec.golden_json(Golden({"X": [[1.0]]}, {"y": [[factor]]}, 1)),
            "model.onnx": model.SerializeToString(),
        },
    )


def client(port: int, order: list[int], seconds: list[float]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for model in order:
        began = time.perf_counter()
        connection.request("POST", f"/v2/models/m{model}/infer", BODY)
        answer = connection.getresponse()
        body = json.loads(answer.read())
        seconds.append(time.perf_counter() - began)
        if answer.status != 200 or body["outputs"][0]["data"] != [2.0 * (model + 1)]:
            raise SystemExit(f"m{model}: {answer.status} {body}")


def load(gateway: Gateway, weights: list[float]) -> list[float]:
    """Milliseconds of each request."""
    seconds: list[float] = []
    orders = [random.Random(seed).choices(range(MODELS), weights, k=REQUESTS) for seed in range(CLIENTS)]
    threads = [threading.Thread(target=client, args=(gateway.port, order, seconds)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(second * 1e3 for second in seconds)


class Mixed:
    """A gateway over models of both kinds, the odd ones as code, and the memory of all its processes."""

    def __init__(self, gateway: Gateway, models: int = MODELS) -> None:
        self._gateway, self._models, self.most, self._over = gateway, models, 0.0, threading.Event()
        self._connection = http.client.HTTPConnection("127.0.0.1", gateway.port)

    def answers(self, numbers: Iterable[int]) -> list[float]:
        """Milliseconds of a request of each; another answer than the right one ends the run."""
        took, connection = [], http.client.HTTPConnection("127.0.0.1", self._gateway.port)
        for number in numbers:
            tensor = {"name": "secret", "shape": [1, 1], "datatype": "INT64", "data": [number]}
            body = json.dumps({"inputs": [tensor]}) if number % 2 else BODY
            began = time.perf_counter()
            connection.request("POST", f"/v2/models/m{number}/infer", body)
            answer = connection.getresponse()
            told = json.loads(answer.read())
            took.append((time.perf_counter() - began) * 1e3)
            expected = answer_to(number) if number % 2 else 2.0 * (number + 1)
            if answer.status != 200 or told["outputs"][0]["data"] != [expected]:
                raise SystemExit(f"m{number}: {answer.status} {told}")
        return took

    def watch(self) -> None:
        """Keep what the processes held at most, until :meth:`stop`."""
        while not self._over.wait(0.2):
            self.most = max(self.most, self.held)

    def stop(self) -> None:
        """End :meth:`watch`."""
        self._over.set()

    @property
    def held(self) -> float:
        """MB of the gateway and its models' processes."""
        return sum(_proportional(pid) for pid in (self._gateway.popen.pid, *self._gateway.children))

    def unload_all(self) -> None:
        """By request, one after the other; then wait until no process is left and memory falls no more."""
        for number in range(self._models):
            self._connection.request("POST", f"/v2/repository/models/m{number}/unload", "{}")
            self._connection.getresponse().read()
        seen = [self.held]
        while self._gateway.children or len(seen) < 20 or min(seen[-10:]) < 0.999 * seen[-11]:
            time.sleep(0.1)
            seen.append(self.held)

    def load_some(self) -> None:
        """By request, until the budget is full; those that come later drive out those before."""
        for number in range(0, self._models, 4):
            for model in (number, number + 1):
                self._connection.request("POST", f"/v2/repository/models/m{model}/load", "{}")
                self._connection.getresponse().read()


def mixed(folder: Path) -> None:
    """Every model answers under the budget, and gives its memory back."""
    models = folder / "mixed"
    models.mkdir()
    for number in range(MODELS):
        made = coded(f"m{number}") if number % 2 else package(f"m{number}", number + 1.0)
        write_zip(made, models / f"m{number}.mw")
    gateway = Gateway(folder / "home", ["--models", models, "--no-auth"], {"memory_budget": BUDGET})
    gateway.wait_ready()
    served = Mixed(gateway)
    watcher = threading.Thread(target=served.watch)
    watcher.start()
    try:
        took = sorted(served.answers(range(MODELS)))
        again = sorted(served.answers(random.Random(1).choices(range(MODELS), k=MODELS)))
        row("mixed, budget 2 GB: each model once, p50", [took[len(took) // 2]], "ms")
        row("mixed, budget 2 GB: each model once, longest", [took[-1]], "ms")
        row("mixed, budget 2 GB: at random, p99", [again[int(len(again) * 0.99)]], "ms")
        row("mixed: bytes in the books", [gateway.metric("modelwright_model_bytes") / 1e6], "MB")
        row("mixed: processes of models", [len(gateway.children)], "")
        row("mixed: all processes, most", [served.most], "MB", note=f"budget {BUDGET / 1e6:,.0f}")
        served.unload_all()
        shares = []
        for _ in range(ROUNDS):
            before = served.held
            served.load_some()
            full = served.held
            served.unload_all()
            shares.append(100 * served.held / before)
            row("mixed: all processes, empty, full, empty again", [before, full, served.held], "MB")
        row("mixed: held after unloading, of before", shares, "%", note="aim: at most 105")
    finally:
        served.stop()
        watcher.join()
        gateway.stop()


def _proportional(pid: int) -> float:
    """MB of a process, memory that several share divided among them; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1e3 for line in lines if line.startswith("Pss:")), 0.0)


def main() -> None:
    machine()
    laws = {"at random": [1.0] * MODELS, "by Zipf's law": [1 / (rank + 1) for rank in range(MODELS)]}
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        models.mkdir()
        for number in range(MODELS):
            write_zip(package(f"m{number}", number + 1.0), models / f"m{number}.mw")
        for fits in (20, 60, 0):
            settings = {"memory_budget": fits * 1_000_000}
            gateway = Gateway(Path(folder) / f"home{fits}", ["--models", models, "--no-auth"], settings)
            gateway.wait_ready()
            for name, weights in laws.items():
                took = load(gateway, weights)
                title = f"budget for {fits or 'all'}, {name}"
                row(f"{title}: p50", [took[len(took) // 2]], "ms")
                row(f"{title}: p99", [took[int(len(took) * 0.99)]], "ms")
            row(f"budget for {fits or 'all'}: memory of the process", [gateway.rss], "MB")
            gateway.stop()
        mixed(Path(folder))


if __name__ == "__main__":
    main()
