"""A booster as an estimator of scikit-learn, so that it is laid out, converted and proven as one."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from modelwright.core.errors import BadInputError
from modelwright.native.boosters import Booster, Library

ROOTS: tuple[Library, ...] = ("xgboost", "lightgbm", "catboost")


class _Boosted(BaseEstimator):  # type: ignore[misc]
    """A trained ``booster``."""

    only_checks_names = True

    def __init__(self, booster: Any = None) -> None:
        self.booster = booster
        _take(self, booster)

    def fit(self, rows: Any, truth: Any) -> Any:
        """Nothing: it came trained."""
        del rows, truth
        return self

    def predict(self, rows: Any) -> Any:
        """Labels or values [n]."""
        return self.booster.predict(rows)


class BoostedClassifier(ClassifierMixin, _Boosted):  # type: ignore[misc]
    """Labels and probabilities of ``booster``."""

    def predict_proba(self, rows: Any) -> Any:
        """Probabilities [n, classes]."""
        return self.booster.predict_proba(rows)


class BoostedRegressor(RegressorMixin, _Boosted):  # type: ignore[misc]
    """Values of ``booster``."""


def _take(estimator: Any, booster: Booster | None) -> None:
    for name in ("classes_", "feature_names_in_", "n_features_in_"):
        if hasattr(booster, name):
            setattr(estimator, name, getattr(booster, name))


def library_of(model: object) -> Library | None:
    """Whose model this is, by the module of its class."""
    root = type(model).__module__.partition(".")[0]
    return next((name for name in ROOTS if name == root), None)


def estimator(booster: Booster) -> Any:
    """The booster as an estimator."""
    return (BoostedClassifier if booster.classifies else BoostedRegressor)(booster)


def boosted(model: Any, classes: tuple[Any, ...] = ()) -> Booster:
    """A library's booster, or the estimator that the library made around one.

    A raw booster answers from all its rounds, an estimator from the best ones, as they do by themselves.

    Raises:
        BadInputError: ``pack.not-fitted``, ``pack.unsupported-model``.
    """
    library = library_of(model)
    assert library is not None
    kind = type(model).__name__
    if library == "catboost":
        if not model.is_fitted():
            raise _not_fitted(kind)
        return Booster(library, model, classes)
    if kind == "Booster":
        return Booster(library, model, classes, every=library == "xgboost")
    if not hasattr(model, "get_params") or kind == "DMatrix":
        raise BadInputError(
            "pack.unsupported-model",
            f"A {library} {kind} is no model.",
            fix="Give the trained Booster, or the estimator with fit and predict.",
        )
    try:
        inner = model.get_booster() if library == "xgboost" else model.booster_
    except Exception as error:
        raise _not_fitted(kind) from error
    if library == "xgboost" and not np.isnan(model.missing):
        raise BadInputError(
            "pack.unsupported-model",
            f"The {kind} takes {model.missing:g} for a missing value.",
            why="The library's own file does not keep that, and NaN is what is missing here.",
            fix="Train with missing=numpy.nan, with NaN where a value is missing.",
        )
    return Booster(library, inner, classes or tuple(getattr(model, "classes_", ())))


def _not_fitted(kind: str) -> BadInputError:
    return BadInputError(
        "pack.not-fitted",
        f"The {kind} is not fitted.",
        why="Only a trained model can be packed.",
        fix="Call fit(X, y) first.",
    )
