"""The classification extension: scores -> the best classes of each row, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import BadInputError


def classify(tensor: NDArray[Any], count: int, labels: Sequence[str]) -> NDArray[np.object_]:
    """The ``count`` best classes of each row as ``score:index``, or ``score:index:label`` where there are labels.

    Best first; of equal scores the lower index comes first, and NaN comes last. A tensor with more than one dimension
    has a row for each entry of the first; any other is one row. Rows with fewer classes give as many as they have.

    Args:
        tensor: numeric scores.
        count: at least 1.
        labels: by index; ignored where their number is not that of the classes.

    Raises:
        BadInputError: ``serve.not-classifiable``, ``serve.bad-classification``.
    """
    if count < 1:
        raise BadInputError(
            "serve.bad-classification",
            f"The parameter classification is {count}.",
            fix="Give the number of classes wanted, at least 1.",
        )
    if tensor.dtype.kind not in "fiub":
        raise BadInputError(
            "serve.not-classifiable",
            "Only numeric outputs can be given as classes.",
            fix="Ask for an output with scores, or leave out the parameter classification.",
        )
    kind = tensor.dtype.kind
    rows = len(tensor) if tensor.ndim > 1 else min(tensor.size, 1)
    scores = tensor.reshape(rows, tensor.size // rows if rows else 0)
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
        scores = scores.astype({"f": np.float64, "u": np.uint64}.get(kind, np.int64))
    classes = scores.shape[1]
    best = np.argsort(-scores if kind == "f" else ~scores, axis=1, kind="stable")[:, :count]
    names = [f":{label}" for label in labels] if len(labels) == classes else [""] * classes
    form = "f" if kind == "f" else "d"
    given = [
        f"{row[index]:{form}}:{index}{names[index]}"
        for row, order in zip(scores.tolist(), best.tolist(), strict=True)
        for index in order
    ]
    return np.array(given, dtype=object).reshape(rows, min(count, classes))
