"""What a fitted scikit-learn object is, and whether it can be packed at all."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelwright.core.errors import BadInputError


def require_supported(model: Any) -> str:
    """What a fitted scikit-learn estimator is.

    ``classifier``, ``regressor``, ``outliers``, ``clusters``, ``transformer``, or ``other`` for whatever else predicts.

    Raises:
        BadInputError: ``pack.unsupported-model`` or ``pack.not-fitted``.
    """
    from sklearn.exceptions import NotFittedError  # lazy: only packing needs scikit-learn
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
    return _kind(model)


def _kind(model: Any) -> str:
    from sklearn.base import is_classifier, is_clusterer, is_outlier_detector, is_regressor  # lazy: as above

    predicts = callable(getattr(model, "predict", None))
    if predicts and is_classifier(model):
        return "classifier"
    if predicts and is_regressor(model):
        return "regressor"
    if predicts and is_outlier_detector(model):
        return "outliers"
    if predicts and (is_clusterer(model) or hasattr(model, "predict_proba")):
        return "clusters"
    if predicts:
        return "other"
    if callable(getattr(model, "transform", None)):
        return "transformer"
    raise BadInputError(
        "pack.unsupported-model",
        f"This {type_name(model)} can neither predict nor transform new rows.",
        why="It has no method predict and no method transform: what it found holds for its training rows alone.",
        fix=_instead(model),
    )


def _instead(model: Any) -> str:
    if hasattr(model, "fit_predict"):
        name = type(model).__name__
        if name == "LocalOutlierFactor":
            return "Fit it with novelty=True."
        return f"Train a classifier on the labels that {name}.fit_predict gives, or use KMeans, and pack that."
    return "Pack the pipeline that ends in the model."


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
