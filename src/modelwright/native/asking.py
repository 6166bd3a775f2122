"""What a fitted estimator is asked for each output of a package, by the output's name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_METHODS = {"probabilities": "predict_proba", "score": "decision_function"} | dict.fromkeys(
    ("distances", "transformed"), "transform"
)


def ask(model: Any, names: Sequence[str], rows: Any) -> dict[str, Any]:
    """The answers by name; each method of the model is called once.

    ``probabilities`` are ``predict_proba``, ``score`` is ``decision_function``, ``distances`` and ``transformed`` are
    ``transform``, any other name is ``predict``. A number at the end, as in ``label_1``, is the place of a target.
    """
    said: dict[str, Any] = {}
    answers = {}
    for name in names:
        stem, target = _target(name)
        method = _METHODS.get(stem, "predict")
        if method not in said:
            said[method] = _dense(getattr(model, method)(rows))
        answers[name] = said[method] if target is None else _of_target(said[method], target)
    return answers


def _target(name: str) -> tuple[str, int | None]:
    stem, _, place = name.rpartition("_")
    return (stem, int(place)) if stem and place.isdecimal() else (name, None)


def _of_target(answer: Any, target: int) -> Any:
    """Of a list one item, of a matrix [n, targets] one column."""
    return answer[target] if isinstance(answer, list) else np.asarray(answer)[:, target]


def _dense(answer: Any) -> Any:
    return answer.toarray() if hasattr(answer, "toarray") else answer
