"""The usual metrics of binary, multiclass and regression models, on NumPy alone.

``y01`` is the truth as booleans or 0/1, [n]; ``p`` the probability of the positive class, [n]. Every function gives
NaN where the metric is not defined on the rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import BadInputError
from modelwright.core.signature import Task
from modelwright.core.table import Column
from modelwright.stats import statistic
from modelwright.stats.statistic import Statistic

PRIMARY: Mapping[str, str] = {"binary": "log_loss", "multiclass": "log_loss", "regression": "rmse"}
"""Task to the metric that decides between two versions."""

GREATER_IS_BETTER: Mapping[str, bool] = {
    "log_loss": False,
    "roc_auc": True,
    "brier": False,
    "accuracy": True,
    "precision": True,
    "recall": True,
    "f1": True,
    "average_precision": True,
    "calibration_error": False,
    "macro_f1": True,
    "rmse": False,
    "mae": False,
    "r2": True,
    "median_absolute_error": False,
}
"""Every metric this module knows, and which way is better."""


LARGEST = 1e150
"""Largest number a regression metric takes: its square must be finite."""


def log_losses(index: NDArray[Any], scores: NDArray[Any]) -> NDArray[np.float64]:
    """-log P(true class) per row, in nats; index [n], scores [n, k].

    Probabilities are clipped to [eps, 1 - eps] of their own floating type, as scikit-learn does, so that one
    over-confident row does not make the figure infinite.
    """
    eps = np.finfo(scores.dtype).eps if scores.dtype.kind == "f" else np.finfo(np.float64).eps
    chosen = np.asarray(scores)[np.arange(len(index)), index].astype(np.float64)
    losses: NDArray[np.float64] = -np.log(np.clip(chosen, eps, 1 - eps))
    return losses


def _truth(y01: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(y01).astype(bool)


def _columns(p: NDArray[Any]) -> NDArray[Any]:
    p = np.asarray(p)
    return np.stack([1 - p, p], axis=1)


def log_loss(y01: NDArray[Any], p: NDArray[Any]) -> float:
    """Mean binary log loss in nats."""
    return statistic.mean(log_losses(_truth(y01).astype(np.intp), _columns(p))).value


def roc_auc(y01: NDArray[Any], p: NDArray[Any]) -> float:
    """Area under the ROC curve, ties counted half; NaN when only one class is present."""
    return statistic.ranking(_truth(y01), np.asarray(p)).value


def average_precision(y01: NDArray[Any], p: NDArray[Any]) -> float:
    """Average precision (the step-wise area under precision over recall); NaN without a positive row."""
    return statistic.average_precision(_truth(y01), np.asarray(p)).value


def brier(y01: NDArray[Any], p: NDArray[Any]) -> float:
    """Mean squared difference between probability and outcome (Brier, 1950)."""
    return statistic.mean((np.asarray(p, dtype=np.float64) - _truth(y01)) ** 2).value


def calibration_error(y01: NDArray[Any], p: NDArray[Any], bins: int = 10) -> float:
    """Expected calibration error over equal-width bins of ``p``."""
    return statistic.calibration(_truth(y01), p, bins).value


def accuracy(truth: NDArray[Any], label: NDArray[Any]) -> float:
    """Share of rows whose label is right; any two comparable arrays [n]."""
    return statistic.mean(np.asarray(truth) == np.asarray(label)).value


def precision(y01: NDArray[Any], label: NDArray[Any]) -> float:
    """Share of the predicted positives that are positive; 0 when none is predicted."""
    return statistic.confusion(_truth(y01), _truth(label), "precision").value


def recall(y01: NDArray[Any], label: NDArray[Any]) -> float:
    """Share of the positives that are predicted; 0 when there is none."""
    return statistic.confusion(_truth(y01), _truth(label), "recall").value


def f1(y01: NDArray[Any], label: NDArray[Any]) -> float:
    """Harmonic mean of precision and recall; 0 when there are no positives on either side."""
    return statistic.confusion(_truth(y01), _truth(label), "f1").value


def rmse(truth: NDArray[Any], predicted: NDArray[Any]) -> float:
    """Root mean squared error, in the target's unit."""
    return statistic.root_mean_square(np.asarray(truth, dtype=np.float64) - predicted).value


def mae(truth: NDArray[Any], predicted: NDArray[Any]) -> float:
    """Mean absolute error, in the target's unit."""
    return statistic.mean(np.abs(np.asarray(truth, dtype=np.float64) - predicted)).value


def r2(truth: NDArray[Any], predicted: NDArray[Any]) -> float:
    """R squared; NaN when the truth is constant."""
    return statistic.determination(np.asarray(truth, dtype=np.float64), predicted).value


def median_absolute_error(truth: NDArray[Any], predicted: NDArray[Any]) -> float:
    """Median of the absolute errors, in the target's unit."""
    return statistic.median(np.abs(np.asarray(truth, dtype=np.float64) - predicted)).value


