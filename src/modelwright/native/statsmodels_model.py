"""Opens the results of a fitted statsmodels model, of a formula or of a matrix."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import BadInputError
from modelwright.core.signature import Signature
from modelwright.core.table import Column
from modelwright.features.columns import input_columns
from modelwright.native.pickled import unpickled

Feeds = Mapping[str, NDArray[Any]]


def open_statsmodels(file: Path, signature: Signature) -> Callable[[Feeds], dict[str, Any]]:
    """Unpickle the results and give what answers tensors: the expected value, or the classes' probabilities.

    Raises:
        BadInputError: ``native.unreadable-model``.
    """
    return answering(unpickled(file), signature)


def answering(results: Any, signature: Signature) -> Callable[[Feeds], dict[str, Any]]:
    """What answers tensors with ``predict`` of the results: as label and scores where the signature names scores."""
    names = [name for spec in signature.inputs for name in spec.features or (spec.name,)]
    label, scores = signature.label_output, signature.score_output
    text = scores and (spec := signature.output(label)) is not None and spec.datatype == "BYTES"
    classes = np.array(signature.classes, dtype=object) if text else np.array([int(c) for c in signature.classes])

    def answer(feeds: Feeds) -> dict[str, Any]:
        expected = np.asarray(results.predict(design(results, names, input_columns(signature, feeds))), np.float64)
        if not scores:
            return {label: expected.reshape(-1)}
        shares = np.stack([1.0 - expected, expected], axis=1) if expected.ndim == 1 else expected
        return {label: classes[np.nan_to_num(shares).argmax(axis=1)], scores: shares}

    return answer


def used(results: Any, available: Sequence[str]) -> tuple[str, ...]:
    """The columns that the model takes: those that its formula names, or those of its matrix without the constant.

    Raises:
        BadInputError: ``pack.missing-column``, ``pack.wrong-columns``, ``pack.unsupported-model``.
    """
    formula = getattr(results.model, "formula", None)
    if formula:
        right = str(formula).partition("~")[2]
        return tuple(name for name in available if re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", right))
    terms, constant = _terms(results)
    named = hasattr(getattr(results.model.data, "orig_exog", None), "columns")
    if named:
        wanted = [term for index, term in enumerate(terms) if index != constant or term in available]
        absent = [term for term in wanted if term not in available]
        if absent:
            raise BadInputError(
                "pack.missing-column",
                f"The examples have no column {absent[0]!r}.",
                why=f"The model was trained on {', '.join(wanted)}.",
                fix="Give the examples with the columns of the training data; the constant may be left out.",
            )
        return tuple(wanted)
    if len(available) not in {len(terms), len(terms) - (constant is not None)}:
        raise BadInputError(
            "pack.wrong-columns",
            f"The examples have {len(available)} columns; the model was trained on {len(terms)}.",
            fix="Give the feature columns only, in the order of the training data.",
        )
    return tuple(available)


def design(results: Any, names: Sequence[str], columns: Mapping[str, Column]) -> Any:
    """What ``predict`` takes: a data frame for a formula, else the matrix with its constant."""
    if getattr(results.model, "formula", None):
        import pandas as pd  # lazy: formulas need it

        return pd.DataFrame({name: columns[name] for name in names})
    terms, constant = _terms(results)
    rows = len(columns[names[0]])
    held = [columns[name].astype(np.float64) for name in names]
    if constant is not None and len(held) < len(terms):
        held.insert(constant, np.ones(rows))
    return np.stack(held, axis=1)


def _terms(results: Any) -> tuple[list[str], int | None]:
    """The columns of the matrix, and which of them is the constant."""
    names = getattr(results.model, "exog_names", None)
    if not names or type(results.model).__module__.startswith("statsmodels.tsa."):
        raise BadInputError(
            "pack.unsupported-model",
            f"This {type(results.model).__name__} takes no rows.",
            why="It forecasts from its own past and not from rows.",
            fix="Wrap it in a model.py whose predict takes the horizon (docs/how-to/native-models.md).",
        )
    constant = getattr(results.model.data, "const_idx", None)
    return [str(name) for name in names], None if constant is None else int(constant)
