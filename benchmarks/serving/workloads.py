"""What is asked: the models, made once for a run, and the rows with scikit-learn's own answers to them."""

from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import onnx
from onnx import TensorProto, helper
from sklearn.ensemble import HistGradientBoostingClassifier

import modelwright
from serving.forms import Floats

WIDTH, SIDE, CLASSES = 30, 224, 10


@dataclass(frozen=True)
class Workload:
    """One kind of request. ``arrays`` are sent in turn: one row again and again would train the branch predictor."""

    name: str
    form: str
    model: str
    connections: int
    arrays: tuple[Floats, ...]
    answers: tuple[Floats, ...]
    title: str


def make(folder: Path) -> dict[str, Workload]:
    """Write the models that the servers load into ``folder``; returns the workloads by name.

    ``trees.joblib`` is scikit-learn's model, ``trees.onnx`` its conversion by modelwright's own ``pack``, ``trees.mw``
    the package around that; ``image.onnx`` and ``image.mw`` are the small convolution.
    """
    random = np.random.default_rng(0)
    # multiples of 1/256, exact in 32 bits: a peer that reads JSON into 64 bits must see the same numbers
    rows = (np.round(random.standard_normal((6000, WIDTH)) * 256) / 256).astype(np.float32)
    labels = rows[:, :5].sum(axis=1) + random.standard_normal(len(rows)) > 0
    trees = HistGradientBoostingClassifier(max_iter=100, random_state=0).fit(rows[:5000], labels[:5000])
    packed = modelwright.pack(trees, name="trees", examples=rows[5000:], labels=labels[5000:])
    joblib.dump(trees, folder / "trees.joblib")
    (folder / "trees.onnx").write_bytes(packed.package.read("model.onnx"))
    packed.save(folder / "trees.mw")
    weights = random.standard_normal((3, CLASSES)).astype(np.float32)
    onnx.save(convolution(weights), folder / "image.onnx")
    modelwright.pack(folder / "image.onnx", name="image").save(folder / "image.mw")

    def of_trees(name: str, form: str, connections: int, size: int, count: int) -> Workload:
        arrays = tuple(rows[number * size : (number + 1) * size] for number in range(count))
        answers = tuple(trees.predict_proba(array).astype(np.float32) for array in arrays)
        title = f"{form}: {size} x {WIDTH} FP32, {connections} connection{'s' * (connections > 1)}"
        return Workload(name, form, "trees", connections, arrays, answers, title)

    images = tuple(random.standard_normal((1, 3, SIDE, SIDE)).astype(np.float32) for _ in range(2))
    title = f"image: 1 x 3 x {SIDE} x {SIDE} FP32, 16 connections"
    pooled = tuple(image[:, :, ::16, ::16].mean(axis=(2, 3)) @ weights for image in images)
    listed = (
        *(of_trees(f"row-{connections}", "row", connections, 1, 64) for connections in (1, 16, 64)),
        of_trees("batch", "batch", 16, 100, 8),
        of_trees("tensor", "tensor", 16, 1000, 4),
        Workload("image", "image", "image", 16, images, pooled, title),
    )
    return {workload.name: workload for workload in listed}


def convolution(weights: Floats) -> onnx.ModelProto:
    """A 1 x 1 convolution of stride 16, pooled over the picture, then linear: cheap, so that transport is measured."""
    kernel = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    nodes = [
        helper.make_node("Conv", ["X", "kernel"], ["thin"], strides=[16, 16]),
        helper.make_node("GlobalAveragePool", ["thin"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "image",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, CLASSES])],
        [onnx.numpy_helper.from_array(kernel, "kernel"), onnx.numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
