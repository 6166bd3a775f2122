"""Models under load: each answers 7 x secret + 13, so that an answer tells whose it is; some take their time."""

import time

import numpy as np
import onnx
from onnx import TensorProto, helper

from modelwright.adapters.runners.onnx import OnnxRunners
from modelwright.core import package_codec
from modelwright.core.native import Isolation, Native
from modelwright.core.package import Description, Golden, Package
from modelwright.core.signature import Signature, TensorSpec

SIDE = 256  # a layer multiplies square matrices of this side: half a millisecond or so


def answer_to(secret: int, bias: int = 0) -> int:
    """What every model here makes of a secret."""
    return 7 * secret + 13 + bias


def secrets(name: str = "secrets", *, bias: int = 0, wrong_golden: bool = False) -> Package:
    """INT64 "secret" [n, m] -> INT64 "answer" [n, m], in microseconds."""
    nodes = [helper.make_node("Mul", ["secret", "seven"], ["times"])]
    nodes += [helper.make_node("Add", ["times", "offset"], ["answer"])]
    golden = {"answer": [[answer_to(1, bias) + wrong_golden], [answer_to(2, bias)]]}
    return _package(name, -1, nodes, _offsets(bias), golden, row_independent=True)


def damaged(package: Package) -> Package:
    """The same, but for a graph that is none."""
    files = {name: package.read(name) for name in package.manifest.files}
    return package_codec.assemble(package.name, {**files, "model.onnx": b"no graph"})


