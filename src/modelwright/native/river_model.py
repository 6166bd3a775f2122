"""Opens a model of river: asked row by row, and able to learn from rows with their truth."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.signature import Signature
from modelwright.features.columns import input_columns
from modelwright.native.abilities import Abilities
from modelwright.native.pickled import unpickled

Feeds = Mapping[str, NDArray[Any]]


def open_river(file: Path, signature: Signature) -> Abilities:
    """Unpickle the model and give what answers tensors, what learns, and what gives the model's file anew.

    Raises:
        BadInputError: ``native.unreadable-model``.
    """
    model = unpickled(file)
    return Abilities(answering(model, signature), learn=_learner(model, signature), content=lambda: content(model))


def content(model: Any) -> bytes:
    """The model as bytes of joblib's, as it is now."""
    import joblib  # lazy: only this loader needs it

    held = io.BytesIO()
    joblib.dump(model, held)
    return held.getvalue()


def rows_of(signature: Signature, feeds: Feeds) -> list[dict[str, Any]]:
    """Each row as river takes it: values of Python's own by name."""
    columns = {name: column.tolist() for name, column in input_columns(signature, feeds).items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def answering(model: Any, signature: Signature) -> Callable[[Feeds], dict[str, Any]]:
    """What answers tensors with the outputs that the signature names; nothing is learned by it."""
    label, scores = signature.label_output or signature.outputs[0].name, signature.score_output
    spec = signature.output(label)
    text = spec is not None and spec.datatype == "BYTES"
    classes = signature.classes
    ask = asked_by(model)

    def answer(feeds: Feeds) -> dict[str, Any]:
        rows = rows_of(signature, feeds)
        said = [ask(row) for row in rows]
        found = {label: np.array([str(value) for value in said], dtype=object) if text else np.array(said)}
        if scores:
            shares = [{str(key): share for key, share in model.predict_proba_one(row).items()} for row in rows]
            found[scores] = np.array([[share.get(name, 0.0) for name in classes] for share in shares], np.float64)
        return found

    return answer


def asked_by(model: Any) -> Callable[[dict[str, Any]], Any]:
    """The method that answers for one row: ``predict_one``, or ``score_one`` of a detector."""
    last = last_step(model)
    return model.predict_one if hasattr(last, "predict_one") else model.score_one  # type: ignore[no-any-return]


def last_step(model: Any) -> Any:
    """The model at the end of a pipeline."""
    steps = getattr(model, "steps", None)
    return last_step(list(steps.values())[-1]) if isinstance(steps, dict) and steps else model


def _learner(model: Any, signature: Signature) -> Callable[[Feeds, NDArray[Any] | None], None]:
    make: Callable[[Any], Any] | None = None
    if (spec := signature.output(signature.label_output)) is not None:
        make = {"BOOL": bool, "INT64": int, "BYTES": str}.get(spec.datatype, float)

    def learn(feeds: Feeds, truth: NDArray[Any] | None) -> None:
        rows = rows_of(signature, feeds)
        if truth is None:
            for row in rows:
                model.learn_one(row)
            return
        for row, value in zip(rows, np.asarray(truth).tolist(), strict=True):
            model.learn_one(row, value if make is None else make(value))

    return learn
