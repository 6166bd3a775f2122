"""Looking into a fitted estimator: its parts, and the columns it was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

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
