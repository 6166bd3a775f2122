"""What a model takes and gives: names, Open Inference Protocol datatypes, shapes, and what each feature may hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

# Open Inference Protocol datatype -> NumPy dtype (BYTES: object arrays of str or bytes). BF16 has no NumPy dtype.
DATATYPES: dict[str, np.dtype[np.generic]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(object),
}

Task = Literal["binary", "multiclass", "regression", "none"]
Action = Literal["accept", "warn", "reject", "coerce"]


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the model's input as the training data showed it.

    ``kind`` is ``number``, ``boolean`` or ``category``; ``low``/``high`` bound a number as seen in the reference;
    ``categories`` lists the seen levels of a category (empty when there are too many to list);
    ``null_as`` is what a missing string is replaced by before the model sees it.
    """

    name: str
    kind: Literal["number", "boolean", "category"]
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] = ()
    null_as: str | None = None


@dataclass(frozen=True, slots=True)
class InputPolicy:
    """What becomes of values that the training data did not show.

    ``out_of_range`` is about numbers outside a feature's ``low`` and ``high``, ``unseen_category`` about levels
    that ``categories`` does not list: ``accept`` takes them, ``warn`` takes and reports them, ``reject`` refuses
    the request, ``coerce`` reports them and gives the model the nearest bound, or the feature's ``null_as`` (where
    there is none, it refuses). ``not_finite`` is about infinities, and about NaN (a missing number) in a feature
    that is not nullable; in tensors that no feature describes both are taken.
    """

    out_of_range: Action = "accept"
    unseen_category: Action = "accept"
    not_finite: Literal["accept", "reject"] = "reject"


AS_SEEN = InputPolicy()
"""What holds where nothing is declared."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A named tensor; -1 in ``shape`` is a variable dimension. ``features`` names the columns it carries, in order."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs, outputs, the features behind the inputs, and what the outputs mean.

    ``classes`` are the class labels as strings, in the order of the probability columns (empty for regression).
    ``label_output`` / ``score_output`` name the output tensors that hold the predicted label or value and the
    class probabilities ([n, classes]); empty where the model has none.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    features: tuple[Feature, ...] = ()
    task: Task = "none"
    classes: tuple[str, ...] = ()
    label_output: str = ""
    score_output: str = ""
    target: str = ""
    policy: InputPolicy = AS_SEEN

    def input(self, name: str) -> TensorSpec | None:
        """The input of that name, or None."""
        return next((spec for spec in self.inputs if spec.name == name), None)

    def output(self, name: str) -> TensorSpec | None:
        """The output of that name, or None."""
        return next((spec for spec in self.outputs if spec.name == name), None)


@dataclass(frozen=True, slots=True)
class NumberProfile:
    """A number's reference: ``edges`` are B-1 interior quantile edges, ``counts`` the B bin counts (no nulls).

    ``tail_low``/``tail_high`` are the 0.1 % and 99.9 % quantiles; ``points`` are (value, count) of values holding
    at least 0.1 % of the rows (the 200 most frequent at most). Infinite values count as nulls.
    ``median`` is the exact one.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    nulls: int
    rows: int
    mean: float
    std: float
    low: float
    high: float
    tail_low: float
    tail_high: float
    points: tuple[tuple[float, int], ...] = ()
    median: float = 0.0


@dataclass(frozen=True, slots=True)
class CategoryProfile:
    """A category's reference: every level with its count (capped, most frequent first), and Good-Turing's evidence.

    ``singletons`` is the number of levels seen exactly once (the expected unseen mass is singletons / rows;
    Good, 1953); ``other`` counts rows of levels beyond the cap.
    """

    levels: dict[str, int]
    other: int
    nulls: int
    rows: int
    singletons: int


@dataclass(frozen=True, slots=True)
class Reference:
    """The reference profile of a model: what its features and its predictions looked like when it was packed."""

    rows: int
    numbers: dict[str, NumberProfile] = field(default_factory=dict)
    categories: dict[str, CategoryProfile] = field(default_factory=dict)
    predictions: dict[str, NumberProfile] = field(default_factory=dict)
    base_rate: float | None = None
