"""An ensemble as arrays: what the kernel walks, and what becomes of its sums."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NODE = np.dtype([("threshold", "<f4"), ("feature", "<u4"), ("child", "<u4"), ("nan_goes_true", "<u4")])
"""A value of at most the threshold goes to ``child``, any other one to the node after it; a leaf is its own child."""


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Trees over rows of FP32 [n, width], with one sum for each row.

    ``roots`` and ``depths`` (int32) have an entry for each tree; ``weights`` (FP32) is what a node adds. ``outputs``
    are the graph's: one of sums (``kind`` 0), or labels and two probabilities (``kind`` 1: of sums that are
    probabilities, 2: of any, 3: by the logistic function), which are kept within ``bounds``.
    """

    nodes: NDArray[Any]
    weights: NDArray[np.float32]
    roots: NDArray[np.int32]
    depths: NDArray[np.int32]
    base: float
    width: int
    kind: int
    input: str
    outputs: tuple[str, ...]
    labels: tuple[Any, ...]
    bounds: tuple[float, float]


def write(ensemble: Ensemble) -> bytes:
    """The ensemble as bytes that hold data alone."""
    arrays = {
        "nodes": ensemble.nodes.view(np.uint32),
        "weights": ensemble.weights,
        "roots": ensemble.roots,
        "depths": ensemble.depths,
        "numbers": np.array([ensemble.base, *ensemble.bounds], np.float64),
        "shape": np.array([ensemble.width, ensemble.kind], np.int64),
        "names": np.array([ensemble.input, *ensemble.outputs], np.str_),
        "labels": np.array(ensemble.labels),
    }
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def read(data: bytes) -> Ensemble:
    """What :func:`write` wrote.

    Raises:
        ValueError: it was not, or a walk over it could leave it.
    """
    with np.load(io.BytesIO(data), allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    try:
        nodes = arrays["nodes"].view(NODE).reshape(-1)
        weights, roots, depths = (arrays[name] for name in ("weights", "roots", "depths"))
        base, low, high = map(float, arrays["numbers"])
        width, kind = map(int, arrays["shape"])
        name, *outputs = map(str, arrays["names"])
        labels = tuple(arrays["labels"].tolist())
    except KeyError as error:
        raise ValueError(f"it has no {error}") from error
    child, tracks = nodes["child"].astype(np.int64), nodes["nan_goes_true"]
    leaf = child == np.arange(len(nodes))
    within = (child + ~leaf < len(nodes)).all() and (tracks <= 1).all()
    stays = (nodes["threshold"][leaf] == np.inf).all() and (tracks[leaf] == 1).all()
    if not (
        within
        and stays
        and (nodes["feature"] < width).all()
        and weights.shape == nodes.shape
        and weights.dtype == np.float32
        and roots.dtype == depths.dtype == np.int32
        and len(roots) == len(depths)
        and ((roots >= 0) & (roots < len(nodes)) & (depths >= 0) & (depths < len(nodes))).all()
        and kind in (0, 1, 2, 3)
        and len(outputs) == (2 if kind else 1)
        and (not kind or len(labels) == 2)
    ):
        raise ValueError("it is no ensemble")
    return Ensemble(
        np.ascontiguousarray(nodes),
        weights,
        roots,
        depths,
        base,
        width,
        kind,
        name,
        tuple(outputs),
        labels,
        (low, high),
    )
