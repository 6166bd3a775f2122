"""The one mapping between a model's tensors and named columns: serving, recording, checking and reports all use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import BadInputError
from modelwright.core.signature import DATATYPES, Feature, Signature, TensorSpec
from modelwright.core.table import Column, Table, missing


def _text(column: Column, null_as: str | None) -> Column:
    """Strings; a missing value becomes ``null_as`` (an empty string where the signature names none)."""
    replacement = "" if null_as is None else null_as
    absent = missing(column)
    return np.array(
        [replacement if gone else str(value) for value, gone in zip(column, absent, strict=True)], dtype=object
    )


def _numbers(column: Column, spec: TensorSpec, name: str) -> Column:
    dtype = DATATYPES[spec.datatype]
    if column.dtype == object:
        column = np.array([np.nan if value is None else value for value in column])
    if column.dtype.kind not in "biuf":
        raise BadInputError(
            "features.not-a-number",
            f"Column {name!r} holds text where the model takes {spec.datatype}.",
            fix="Give numbers, or pack the model with this column as a category.",
        )
    if dtype.kind in "iub" and column.dtype.kind == "f" and np.isnan(column).any():
        raise BadInputError(
            "features.missing-value",
            f"Column {name!r} has missing values; the model takes {spec.datatype}.",
            why="No value was missing in that column when the model was packed, and whole numbers have no missing one.",
            fix="Fill the gaps, or pack the model with examples that have gaps there.",
        )
    if dtype.kind in "iu" and column.dtype.kind == "f" and not (column == np.floor(column)).all():
        raise BadInputError(
            "features.not-whole",
            f"Column {name!r} has fractions where the model takes {spec.datatype}.",
            fix="Give whole numbers.",
        )
    with np.errstate(over="ignore"):  # beyond the largest number of 32 bits is endless, as it is to the model
        return column.astype(dtype)


def feeds(signature: Signature, rows: Table) -> dict[str, NDArray[Any]]:
    """Input tensors for ``rows``: [n, 1] for a tensor of one feature, [n, k] for a tensor of k.

    Raises:
        BadInputError: ``features.missing-column`` or a value of the wrong type.
    """
    by_name: dict[str, Feature] = {feature.name: feature for feature in signature.features}
    tensors: dict[str, NDArray[Any]] = {}
    for spec in signature.inputs:
        names = spec.features or (spec.name,)
        absent = [name for name in names if name not in rows]
        if absent:
            raise BadInputError(
                "features.missing-column",
                f"The rows have no column {absent[0]!r}.",
                why=f"The model needs {', '.join(n for s in signature.inputs for n in (s.features or (s.name,)))}.",
                fix="Add the column, or name it as it was named when the model was trained.",
            )
        columns = []
        for name in names:
            feature = by_name.get(name)
            if spec.datatype == "BYTES":
                columns.append(_text(rows[name], feature.null_as if feature else None))
            else:
                columns.append(_numbers(rows[name], spec, name))
        tensors[spec.name] = np.stack(columns, axis=1)
    return tensors


def input_columns(signature: Signature, tensors: Mapping[str, NDArray[Any]]) -> dict[str, Column]:
    """Feature name to column, from input tensors ([n], [n, 1] or [n, k]); a missing string is ``None`` again.

    Tensors of more than two dimensions have no columns and are left out.
    """
    by_name: dict[str, Feature] = {feature.name: feature for feature in signature.features}
    columns: dict[str, Column] = {}
    for spec in signature.inputs:
        tensor = tensors.get(spec.name)
        if tensor is None or tensor.ndim > 2:
            continue
        matrix = tensor.reshape(len(tensor), -1)
        names = spec.features or ((spec.name,) if matrix.shape[1] == 1 else ())
        names = names or tuple(f"{spec.name}.{index}" for index in range(matrix.shape[1]))
        for index, name in enumerate(names):
            columns[name] = _as_seen(matrix[:, index], by_name.get(name))
    return columns


def _as_seen(column: Column, feature: Feature | None) -> Column:
    """A tensor's column in the kind its feature was described with: text with gaps, booleans as booleans."""
    if feature is None:
        return column
    if column.dtype == object and feature.null_as is not None and feature.null_as not in feature.categories:
        return np.array([None if value == feature.null_as else value for value in column], dtype=object)
    if feature.kind == "boolean" and column.dtype.kind in "iuf" and np.isin(column, (0, 1)).all():
        return column.astype(np.bool_)
    return column


def output_columns(signature: Signature, tensors: Mapping[str, NDArray[Any]]) -> dict[str, Column]:
    """Output tensors as columns: ``<tensor>`` if [n] or [n, 1], ``<tensor>.<class>`` for scores, else ``<tensor>.<i>``.

    Tensors of more than two dimensions are left out.
    """
    columns: dict[str, Column] = {}
    for name, tensor in tensors.items():
        if tensor.ndim == 0 or tensor.ndim > 2:
            continue
        matrix = tensor.reshape(len(tensor), -1)
        width = matrix.shape[1]
        if width == 1:
            columns[name] = matrix[:, 0]
            continue
        scored = name == signature.score_output and len(signature.classes) == width
        suffixes = signature.classes if scored else tuple(str(index) for index in range(width))
        columns.update({f"{name}.{suffix}": matrix[:, index] for index, suffix in enumerate(suffixes)})
    return columns


def score_column(signature: Signature) -> str:
    """The column that is *the* prediction: P(second class) if binary, the value if regression, else the label."""
    if signature.task == "binary" and signature.score_output:
        return f"{signature.score_output}.{signature.classes[1]}"
    return signature.label_output


def table_of_rows(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Rows given as JSON objects, as columns: numbers and booleans become arrays, text and null object arrays.

    Raises:
        BadInputError: ``features.missing-column`` when a row lacks a column that the first one has.
    """
    names = list(rows[0]) if rows else []
    columns: dict[str, Column] = {}
    for name in names:
        if any(name not in row for row in rows):
            raise BadInputError(
                "features.missing-column",
                f"Not every row has the column {name!r}.",
                fix="Give every row the same columns; write null for a missing value.",
            )
        values = [row[name] for row in rows]
        textual = any(isinstance(value, str) for value in values)
        numbers = [np.nan if value is None else value for value in values]
        columns[name] = np.array(values, dtype=object) if textual else np.asarray(numbers)
    return Table(columns)
