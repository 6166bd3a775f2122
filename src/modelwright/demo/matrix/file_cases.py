"""The rows of models that are files already: ONNX graphs and Python files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from modelwright.demo.matrix.case import Case, Trained
from modelwright.demo.matrix.data import Data

RULE = """
import numpy as np


def predict(inputs):
    score = inputs["x0"] - inputs["x1"]
    return {"prediction": score[:, 0] * 10 + 60}
"""
CLASS = """
import numpy as np

CLASSES = ["no", "yes"]


class Model:
    def __init__(self, folder):
        self.middle = 42.0

    def predict(self, inputs):
        p = 1 / (1 + np.exp(-(inputs["age"][:, 0] - self.middle) / 5))
        p = np.where(inputs["city"][:, 0] == "oslo", np.sqrt(p), p)
        return {"label": np.where(p > 0.5, "yes", "no"), "probabilities": np.stack([1 - p, p], axis=1)}
"""


def _saved_graph(folder: Path, nodes: Any, shapes: tuple[Any, Any], weights: dict[str, Any]) -> Path:
    from onnx import TensorProto, helper, numpy_helper, save  # lazy: comes with the extra

    kept = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in zip("xy", shapes, strict=True)
    ]
    graph = helper.make_graph([helper.make_node(*node[:3], **node[3]) for node in nodes], "g", ends[:1], ends[1:], kept)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), folder / "model.onnx")
    return folder / "model.onnx"


def _own_session(path: Path) -> Trained:
    import onnxruntime  # lazy: as the others

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    floats: Callable[[Any], Any] = lambda rows: {"x": rows.astype(np.float32)}  # noqa: E731 - used twice
    return Trained(path, lambda feeds: session.run(None, feeds)[0], floats, floats)


def _perceptron(data: Data, folder: Path) -> Trained:
    random, width = np.random.default_rng(0), data.rows.shape[1]
    weights = {
        "a": random.normal(size=(width, 16)).astype(np.float32),
        "b": random.normal(size=(16, 3)).astype(np.float32),
    }
    nodes: list[Any] = [
        ("MatMul", ["x", "a"], ["h"], {}),
        ("Relu", ["h"], ["r"], {}),
        ("MatMul", ["r", "b"], ["z"], {}),
    ]
    nodes += [("Softmax", ["z"], ["y"], {"axis": 1})]
    return _own_session(_saved_graph(folder, nodes, ([None, width], [None, 3]), weights))


def _convolution(data: Data, folder: Path) -> Trained:
    del data
    weights = {"w": np.random.default_rng(0).normal(size=(4, 1, 3, 3)).astype(np.float32)}
    nodes: list[Any] = [
        ("Conv", ["x", "w"], ["c"], {}),
        ("Relu", ["c"], ["r"], {}),
        ("GlobalAveragePool", ["r"], ["p"], {}),
    ]
    nodes += [("Flatten", ["p"], ["y"], {"axis": 1})]
    return _own_session(_saved_graph(folder, nodes, ([None, 1, 12, 12], [None, 4]), weights))


def _python(source: str, output: str, data: Data, folder: Path) -> Trained:
    from modelwright.features.tabular import table  # lazy: as the others

    del data
    (folder / "model.py").write_text(source)
    held: dict[str, Any] = {}
    exec(compile(source, "model.py", "exec"), held)  # noqa: S102 - the source stands above
    ask = held["predict"] if "predict" in held else held["Model"](folder).predict

    def prepare(rows: Any) -> Any:
        columns = table(rows)
        return {name: columns[name].reshape(-1, 1) for name in columns.names}

    return Trained(folder / "model.py", lambda feeds: ask(feeds)[output], prepare=prepare)


def cases() -> Iterator[Case]:
    """Every row of both."""
    needed = ("onnx",)
    for data in ("numbers", "wide"):
        yield Case("ONNX", "perceptron in an .onnx file", data, _perceptron, "onnx", needed)
    yield Case("ONNX", "convolution in an .onnx file", "images", _convolution, "onnx", needed, tabular=False)
    yield Case("Python", "function predict", "numbers", lambda d, f: _python(RULE, "prediction", d, f), "python", ())
    yield Case(
        "Python", "class Model", "mixed", lambda d, f: _python(CLASS, "probabilities", d, f), "python", ("pandas",)
    )
