"""200 models behind one gateway under a budget for 20, 60 and all of them: what requests cost, and what memory is held.

    python benchmarks/many_models.py

Models of 0.1 MB that hold about 1 MB each. Requests choose one at random, and by a Zipf law (a few models get most).
The limit is the same load with every model in memory.
"""

import http.client
import json
import random
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kit.figures import machine, row
from kit.gateways import Gateway
from modelwright.adapters.stores.package_files import write_zip
from modelwright.core import package_codec
from modelwright.core.package import Description, Golden, Package
from modelwright.core.signature import Signature, TensorSpec

MODELS, WIDTH, CLIENTS, REQUESTS = 200, 12_000, 4, 400
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


if __name__ == "__main__":
    main()
