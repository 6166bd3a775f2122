"""What an ensemble makes of its members' answers: pure, and each row for itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TIE = 1e-9  # sums of weights this near are equal: 0.1 + 0.2 and 0.3


def weighted_mean(tensors: Sequence[NDArray[Any]], weights: Sequence[float]) -> NDArray[np.float64]:
    """The mean of tensors of one shape, element by element, in 64 bits."""
    total = np.zeros(np.broadcast_shapes(*(tensor.shape for tensor in tensors)), dtype=np.float64)
    for tensor, weight in zip(tensors, weights, strict=True):
        total += tensor.astype(np.float64) * weight
    return total / sum(weights)


def votes(places: Sequence[NDArray[np.intp]], weights: Sequence[float], classes: int) -> NDArray[np.float64]:
    """The share of the weight that each class has: [rows, classes], from the members' classes by place, [rows] each.

    A place of -1 is no class and no vote.
    """
    shares = np.zeros((len(places[0]), classes), dtype=np.float64)
    for place, weight in zip(places, weights, strict=True):
        shares += (place[:, np.newaxis] == np.arange(classes)) * weight
    return shares / sum(weights)


def elected(shares: NDArray[np.float64], scores: NDArray[np.float64] | None) -> NDArray[np.intp]:
    """The place of the class with the largest share: [rows].

    Of several the one with the highest score ([rows, classes]; None: all alike), of these the first.
    """
    tied = shares >= shares.max(axis=1, keepdims=True) - _TIE
    ranked = np.zeros(shares.shape) if scores is None else np.nan_to_num(scores, nan=0.0)
    places: NDArray[np.intp] = np.where(tied, ranked, -np.inf).argmax(axis=1)
    return places


def labels(classes: Sequence[str], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Class names as values of the label's type."""
    if dtype.kind == "b":
        return np.array([name in {"True", "true", "1"} for name in classes])
    if dtype.kind == "O":
        return np.array(classes, dtype=object)
    if dtype.kind in "iu":
        return np.array([int(name) for name in classes], dtype=dtype)
    return np.array([float(name) for name in classes], dtype=dtype)


def places(labels_given: NDArray[Any], known: NDArray[Any]) -> NDArray[np.intp]:
    """The place of each label ([rows]) among the known ones; -1 where it is none of them."""
    found = np.full(len(labels_given), -1, dtype=np.intp)
    for place, label in enumerate(known):
        found[labels_given == label] = place
    return found
