"""Real tiny packages for whatever serves them."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

# Before any library with OpenMP is loaded: its threads spin while they wait, seconds for a tiny tree on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnx
import pytest
from hypothesis import settings
from onnx import TensorProto, helper

from modelwright.core import package_codec
from modelwright.core.graph import Graph, Member, Node
from modelwright.core.graph_wires import resolve
from modelwright.core.native import NATIVE_ROUTE, Isolation, Native
from modelwright.core.package import Description, Golden, Package, canonical_json
from modelwright.core.signature import AS_SEEN, DATATYPES, Feature, InputPolicy, Signature, TensorSpec
from modelwright.testing.runner import Function

settings.register_profile("long", max_examples=2000, deadline=None)  # `make fuzz`

ONNX_TYPE = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def _package(
    name: str,
    signature: Signature,
    golden: Golden | None = None,
    files: Mapping[str, bytes] | None = None,
    *,
    row_independent: bool = True,
) -> Package:
    made_by = ("onnx", onnx.__version__, "graph", "onnx", "2026-01-01T00:00:00Z", "3.11")
    described = Description(name, *made_by, row_independent=row_independent)
    parts = {
        "package.json": package_codec.description_json(described),
        "signature.json": package_codec.signature_json(signature),
        **(files or {}),
    }
    if golden is not None:
        parts["golden.json"] = package_codec.golden_json(golden)
    return package_codec.assemble(name, parts)


def _graph(name: str, signature: Signature, nodes: list[Any], constants: Mapping[str, np.ndarray]) -> bytes:
    def info(spec: TensorSpec) -> Any:
        shape = [None if size == -1 else size for size in spec.shape]
        return helper.make_tensor_value_info(spec.name, ONNX_TYPE[spec.datatype], shape)

    graph = helper.make_graph(
        nodes,
        name,
        [info(spec) for spec in signature.inputs],
        [info(spec) for spec in signature.outputs],
        [onnx.numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


@pytest.fixture(scope="session")
def sum_package() -> Callable[..., Package]:
    """``sum_package(name, bias)``: [n, width] FP32 "X" -> [n, 1] FP32 "total" (the row's sum plus the bias)."""

    def make(
        name: str = "total",
        bias: float = 0.0,
        width: int = 3,
        golden_error: float = 0.0,
        features: tuple[str, ...] = (),
    ) -> Package:
        taken = TensorSpec("X", "FP32", (-1, width), features)
        signature = Signature((taken,), (TensorSpec("total", "FP32", (-1, 1)),))
        nodes = [helper.make_node("MatMul", ["X", "w"], ["m"]), helper.make_node("Add", ["m", "b"], ["total"])]
        weights = {"w": np.ones((width, 1), np.float32), "b": np.array([bias], np.float32)}
        rows = [[float(row + column) for column in range(width)] for row in range(3)]
        golden = Golden({"X": rows}, {"total": [[sum(row) + bias + golden_error] for row in rows]}, 3)
        return _package(name, signature, golden, {"model.onnx": _graph(name, signature, nodes, weights)})

    return make


@pytest.fixture(scope="session")
def heavy_package() -> Callable[..., Package]:
    """``heavy_package(name, factor, width)``: [n, 1] FP32 "X" times a factor as "y", by 5 million weights or so."""

    def make(name: str, factor: float = 1.0, width: int = 100_000) -> Package:
        signature = Signature((TensorSpec("X", "FP32", (-1, 1)),), (TensorSpec("y", "FP32", (-1, 1)),))
        nodes = [helper.make_node("MatMul", ["X", "a"], ["t"]), helper.make_node("MatMul", ["t", "b"], ["y"])]
        weights = {"a": np.zeros((1, width), np.float32), "b": np.ones((width, 1), np.float32)}
        weights["a"][0, 0] = factor
        golden = Golden({"X": [[1.0], [2.0]]}, {"y": [[factor], [2 * factor]]}, 2)
        return _package(name, signature, golden, {"model.onnx": _graph(name, signature, nodes, weights)})

    return make


@pytest.fixture(scope="session")
def echo_package() -> Callable[..., Package]:
    """``echo_package(name, {input: (datatype, shape)}, ...)``: each input comes back as ``<input>_out``."""

    def make(
        name: str,
        tensors: Mapping[str, tuple[str, tuple[int, ...]]],
        features: tuple[Feature, ...] = (),
        policy: InputPolicy = AS_SEEN,
        classes: tuple[str, ...] = (),
    ) -> Package:
        signature = Signature(
            tuple(TensorSpec(key, datatype, shape) for key, (datatype, shape) in tensors.items()),
            tuple(TensorSpec(f"{key}_out", datatype, shape) for key, (datatype, shape) in tensors.items()),
            features,
            policy=policy,
            classes=classes,
        )
        nodes = [helper.make_node("Identity", [key], [f"{key}_out"]) for key in tensors]
        return _package(name, signature, None, {"model.onnx": _graph(name, signature, nodes, {})})

    return make


@pytest.fixture(scope="session")
def packaged() -> Callable[..., Package]:
    """``packaged(name, signature, golden inputs, golden outputs)``: a package for a function of the test's own."""

    def make(
        name: str,
        signature: Signature,
        inputs: dict[str, list[Any]] | None = None,
        outputs: dict[str, list[Any]] | None = None,
        *,
        row_independent: bool = True,
    ) -> Package:
        golden = None if inputs is None else Golden(inputs, outputs or {}, len(next(iter(inputs.values()))))
        return _package(name, signature, golden, row_independent=row_independent)

    return make


@pytest.fixture(scope="session")
def function_package() -> Callable[..., tuple[Package, Function]]:
    """``function_package(name, factor, fails)``: FP64 "x" [n, 1] times a factor, by a Python function, without ONNX."""

    def make(name: str = "times", factor: float = 1.0, fails: str = "") -> tuple[Package, Function]:
        signature = Signature((TensorSpec("x", "FP64", (-1, 1)),), (TensorSpec("y", "FP64", (-1, 1)),))
        golden = None if fails else Golden({"x": [[1.0], [2.0]]}, {"y": [[factor], [2 * factor]]}, 2)

        def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            if fails:
                raise ValueError(fails)
            return {"y": inputs["x"].astype(DATATYPES["FP64"]) * factor}

        return _package(name, signature, golden, {"function.txt": f"{factor} {fails}".encode()}), run

    return make


@pytest.fixture(scope="session")
def linear_package() -> Callable[..., Package]:
    """``linear_package(name, columns, weights)``: a binary classifier over FP32 columns, by ONNX.

    P(second class) is the sigmoid of the weighted sum; ``label`` INT64 [n], ``probabilities`` FP32 [n, 2].
    """

    def make(name: str, columns: tuple[str, ...], weights: tuple[float, ...], bias: float = 0.0) -> Package:
        score = ("label", "probabilities")
        signature = Signature(
            tuple(TensorSpec(column, "FP32", (-1, 1), (column,)) for column in columns),
            (TensorSpec("label", "INT64", (-1,)), TensorSpec("probabilities", "FP32", (-1, 2))),
            tuple(Feature(column, "number", low=-9.0, high=9.0) for column in columns),
            *("binary", ("0", "1"), *score, "late"),
        )
        nodes = [
            helper.make_node("Concat", list(columns), ["all"], axis=1),
            helper.make_node("MatMul", ["all", "weights"], ["sum"]),
            helper.make_node("Add", ["sum", "bias"], ["z"]),
            helper.make_node("Sigmoid", ["z"], ["one"]),
            helper.make_node("Sub", ["unit", "one"], ["zero"]),
            helper.make_node("Concat", ["zero", "one"], ["probabilities"], axis=1),
            helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
        ]
        constants = {
            "weights": np.array(weights, np.float32).reshape(-1, 1),
            "bias": np.array([bias], np.float32),
            "unit": np.ones(1, np.float32),
        }
        rows = np.linspace(-2, 2, 4, dtype=np.float32)
        chance = 1 / (1 + np.exp(-(rows * np.float32(sum(weights)) + np.float32(bias))))
        outputs = {
            "label": [int(value > 0.5) for value in chance],
            "probabilities": [[float(1 - value), float(value)] for value in chance],
        }
        golden = Golden({column: [[float(row)] for row in rows] for column in columns}, outputs, 4)
        return _package(name, signature, golden, {"model.onnx": _graph(name, signature, nodes, constants)})

    return make


@pytest.fixture(scope="session")
def graph_package() -> Callable[..., Package]:
    """``graph_package(name, {node: Package, (Package, inputs) or Node}, answer)``: the package of a graph."""

    def make(
        name: str, nodes: Mapping[str, Any], answer: str, *, golden: Golden | None = None, row_independent: bool = True
    ) -> Package:
        declared: dict[str, Node] = {}
        members: dict[str, Package] = {}
        for node, given in nodes.items():
            held, inputs = given if isinstance(given, tuple) else (given, {})
            if isinstance(held, Package):
                members[node] = held
                held = Node(model=Member(held.digest, f"{held.name}.mw", inputs))
            declared[node] = held
        graph, signature = resolve(
            Graph(answer, declared), {node: package.signature for node, package in members.items()}
        )
        described = Description(
            name, *("graph", "", "graph", "graph", "2026-01-01T00:00:00Z", "3.11"), row_independent=row_independent
        )
        parts = {
            "package.json": package_codec.description_json(described),
            "signature.json": package_codec.signature_json(signature),
            "graph.json": package_codec.graph_json(graph),
        }
        for node, package in members.items():
            parts[f"nodes/{node}/manifest.json"] = canonical_json(package.manifest.to_json())
            parts |= {f"nodes/{node}/{file}": package.read(file) for file in package.manifest.files}
        if golden is not None:
            parts["golden.json"] = package_codec.golden_json(golden)
        return package_codec.assemble(name, parts)

    return make


@pytest.fixture(scope="session")
def code_package() -> Callable[..., Package]:
    """``code_package(source, ...)``: a model.py for a process of its own; [n, 3] FP32 "X" -> [n, 1] "total"."""

    def make(
        source: str,
        name: str = "code",
        signature: Signature | None = None,
        golden: Golden | None = None,
        *,
        isolation: Isolation = "standard",
        idempotent: bool = True,
        row_independent: bool = True,
        streams: bool = False,
        sequences: bool = False,
    ) -> Package:
        taken = TensorSpec("X", "FP32", (-1, 3))
        made_by = ("python", "3.11", "model.py", NATIVE_ROUTE, "2026-01-01T00:00:00Z", "3.11")
        described = Description(name, *made_by, row_independent=row_independent)
        parts = {
            "package.json": package_codec.description_json(described),
            "signature.json": package_codec.signature_json(
                signature or Signature((taken,), (TensorSpec("total", "FP32", (-1, 1)),))
            ),
            "native.json": package_codec.native_json(
                Native("python", "model.py", isolation, idempotent, streams, sequences)
            ),
            "model.py": textwrap.dedent(source).encode(),
        }
        if golden is not None:
            parts["golden.json"] = package_codec.golden_json(golden)
        return package_codec.assemble(name, parts)

    return make
