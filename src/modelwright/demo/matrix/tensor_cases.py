"""The rows of networks: PyTorch and TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from modelwright.demo.matrix.case import Case, Trained
from modelwright.demo.matrix.data import Data

STEPS = 20


def _as_input(kind: str, rows: Any) -> Any:
    return np.asarray(rows).astype(np.int64 if kind == "tokens" else np.float32)


def _torch_net(kind: str, width: int) -> Any:
    from torch import nn  # lazy: an extra

    if kind == "images":
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 1))
    if kind == "tokens":
        return nn.Sequential(nn.Embedding(50, 4), nn.Flatten(), nn.Linear(40, 1))
    return nn.Sequential(nn.Linear(width, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 1))


def _torch(kind: str, data: Data, folder: Path) -> Trained:
    """A few steps of gradient descent, and the module in memory."""
    import torch  # lazy: an extra

    del folder
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rows = torch.from_numpy(_as_input(kind, data.rows))
    net = _torch_net(kind, data.rows.shape[1])
    truth = torch.from_numpy(data.values.astype(np.float32) / 60).reshape(-1, 1)
    steps = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(STEPS):
        steps.zero_grad()
        torch.nn.functional.mse_loss(net(rows), truth).backward()
        steps.step()
    net.eval()

    def ask(asked: Any) -> Any:
        with torch.inference_mode():
            return net(asked)

    return Trained(net, ask, partial(_given, kind, "input"), lambda rows: torch.from_numpy(_as_input(kind, rows)))


def _given(kind: str, name: str, rows: Any) -> dict[str, Any]:
    return {name: _as_input(kind, rows)}


def _keras(kind: str, data: Data, folder: Path) -> Trained:
    """A few epochs, and the model saved in Keras' own format."""
    import keras  # lazy: an extra

    keras.utils.set_random_seed(0)
    layers = keras.layers
    shape, inner = {
        "images": ((1, 12, 12), [layers.Permute((2, 3, 1)), layers.Conv2D(4, 3, activation="relu"), layers.Flatten()]),
        "tokens": ((10,), [layers.Embedding(50, 4), layers.Flatten()]),
    }.get(kind, (data.rows.shape[1:], [layers.Dense(16, activation="relu")]))
    whole = "int64" if kind == "tokens" else "float32"
    first = keras.Input(shape, name="input", dtype=whole)
    last = first
    for layer in [*inner, layers.Dense(1)]:
        last = layer(last)
    model = keras.Model(first, last)
    model.compile("adam", "mse")
    model.fit(_as_input(kind, data.rows), data.values / 60, epochs=2, verbose=0)
    model.save(folder / "model.keras")
    ask = partial(model.predict, verbose=0)
    return Trained(folder / "model.keras", ask, partial(_given, kind, "input"), partial(_as_input, kind))


def cases() -> Iterator[Case]:
    """Every row of both."""
    for kind in ("numbers", "wide", "images", "tokens"):
        plain = kind in {"numbers", "wide"}
        model = {"images": "convolution", "tokens": "embedding"}.get(kind, "perceptron")
        yield Case("PyTorch", model, kind, partial(_torch, kind), "torch", ("torch", "onnx"), tabular=plain)
    for kind in ("numbers", "wide", "images", "tokens"):
        plain = kind in {"numbers", "wide"}
        model = {"images": "convolution", "tokens": "embedding"}.get(kind, "perceptron")
        needs = ("tensorflow", "keras", "onnx")
        yield Case(
            "TensorFlow", f"{model} in a .keras file", kind, partial(_keras, kind), "tensorflow", needs, tabular=plain
        )
