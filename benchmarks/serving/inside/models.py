"""What every peer's app shares: the same models, on one thread each, and what the benchmark told it to do."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np

WIDTH, SIDE = 30, 224
BACKEND = os.environ.get("SERVING_BACKEND", "onnx")
MODELS = Path(os.environ.get("SERVING_MODELS", "."))
PORT = int(os.environ.get("SERVING_PORT", "0"))

Predict = Callable[[np.ndarray], np.ndarray]


def trees() -> Predict:
    """[n, 30] FP32 to [n, 2] probabilities, by scikit-learn or by ONNX Runtime."""
    if BACKEND == "onnx":
        return _onnx("trees.onnx", "probabilities")
    import joblib  # only where scikit-learn is asked for: it would count in the cold start of the other

    return joblib.load(MODELS / "trees.joblib").predict_proba


def image() -> Predict:
    """[n, 3, 224, 224] FP32 to [n, 10] scores."""
    return _onnx("image.onnx", "scores")


def rows(body: bytes) -> np.ndarray:
    """A raw body of the trees."""
    return np.frombuffer(body, np.float32).reshape(-1, WIDTH)


def pictures(body: bytes) -> np.ndarray:
    """A raw body of the image model."""
    return np.frombuffer(body, np.float32).reshape(-1, 3, SIDE, SIDE)


def free_port() -> int:
    """A port for what a peer opens besides, and the benchmark never asks."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _onnx(name: str, output: str) -> Predict:
    import onnxruntime  # as joblib above

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(MODELS / name), options, providers=["CPUExecutionProvider"])
    return lambda array: session.run([output], {"X": array})[0]
