"""Two small models that cost little, so that what is measured is the server, and a request for one row of each."""

import json
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from modelwright.core import package_codec
from modelwright.core.package import Description, Golden, Package
from modelwright.core.signature import Signature, TensorSpec

WIDTH = 30
TEXTS = ("carrier", "origin", "dest")
NUMBERS = ("hour", "dow", "distance", "temp", "humid", "wind_speed", "precip", "pressure", "visib")


def linear() -> Package:
    """One tensor: [n, 30] FP32 to [n, 2] FP32."""
    weights = np.linspace(-1, 1, WIDTH * 2, dtype=np.float32).reshape(WIDTH, 2)
    nodes = [helper.make_node("MatMul", ["X", "w"], ["scores"])]
    return _package("linear", {"X": ("FP32", WIDTH)}, nodes, {"w": weights})


def columns() -> Package:
    """A tensor per column, as a converted data frame has them: 3 texts and 9 numbers, [n, 1] each."""
    known = [f"{letter}{number}" for letter in "ABCD" for number in range(8)]
    codes = {"keys_strings": known, "values_floats": [float(index) for index in range(len(known))]}
    nodes = [
        helper.make_node("LabelEncoder", [name], [f"{name}_code"], domain="ai.onnx.ml", default_float=-1.0, **codes)
        for name in TEXTS
    ]
    parts = [*(f"{name}_code" for name in TEXTS), *NUMBERS]
    nodes += [helper.make_node("Concat", parts, ["all"], axis=1), helper.make_node("MatMul", ["all", "w"], ["scores"])]
    weights = np.linspace(-1, 1, len(parts) * 2, dtype=np.float32).reshape(len(parts), 2)
    inputs = {**dict.fromkeys(TEXTS, ("BYTES", 1)), **dict.fromkeys(NUMBERS, ("FP32", 1))}
    return _package("columns", inputs, nodes, {"w": weights})


def one_row(package: Package) -> bytes:
    """The JSON of an inference request for one row."""
    inputs = []
    for spec in package.signature.inputs:
        width = spec.shape[1]
        data = ["B3"] if spec.datatype == "BYTES" else [round(index * 0.37 - 3, 3) for index in range(width)]
        inputs.append({"name": spec.name, "shape": [1, width], "datatype": spec.datatype, "data": data})
    return json.dumps({"inputs": inputs}).encode()


def _package(
    name: str, inputs: dict[str, tuple[str, int]], nodes: list[Any], constants: dict[str, np.ndarray]
) -> Package:
    types = {"FP32": TensorProto.FLOAT, "BYTES": TensorProto.STRING}
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(key, types[kind], [None, width]) for key, (kind, width) in inputs.items()],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 2])],
        [onnx.numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    signature = Signature(
        tuple(TensorSpec(key, kind, (-1, width)) for key, (kind, width) in inputs.items()),
        (TensorSpec("scores", "FP32", (-1, 2)),),
    )
    described = Description(
        name, "onnx", onnx.__version__, "graph", "onnx", "2026-01-01T00:00:00Z", "3.11", row_independent=True
    )
    files = {
        "model.onnx": model.SerializeToString(),
        "package.json": package_codec.description_json(described),
        "signature.json": package_codec.signature_json(signature),
        "golden.json": package_codec.golden_json(_golden(model.SerializeToString(), signature)),
    }
    return package_codec.assemble(name, files)


def _golden(graph: bytes, signature: Signature) -> Golden:
    """Two rows with the graph's own answers: without them requests would not run together."""
    feeds = {
        spec.name: np.array([["B3"], ["C1"]], object)
        if spec.datatype == "BYTES"
        else np.linspace(0, 1, 2 * spec.shape[1], dtype=np.float32).reshape(2, -1)
        for spec in signature.inputs
    }
    (scores,) = onnxruntime.InferenceSession(graph).run(None, feeds)
    return Golden({name: tensor.tolist() for name, tensor in feeds.items()}, {"scores": scores.tolist()}, 2)