def slow(name: str, *, fixed: float, per_row: float = 0.0, row_independent: bool = False, bias: int = 0) -> Package:
    """INT64 "secret" [n, 1] -> INT64 "answer" [n, 1], in about ``fixed + n * per_row`` seconds on one core."""
    layer = _seconds_per_layer()
    nodes = [
        helper.make_node("Cast", ["secret"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["number", "zero"], ["nothing"]),
        helper.make_node("ReduceSum", ["nothing", "first"], ["one"], keepdims=1),  # [1, 1]
        helper.make_node("Add", ["one", "matrix"], ["fixed_0"]),
        *_chain("fixed", round(fixed / layer)),
        helper.make_node("ReduceSum", ["fixed_end"], ["fixed_sum"], keepdims=0),
        helper.make_node("Unsqueeze", ["nothing", "last"], ["each"]),  # [n, 1, 1]
        helper.make_node("Add", ["each", "matrix"], ["row_0"]),
        *_chain("row", round(per_row / layer)),
        helper.make_node("ReduceSum", ["row_end", "inner"], ["row_sum"], keepdims=0),
        helper.make_node("Unsqueeze", ["row_sum", "last_of_two"], ["rows"]),
        helper.make_node("Add", ["rows", "fixed_sum"], ["work"]),
        helper.make_node("Mul", ["work", "zero"], ["no_work"]),
        helper.make_node("Cast", ["no_work"], ["no_number"], to=TensorProto.INT64),
        helper.make_node("Mul", ["secret", "seven"], ["times"]),
        helper.make_node("Add", ["times", "offset"], ["sum"]),
        helper.make_node("Add", ["sum", "no_number"], ["answer"]),
    ]
    constants = {
        **_offsets(bias),
        "zero": np.zeros((), np.float32),
        "matrix": np.ones((SIDE, SIDE), np.float32),
        "weights": np.eye(SIDE, dtype=np.float32),
        "first": np.array([0], np.int64),
        "inner": np.array([1, 2], np.int64),
        "last": np.array([2], np.int64),
        "last_of_two": np.array([1], np.int64),
    }
    golden = {"answer": [[answer_to(1, bias)], [answer_to(2, bias)]]}
    return _package(name, 1, nodes, constants, golden, row_independent=row_independent)


def _offsets(bias: int) -> dict[str, np.ndarray]:
    return {"seven": np.array(7, np.int64), "offset": np.array(13 + bias, np.int64)}


def _chain(name: str, layers: int) -> list[onnx.NodeProto]:
    nodes = [
        helper.make_node("MatMul", [f"{name}_{index}", "weights"], [f"{name}_{index + 1}"]) for index in range(layers)
    ]
    return [*nodes, helper.make_node("Identity", [f"{name}_{layers}"], [f"{name}_end"])]


_measured: list[float] = []


def _seconds_per_layer() -> float:
    """Measured once: the models should take the same time on every machine."""
    if not _measured:
        _measured.append(1.0)
        probe = slow("probe", fixed=40.0)
        runner = OnnxRunners().load(probe, threads=1)
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            runner.run({"secret": np.ones((1, 1), np.int64)})
            seconds.append(time.perf_counter() - began)
        _measured[0] = sorted(seconds)[2] / 40
    return _measured[0]


def coded(name: str, *, idempotent: bool = True, isolation: Isolation = "strict", seconds: float = 0.0) -> Package:
    """INT64 "secret" [n, 1] -> INT64 "answer" [n, 1], by Python code in a process of its own.

    A first secret below zero makes it misbehave: see :data:`SEGMENTATION_FAULT` and those after it.
    """
    return running(name, _CODE.replace("SECONDS", str(seconds)), idempotent=idempotent, isolation=isolation)


def running(
    name: str, code: str, *, idempotent: bool = True, isolation: Isolation = "strict", **modules: bytes
) -> Package:
    """The same by any code that answers as it should; ``modules`` are files that lie beside it."""
    signature = Signature((TensorSpec("secret", "INT64", (-1, 1)),), (TensorSpec("answer", "INT64", (-1, 1)),))
    described = Description(
        name, "python", "3.11", "model.py", "native", "2026-01-01T00:00:00Z", "3.11", row_independent=True
    )
    golden = Golden({"secret": [[1], [2]]}, {"answer": [[answer_to(1)], [answer_to(2)]]}, 2)
    files = {
        "package.json": package_codec.description_json(described),
        "signature.json": package_codec.signature_json(signature),
        "golden.json": package_codec.golden_json(golden),
        "native.json": package_codec.native_json(Native("python", "model.py", isolation, idempotent)),
        "model.py": code.encode(),
        **{f"{module}.py": content for module, content in modules.items()},
    }
    return package_codec.assemble(name, files)


SEGMENTATION_FAULT, ENDLESS, GREEDY, SLOW = -1, -2, -3, -4
_CODE = """
import ctypes
import time

import numpy as np


def predict(inputs):
    secret = inputs["secret"]
    if (secret == -1).any():
        ctypes.string_at(0)
    if (secret == -2).any():
        while True:
            pass
    if (secret == -3).any():
        held = [np.ones(2**27, np.uint8) for _ in range(10**6)]
    if (secret == -4).any():
        time.sleep(1)
    time.sleep(SECONDS) if SECONDS else None
    return {"answer": secret * 7 + 13}
"""


def _package(
    name: str,
    width: int,
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    golden: dict[str, list[list[int]]],
    *,
    row_independent: bool,
) -> Package:
    shape = [None, None if width == -1 else width]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("secret", TensorProto.INT64, shape)],
        [helper.make_tensor_value_info("answer", TensorProto.INT64, shape)],
        [onnx.numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    described = Description(
        name, "onnx", onnx.__version__, "graph", "onnx", "2026-01-01T00:00:00Z", "3.11", row_independent=row_independent
    )
    signature = Signature((TensorSpec("secret", "INT64", (-1, width)),), (TensorSpec("answer", "INT64", (-1, width)),))
    files = {
        "model.onnx": model.SerializeToString(),
        "package.json": package_codec.description_json(described),
        "signature.json": package_codec.signature_json(signature),
        "golden.json": package_codec.golden_json(Golden({"secret": [[1], [2]]}, golden, 2)),
    }
    return package_codec.assemble(name, files)
