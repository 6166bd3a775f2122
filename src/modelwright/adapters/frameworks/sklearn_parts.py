"""Looking into a fitted scikit-learn object: its parts, what it was trained on, and whether it can be packed at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from modelwright.core.errors import BadInputError

_MAX_DEPTH = 12


def parts(model: object) -> Iterator[Any]:
    """The estimator and every estimator inside it, each once."""
    seen: set[int] = set()

    def walk(thing: object, depth: int) -> Iterator[Any]:
        if depth > _MAX_DEPTH or id(thing) in seen:
            return
        if isinstance(thing, list | tuple):
            for item in thing:
                yield from walk(item, depth + 1)
        elif isinstance(thing, dict):
            yield from walk(list(thing.values()), depth + 1)
        elif _is_part(thing):
            seen.add(id(thing))
            yield thing
            for value in vars(thing).values():
                if isinstance(value, list | tuple | dict) or hasattr(value, "get_params"):
                    yield from walk(value, depth + 1)

    yield from walk(model, 0)


def _is_part(thing: object) -> bool:
    # The members of a CalibratedClassifierCV are no estimators by themselves.
    return (hasattr(thing, "get_params") and not isinstance(thing, type)) or hasattr(thing, "calibrators")


def unwrap(model: Any) -> Any:
    """The estimator that answers: the best one of a finished search, else the model itself."""
    best = getattr(model, "best_estimator_", None)
    return model if best is None else best


def require_supported(model: Any) -> str:
    """``classifier`` or ``regressor`` of a fitted, single-output scikit-learn estimator.

    Raises:
        BadInputError: ``pack.unsupported-model`` or ``pack.not-fitted``.
    """
    from sklearn.base import is_classifier, is_regressor  # lazy: only packing needs scikit-learn
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    if isinstance(model, type) or not hasattr(model, "get_params") or not hasattr(model, "fit"):
        raise _unsupported(
            f"This is not a scikit-learn estimator but of type {type_name(model)}.",
            "Give a fitted scikit-learn estimator or pipeline, or an .onnx file.",
        )
    try:
        check_is_fitted(model)
    except NotFittedError as error:
        raise BadInputError(
            "pack.not-fitted",
            f"The {type(model).__name__} is not fitted.",
            why="Only a trained model can be packed.",
            fix="Call fit(X, y) first.",
        ) from error
    # A neural network's n_outputs_ counts its classes, so for classifiers it says nothing.
    several = getattr(model, "n_outputs_", 1) not in (1, None) and not is_classifier(model)
    if several or isinstance(getattr(model, "classes_", None), list):
        raise _unsupported("The model has more than one output.", "Pack one model for each target.")
    if is_classifier(model):
        return "classifier"
    if is_regressor(model):
        return "regressor"
    raise _unsupported(
        f"{type(model).__name__} is neither a classifier nor a regressor.",
        "Pack the pipeline that ends in the classifier or regressor.",
    )


def _unsupported(what: str, fix: str) -> BadInputError:
    return BadInputError("pack.unsupported-model", what, fix=fix)


def type_name(thing: object) -> str:
    """``module.Class`` of an object (or of the class itself)."""
    kind = thing if isinstance(thing, type) else type(thing)
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")


def trained_names(model: Any) -> tuple[str, ...]:
    """Column names the model was trained on, empty when it was trained on an array."""
    for part in parts(model):
        names = getattr(part, "feature_names_in_", None)
        if names is not None:
            return tuple(str(name) for name in names)
        if hasattr(part, "n_features_in_"):
            return ()
    return ()


def trained_width(model: Any) -> int | None:
    """Number of columns the model was trained on, where it says so."""
    for part in parts(model):
        width = getattr(part, "n_features_in_", None)
        if width is not None:
            return int(width)
    return None


def missing_text(model: Any) -> object:
    """What stood for a missing string in training: ``None`` where a fitted part knows it as that, else NaN."""
    for part in parts(model):
        for levels in getattr(part, "categories_", ()):
            if any(level is None for level in np.asarray(levels, dtype=object).tolist()):
                return None
        if getattr(part, "missing_values", np.nan) is None:
            return None
    return np.nan


def class_names(model: Any) -> tuple[str, ...]:
    """Class labels as text, in the order of the probability columns."""
    return tuple(str(label) for label in np.asarray(model.classes_).tolist())


def model_class(model: Any) -> str:
    """``Pipeline(HistGradientBoostingClassifier)`` or the class's own name."""
    steps = getattr(model, "steps", None)
    if steps:
        return f"{type(model).__name__}({type(steps[-1][1]).__name__})"
    return type(model).__name__
