"""What an estimator gives: the names of a package's outputs, what they mean, and how two answers are compared."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.adapters.frameworks.parity import Answers
from modelwright.adapters.frameworks.sklearn_advice import examples_rejected
from modelwright.adapters.frameworks.sklearn_parts import class_names
from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.core.signature import Signature, TensorSpec
from modelwright.native.asking import ask

LABEL, SCORES, VALUE = "label", "probabilities", "prediction"
LABELS, SCORE, DISTANCES, TRANSFORMED = "labels", "score", "distances", "transformed"
Outputs = Mapping[str, NDArray[Any]]


def kind_on(model: Any, kind: str, rows: Any) -> str:
    """The kind, with what only an answer shows: ``regressors``, ``classifiers`` (several targets) or ``multilabel``.

    Raises:
        BadInputError: ``pack.examples-rejected``.
    """
    if kind not in {"classifier", "regressor"}:
        return kind
    predicted = np.asarray(_quietly(model, (VALUE,), rows)[VALUE])
    if isinstance(getattr(model, "classes_", None), list):
        return "classifiers"
    if predicted.ndim < 2 or predicted.shape[1] == 1:
        return kind
    return "regressors" if kind == "regressor" else "multilabel"


def output_names(model: Any, kind: str, rows: Any) -> tuple[str, ...]:
    """The outputs of a package of the model."""
    scored = hasattr(model, "predict_proba")
    if kind in {"classifier", "multilabel"}:
        return (LABEL if kind == "classifier" else LABELS, *((SCORES,) if scored else ()))
    if kind == "outliers":
        return (LABEL, *((SCORE,) if hasattr(model, "decision_function") else ()))
    if kind == "clusters":
        return (LABEL, *((SCORES,) if scored else (DISTANCES,) if hasattr(model, "transform") else ()))
    if kind == "transformer":
        return (TRANSFORMED,)
    if kind in {"regressors", "classifiers"}:
        targets = range(np.asarray(_quietly(model, (VALUE,), rows)[VALUE]).reshape(_count(rows), -1).shape[1])
        if kind == "regressors":
            return tuple(f"{VALUE}_{target}" for target in targets)
        stems = (LABEL, SCORES) if scored else (LABEL,)
        return tuple(f"{stem}_{target}" for stem in stems for target in targets)
    return (VALUE,)


def asked(model: Any, kind: str, rows: Any) -> dict[str, NDArray[Any]]:
    """The model's own answers under the names of its outputs: numbers, booleans, or object arrays of ``str``.

    Raises:
        BadInputError: ``pack.examples-rejected``, ``pack.unsupported-model``.
    """
    given = _quietly(model, output_names(model, kind, rows), rows)
    return {name: _shaped(name, kind, plain(answer)) for name, answer in given.items()}


def _shaped(name: str, kind: str, answer: NDArray[Any]) -> NDArray[Any]:
    """Labels and scores as [n], values as [n, 1], all else as it is."""
    stem = name.rstrip("0123456789_")
    if stem in {LABEL, SCORE}:
        return answer.reshape(-1)
    return answer.reshape(len(answer), -1) if stem == VALUE and kind != "other" else answer


def _quietly(model: Any, names: Sequence[str], rows: Any) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ask(model, names, rows)
    except ModelwrightError:
        raise
    except Exception as error:
        raise examples_rejected(error) from error


def _count(rows: Any) -> int:
    shape = getattr(rows, "shape", None)
    return int(shape[0]) if shape else len(rows)


def plain(answer: Any) -> NDArray[Any]:
    """Numbers, booleans or an object array of ``str``.

    Raises:
        BadInputError: ``pack.unsupported-model``.
    """
    array = np.asarray(answer)
    if array.dtype.kind in "biuf" and array.ndim:
        return array
    if array.dtype.kind in "UO" and array.ndim:
        words = [str(item) for item in array.reshape(-1).tolist()]
        return np.array(words, dtype=object).reshape(array.shape)
    raise BadInputError(
        "pack.unsupported-model",
        f"The model answers with {array.dtype}, in {array.ndim} dimensions.",
        fix="A model's answers must be arrays of numbers, booleans or text with one entry for each row.",
    )


def as_answers(kind: str, outputs: Outputs) -> Answers:
    """The outputs as what a certificate compares: labels as words, probabilities of one label, all other numbers."""
    if kind == "classifier":
        return Answers(labels=_words(outputs[LABEL].reshape(-1)), scores=outputs.get(SCORES))
    if kind == "regressor":
        return Answers(values=outputs[VALUE].reshape(-1).astype(np.float64))
    rows = len(next(iter(outputs.values())))
    words: list[NDArray[Any]] = []
    numbers: list[NDArray[Any]] = []
    for name, array in outputs.items():
        exact = name.startswith(LABEL) or array.dtype.kind not in "biuf"
        (words if exact else numbers).append(array.reshape(rows, -1))
    labels = None
    if words:
        lines = zip(*(_words(column) for block in words for column in block.T), strict=True)
        labels = np.array([" ".join(line) for line in lines], dtype=object)
    values = np.concatenate([block.astype(np.float64) for block in numbers], axis=1) if numbers else None
    return Answers(labels=labels, values=values, margins=_margins(outputs))


def _margins(outputs: Outputs) -> NDArray[np.float64] | None:
    """How far each row is from another label [n]; None where nothing says."""
    rows = len(next(iter(outputs.values())))
    found: list[NDArray[np.float64]] = []
    for name, array in outputs.items():
        wide = array.reshape(rows, -1)
        if name == SCORE:
            found.append(np.abs(wide[:, 0]).astype(np.float64))
        elif name == DISTANCES and wide.shape[1] > 1:
            nearest = np.sort(wide, axis=1)
            found.append((nearest[:, 1] - nearest[:, 0]).astype(np.float64))
        elif name == SCORES and LABELS in outputs:
            found.append(np.abs(2 * wide - 1).min(axis=1).astype(np.float64))
        elif name.startswith(SCORES) and wide.shape[1] > 1:
            best = np.sort(wide, axis=1)
            found.append((best[:, -1] - best[:, -2]).astype(np.float64))
    return np.min(found, axis=0) if found else None


def _words(labels: NDArray[Any]) -> NDArray[Any]:
    return np.array([str(label) for label in labels.tolist()], dtype=object)


def meaning(model: Any, kind: str, inputs: Signature, specs: tuple[TensorSpec, ...], target: str) -> Signature:
    """The signature with outputs and what they mean; the task is ``none`` where no metric of ours is about it."""
    held = replace(inputs, outputs=specs, target=target)
    if kind == "regressor":
        return replace(held, task="regression", label_output=VALUE)
    if kind != "classifier":
        return held
    classes = class_names(model)
    return replace(
        held,
        task="binary" if len(classes) == 2 else "multiclass",
        classes=classes,
        label_output=LABEL,
        score_output=SCORES if any(spec.name == SCORES for spec in specs) else "",
    )