def _canonical(value: object) -> str | float:
    """One key for every way a label is written: ``True``, ``1``, ``1.0``, ``"1"`` and ``"true"`` are the same."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    lowered = text.strip().lower()
    if lowered in {"true", "false"}:
        return float(lowered == "true")
    try:
        number = float(lowered)
    except ValueError:
        return text.strip()
    return number if math.isfinite(number) else text.strip()


def _lookup(classes: Sequence[str]) -> dict[str | float, int]:
    """Exact names first; a canonical key only where it means one class."""
    exact: dict[str | float, int] = {name: index for index, name in enumerate(classes)}
    loose: dict[str | float, int] = {}
    shared: set[str | float] = set()
    for index, name in enumerate(classes):
        key = _canonical(name)
        if key in loose:
            shared.add(key)
        loose[key] = index
    return {key: index for key, index in loose.items() if key not in shared} | exact


def known_labels(truth: Column, classes: Sequence[str]) -> NDArray[np.bool_]:
    """True where the model knows the label; [n]."""
    return _indices(truth, classes) >= 0


def _indices(truth: Column, classes: Sequence[str]) -> NDArray[np.intp]:
    lookup = _lookup(classes)
    seen: dict[object, int] = {}

    def index(value: object) -> int:
        # The type belongs to the key: True, 1 and 1.0 are one dict key but may be different classes.
        key = (value.__class__, value)
        if key not in seen:
            text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
            seen[key] = lookup.get(text, lookup.get(_canonical(value), -1))
        return seen[key]

    return np.fromiter((index(value) for value in np.asarray(truth).tolist()), dtype=np.intp, count=len(truth))


def class_index(truth: Column, classes: Sequence[str]) -> NDArray[np.intp]:
    """Index into ``classes`` (the signature's, as strings) of each label, however it is written.

    A label matches by its exact text; else ``True``, ``1``, ``1.0``, ``"1"``, ``"true"`` (and their opposites) and
    numbers of equal value are the same label, as long as that names one class only.

    Raises:
        BadInputError: ``check.unknown-label`` when a label is none of the classes.
    """
    indices = _indices(truth, classes)
    unknown = np.flatnonzero(indices < 0)
    if len(unknown):
        labels = sorted({str(value) for value in np.asarray(truth)[unknown].tolist()})
        named = ", ".join(repr(label) for label in labels[:5])
        raise BadInputError(
            "check.unknown-label",
            f"{len(unknown)} of {len(truth)} rows have a label that the model does not know: {named}.",
            why=f"The model's classes are {', '.join(repr(name) for name in classes[:10])}.",
            fix="Name the right target column, or train the model on these labels.",
            details={"unknown": labels[:20], "rows": len(unknown)},
        )
    return indices


def numbers(values: Column, what: str = "truth") -> NDArray[np.float64]:
    """Values as float64 [n] (missing = NaN).

    Raises:
        BadInputError: ``check.not-a-number``.
    """
    fix = "Name the right target column."
    try:
        column: NDArray[np.float64] = np.asarray(values).astype(np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise BadInputError(
            "check.not-a-number", f"The {what} of a regression model holds values that are no numbers.", fix=fix
        ) from error
    if (np.abs(column) > LARGEST).any():
        raise BadInputError(
            "check.not-a-number", f"The {what} holds values that are infinite or beyond {LARGEST:g}.", fix=fix
        )
    return column


def decisions(
    truth: Column, label: Column | None, scores: NDArray[Any] | None, classes: Sequence[str]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Index of the true class and of the predicted one, [n] each; arguments as :func:`evaluate`."""
    index = class_index(truth, classes)
    if label is not None:
        return index, _indices(np.asarray(label).reshape(-1), classes)  # -1, a label of no class, is a wrong answer
    assert scores is not None
    return index, np.argmax(scores, axis=1)


def statistics(
    task: Task, truth: Column, label: Column | None, scores: NDArray[Any] | None, classes: Sequence[str]
) -> dict[str, Statistic]:
    """Every metric of the task that these outputs allow, bound to the rows; arguments as :func:`evaluate`."""
    if task == "regression":
        assert label is not None
        return _regression(numbers(truth), numbers(label, "prediction"))
    if task == "none":
        return {}
    index, said = decisions(truth, label, scores, classes)
    if task == "binary":
        return _binary(index == 1, said == 1, scores)
    found = {"accuracy": statistic.mean(index == said), "macro_f1": statistic.macro_f1(index, said, len(classes))}
    return found if scores is None else {"log_loss": statistic.mean(log_losses(index, scores))} | found


def _binary(truth: NDArray[np.bool_], said: NDArray[np.bool_], scores: NDArray[Any] | None) -> dict[str, Statistic]:
    found = {"accuracy": statistic.mean(truth == said)}
    found |= {kind: statistic.confusion(truth, said, kind) for kind in ("precision", "recall", "f1")}
    if scores is None:
        return found
    p = scores[:, 1]
    return {
        "log_loss": statistic.mean(log_losses(truth.astype(np.intp), scores)),
        "roc_auc": statistic.ranking(truth, p),
        "average_precision": statistic.average_precision(truth, p),
        "brier": statistic.mean((p.astype(np.float64) - truth) ** 2),
        "calibration_error": statistic.calibration(truth, p),
    } | found


def _regression(truth: NDArray[np.float64], predicted: NDArray[np.float64]) -> dict[str, Statistic]:
    error = truth - predicted
    return {
        "rmse": statistic.root_mean_square(error),
        "mae": statistic.mean(np.abs(error)),
        "median_absolute_error": statistic.median(np.abs(error)),
        "r2": statistic.determination(truth, predicted),
    }


def evaluate(
    task: Task, truth: Column, label: Column | None, scores: NDArray[Any] | None, classes: Sequence[str]
) -> dict[str, float]:
    """Metric name to figure, for every metric of the task that is defined on these rows.

    Args:
        task: ``binary``, ``multiclass`` or ``regression`` (``none`` has no metrics).
        truth: [n] labels in any of the forms of :func:`class_index`, or numbers; no missing values.
        label: [n] or [n, 1] predicted labels, or predicted numbers; None takes the class of the highest score.
        scores: [n, k] class probabilities in the order of ``classes``, or None where the model has none.
        classes: the signature's classes; the positive class of a binary model is ``classes[1]``.

    Raises:
        BadInputError: ``check.unknown-label``, ``check.not-a-number``.
    """
    figures = {name: bound.value for name, bound in statistics(task, truth, label, scores, classes).items()}
    return {name: value for name, value in figures.items() if math.isfinite(value)}
