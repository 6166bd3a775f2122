"""Rows as a scikit-learn model was trained on them, and as the tensors of its ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelwright.core.errors import BadInputError
from modelwright.core.signature import Feature, Signature, TensorSpec
from modelwright.core.table import Column, Table, missing
from modelwright.features.describe import describe
from modelwright.native.estimators import missing_text, parts, trained_names, trained_width


@dataclass(frozen=True, slots=True)
class Layout:
    """How a model takes its columns.

    ``names`` are the columns in training order; ``frame``: it was trained on named columns; ``joined``: the package
    takes one tensor ``X``; ``matrix``: the converter must be given one tensor, which the package may still take apart.
    """

    names: tuple[str, ...]
    frame: bool
    joined: bool
    matrix: bool


@dataclass(frozen=True, slots=True)
class Typing:
    """One way to type the inputs; ``datatypes`` maps column name to an Open Inference Protocol datatype."""

    name: str
    datatypes: Mapping[str, str]


def layout_of(model: Any, rows: Table) -> Layout:
    """Which columns the model takes, and how.

    Raises:
        BadInputError: ``pack.missing-column``, ``pack.wrong-columns`` or ``pack.unsupported-column``.
    """
    known, width = trained_names(model), trained_width(model)
    names = known or rows.names
    absent = [name for name in names if name not in rows]
    if absent:
        raise BadInputError(
            "pack.missing-column",
            f"The examples have no column {absent[0]!r}.",
            why=f"The model was trained on {', '.join(names)}.",
            fix="Give the examples with the columns of the training data.",
        )
    if width is not None and len(names) != width:
        raise BadInputError(
            "pack.wrong-columns",
            f"The examples have {len(names)} columns; the model was trained on {width}.",
            fix="Give the feature columns only, in the order of the training data.",
        )
    times = [name for name in names if rows[name].dtype.kind in "mM"]
    if times:
        raise BadInputError(
            "pack.unsupported-column",
            f"Column {times[0]!r} holds times.",
            fix="Turn times into numbers (hour, weekday, seconds) before the model sees them.",
        )
    text = any(rows[name].dtype == object for name in names)
    by_column = any(type(part).__name__ == "ColumnTransformer" for part in parts(model))
    joined = not known and not text
    return Layout(names, frame=bool(known), joined=joined, matrix=joined or not (text or by_column))


def as_trained(model: Any, layout: Layout, rows: Table) -> Any:
    """The rows as the model saw them in training: a data frame by name, or an array."""
    if not layout.frame:
        return _as_array(layout, rows)
    import pandas as pd  # lazy: only a model that was trained on data frames needs it

    gap = missing_text(model)
    return pd.DataFrame(
        {
            name: pd.Series(_with_gap(rows[name], gap), dtype=object) if rows[name].dtype == object else rows[name]
            for name in layout.names
        }
    )


def _as_array(layout: Layout, rows: Table) -> Any:
    columns = [rows[name] for name in layout.names]
    if not layout.joined:
        return np.stack([_with_gap(column, np.nan).astype(object) for column in columns], axis=1)
    kinds = {column.dtype for column in columns}
    return np.stack(columns, axis=1) if len(kinds) == 1 else np.stack([c.astype(np.float64) for c in columns], axis=1)


def _with_gap(column: Column, gap: object) -> Column:
    if column.dtype != object:
        return column
    absent = missing(column)
    filled = column.copy()
    filled[absent] = gap
    return filled


def typings(layout: Layout, rows: Table) -> list[Typing]:
    """The input typings worth trying, the plainest first."""
    texts = {name for name in layout.names if rows[name].dtype == object}
    bools = {name for name in layout.names if rows[name].dtype == bool}
    ints = {name for name in layout.names if rows[name].dtype.kind in "iu"}

    def typed(number: str, whole: str, flag: str) -> dict[str, str]:
        kinds = dict.fromkeys(layout.names, number)
        kinds |= dict.fromkeys(ints, whole) | dict.fromkeys(bools, flag) | dict.fromkeys(texts, "BYTES")
        return {name: kinds[name] for name in layout.names}

    wanted = [
        Typing("FP32", typed("FP32", "FP32", "FP32")),
        Typing("FP32, INT64", typed("FP32", "INT64", "INT64")),
        Typing("FP32, INT64, BOOL", typed("FP32", "INT64", "BOOL")),
        Typing("FP64", typed("FP64", "FP64", "FP64")),
        Typing("FP64, INT64", typed("FP64", "INT64", "INT64")),
    ]
    kept: list[Typing] = []
    for typing in wanted:
        one_kind = len(set(typing.datatypes.values())) == 1
        if (one_kind or not layout.matrix) and all(typing.datatypes != other.datatypes for other in kept):
            kept.append(typing)
    return kept


def input_specs(layout: Layout, typing: Typing) -> tuple[TensorSpec, ...]:
    """The graph's inputs: ``X`` [-1, k] for an array model, else one [-1, 1] per column under the column's name."""
    if layout.joined:
        datatype = typing.datatypes[layout.names[0]]
        return (TensorSpec("X", datatype, (-1, len(layout.names)), layout.names),)
    return tuple(TensorSpec(name, typing.datatypes[name], (-1, 1), (name,)) for name in layout.names)


def converter_inputs(layout: Layout, typing: Typing) -> list[tuple[str, str, int]]:
    """Name, datatype and width of the inputs as the converter must be told of them."""
    if layout.matrix:
        return [("X", typing.datatypes[layout.names[0]], len(layout.names))]
    return [(name, typing.datatypes[name], 1) for name in layout.names]


def features(layout: Layout, rows: Table, null_as: str) -> tuple[Feature, ...]:
    """Every column described by the examples."""
    return tuple(describe(name, [rows[name]], null_as=null_as) for name in layout.names)


def input_signature(specs: tuple[TensorSpec, ...], described: tuple[Feature, ...]) -> Signature:
    """A signature of inputs alone, enough to make feeds."""
    used = {name for spec in specs for name in spec.features}
    return Signature(specs, (), tuple(feature for feature in described if feature.name in used))
