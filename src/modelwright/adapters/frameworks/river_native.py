"""A model of river: its signature from the examples and from what it answers to them, one row at a time.

Runs in the jailed process only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from modelwright.adapters.frameworks.environment import environment
from modelwright.adapters.frameworks.examples import require_examples
from modelwright.adapters.frameworks.families import Asked
from modelwright.adapters.frameworks.native_answers import (
    Outputs,
    native_typings,
    stands_alone,
)
from modelwright.adapters.frameworks.native_columns import column_inputs, proven_by_columns
from modelwright.adapters.frameworks.sklearn_graph import LABEL, SCORES, VALUE
from modelwright.core.errors import BadInputError
from modelwright.core.native import Native
from modelwright.core.signature import Signature
from modelwright.core.table import Table
from modelwright.features.columns import feeds
from modelwright.features.tabular import rows_evenly
from modelwright.native.pickled import unpickled
from modelwright.native.river_model import asked_by, last_step, rows_of
from modelwright.ports.framework import Conversion

NATIVE = Native("river", "model.joblib", learns=True)
ORIGIN = "learned_from"
_ROWS = 500


def import_trusted() -> None:
    """Load what conversion needs before the jail closes."""
    import joblib  # noqa: F401 - loaded for those who import it later


def opened(asked: Asked) -> Any:
    """Unpickle the file.

    Raises:
        BadInputError: ``pack.wrong-route`` where ONNX is asked for, ``native.unreadable-model``.
    """
    _refuse_onnx(asked)
    return unpickled(asked.path)


def convert_opened(model: Any, asked: Asked) -> Conversion:
    """What a package needs to serve the model, and to let it go on learning.

    Raises:
        BadInputError: ``pack.wrong-route``, ``pack.unsupported-model``, ``pack.no-examples``, ``pack.not-fitted``.
        RefusedError: ``pack.native-differs``, ``pack.not-repeatable``.
    """
    _refuse_onnx(asked)
    last = last_step(model)
    if not (hasattr(last, "predict_one") or hasattr(last, "score_one")):
        raise BadInputError(
            "pack.unsupported-model",
            f"This {type(last).__name__} of river cannot predict.",
            why="It has neither predict_one nor score_one.",
            fix="Pack the pipeline that ends in the model.",
        )
    examples = require_examples(
        asked.examples,
        "A package keeps answers to some rows, to prove wherever it is loaded that the model gives them.",
    )
    rows = examples.take(rows_evenly(len(examples), _ROWS))
    exact = native_typings(rows, rows.names)[-1]
    own, classes = _own(model, column_inputs(examples, exact), rows)
    proven = proven_by_columns(NATIVE, asked.path, examples, rows, own, _meaning(own, classes), taken=own)
    apart = stands_alone(proven.run, proven.feeds)
    origin = asked.hints.options.get(ORIGIN, "")
    notes = {"route": "A model of river learns row by row, which a graph cannot: it runs as code."}
    notes |= {"rows": f"do not stand alone: {apart}"} if apart else {}
    return Conversion(
        onnx=b"",
        signature=replace(proven.signature, target=asked.target),
        parity=proven.parity,
        inputs=proven.feeds,
        outputs=proven.outputs,
        framework="river",
        framework_version=_version(),
        model_class=type(last).__name__,
        environment=environment(["river", "joblib", "typing_extensions"]),
        notes=notes | ({ORIGIN: origin} if origin else {}),
        row_independent=not apart,
        native=NATIVE,
    )


def _refuse_onnx(asked: Asked) -> None:
    if asked.route == "onnx":
        raise BadInputError(
            "pack.wrong-route",
            f"{asked.name} is a model of river, which runs as it is.",
            why="It learns row by row, which a graph cannot.",
            fix="Leave --onnx out.",
        )


def _own(model: Any, inputs: Signature, rows: Table) -> tuple[Outputs, tuple[str, ...]]:
    """What the model answers by itself, and its classes where it knows any."""
    said = [asked_by(model)(row) for row in rows_of(inputs, feeds(inputs, rows))]
    if any(value is None for value in said):
        raise BadInputError(
            "pack.not-fitted",
            f"The {type(last_step(model)).__name__} has no answer to some rows.",
            why="It has learned nothing yet.",
            fix="Call learn_one on some rows first.",
        )
    shares = _shares(model, inputs, rows)
    if not shares:
        answers = np.array(said)
        text = answers.dtype.kind == "U"
        return {VALUE: answers.astype(object) if text else answers}, ()
    known = sorted({key for share in shares for key in share} | set(said), key=lambda key: (str(type(key)), key))
    kinds = {type(key) for key in known}
    labels = np.array(said) if kinds <= {bool} or kinds <= {int} else np.array([str(key) for key in said], dtype=object)
    scores = np.array([[share.get(key, 0.0) for key in known] for share in shares], dtype=np.float64)
    return {LABEL: labels, SCORES: scores}, tuple(str(key) for key in known)


def _shares(model: Any, inputs: Signature, rows: Table) -> list[dict[Any, float]]:
    """Probabilities by class of each row; nothing where the model gives none."""
    if not hasattr(last_step(model), "predict_proba_one"):
        return []
    try:
        found = [model.predict_proba_one(row) for row in rows_of(inputs, feeds(inputs, rows))]
    except NotImplementedError:
        return []
    return found if any(found) else []


def _meaning(own: Outputs, classes: tuple[str, ...]) -> dict[str, Any]:
    if len(classes) > 1:
        task = "binary" if len(classes) == 2 else "multiclass"
        return {"task": task, "classes": classes, "label_output": LABEL, "score_output": SCORES}
    if own.get(VALUE, np.array([""])).dtype.kind == "f":
        return {"task": "regression", "label_output": VALUE}
    return {}


def _version() -> str:
    from importlib.metadata import version  # lazy: only packing asks

    return version("river")
