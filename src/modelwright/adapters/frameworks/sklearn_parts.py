"""What a fitted scikit-learn object is, and whether it can be packed at all."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelwright.core.errors import BadInputError


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


def class_names(model: Any) -> tuple[str, ...]:
    """Class labels as text, in the order of the probability columns."""
    return tuple(str(label) for label in np.asarray(model.classes_).tolist())


def model_class(model: Any) -> str:
    """``Pipeline(HistGradientBoostingClassifier)`` or the class's own name."""
    steps = getattr(model, "steps", None)
    if steps:
        return f"{type(model).__name__}({type(steps[-1][1]).__name__})"
    return type(model).__name__
