"""Input tensors as the rows that a model was trained on: a matrix where that is enough, else a data frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.signature import DATATYPES, Signature
from modelwright.core.table import Column, missing
from modelwright.features.columns import input_columns
from modelwright.native.estimators import missing_text, parts, trained_names

Feeds = Mapping[str, NDArray[Any]]
# scikit-learn's own parts that look at the names or kinds of columns; all others only check that names are the same.
_BY_NAME = frozenset({"ColumnTransformer", "FunctionTransformer"})


def row_maker(model: Any, signature: Signature) -> Callable[[Feeds], Any]:
    """What turns input tensors into what the model's ``predict`` takes.

    A model that was trained on named numbers and looks at no name is given a matrix, which answers the same in a
    fraction of the time; for that it is made to forget the names.
    """
    specs = signature.inputs
    text = any(spec.datatype == "BYTES" for spec in specs)
    names = trained_names(model)
    if len(specs) == 1 and not text and not names:
        only = specs[0].name
        return lambda feeds: feeds[only]
    if not text and (not names or _only_checks_names(model)):
        order = _inputs_in_order(signature, names)
        for part in parts(model):
            vars(part).pop("feature_names_in_", None)
        return lambda feeds: np.concatenate([feeds[name] for name in order], axis=1)
    columns = _columns(signature, missing_text(model))
    if not names:
        carried = _carried(signature)
        return lambda feeds: _matrix(columns(feeds), carried)
    return _frames(signature, names, columns)


def _only_checks_names(model: Any) -> bool:
    """True when every part is scikit-learn's own or says so, chooses no columns by name, passes on no data frames."""
    return all(
        (type(part).__module__.partition(".")[0] == "sklearn" or getattr(part, "only_checks_names", False))
        and type(part).__name__ not in _BY_NAME
        and not vars(part).get("_sklearn_output_config")
        for part in parts(model)
    )


def _carried(signature: Signature) -> tuple[str, ...]:
    return tuple(name for spec in signature.inputs for name in spec.features or (spec.name,))


def _inputs_in_order(signature: Signature, names: tuple[str, ...]) -> list[str]:
    """The inputs in the order of the trained columns."""
    inputs = {name: spec.name for spec in signature.inputs for name in spec.features or (spec.name,)}
    return list(dict.fromkeys(inputs[name] for name in names or tuple(inputs)))


def _columns(signature: Signature, gap: object) -> Callable[[Feeds], dict[str, Column]]:
    def columns(feeds: Feeds) -> dict[str, Column]:
        return {
            name: _with_gap(column, gap) if column.dtype == object else column
            for name, column in input_columns(signature, feeds).items()
        }

    return columns


def _with_gap(column: Column, gap: object) -> Column:
    absent = missing(column)
    if not absent.any():
        return column
    filled = column.copy()
    filled[absent] = gap
    return filled


def _matrix(columns: Mapping[str, Column], names: tuple[str, ...]) -> NDArray[Any]:
    """An object matrix [n, k]: text among the columns, no names."""
    return np.stack([columns[name].astype(object) for name in names], axis=1)


def _frames(
    signature: Signature, names: tuple[str, ...], columns: Callable[[Feeds], dict[str, Column]]
) -> Callable[[Feeds], Any]:
    """Data frames with the trained columns in order.

    Put together from runs of neighbours of one kind: pandas takes a block of columns as it is, and looks at each value
    of a column that it is given by itself.
    """
    import pandas as pd  # lazy: only a model that was trained on data frames needs it

    kinds = {name: DATATYPES[spec.datatype] for spec in signature.inputs for name in spec.features or (spec.name,)}
    runs = [(dtype, pd.Index(list(run))) for dtype, run in groupby(names, kinds.__getitem__)]

    def frame(feeds: Feeds) -> Any:
        held = columns(feeds)
        blocks = [
            pd.DataFrame(np.stack([held[name] for name in index], axis=1), columns=index, dtype=dtype, copy=False)
            for dtype, index in runs
        ]
        return blocks[0] if len(blocks) == 1 else pd.concat(blocks, axis=1)

    return frame
