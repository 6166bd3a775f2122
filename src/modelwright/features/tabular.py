"""Users' rows (data frames, arrays, dictionaries) as a Table, by their shape: no data-frame library is imported."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import BadInputError
from modelwright.core.table import Column, Table, missing


def table(rows: Any, names: Sequence[str] = ()) -> Table:
    """Rows as a Table.

    Args:
        rows: a Table, a data frame of pandas or polars, an Arrow table, a mapping of columns, a list of row
            dictionaries, or a two-dimensional array or nested list ([n, k]).
        names: the k column names of an array; ``x0`` ... ``x<k-1>`` when not given.

    Raises:
        BadInputError: ``features.not-tabular``.
    """
    if isinstance(rows, Table):
        return rows
    if hasattr(rows, "get_columns") and hasattr(rows, "schema"):  # polars
        return Table({series.name: column(series.to_numpy()) for series in rows.get_columns()})
    if hasattr(rows, "column_names") and hasattr(rows, "schema"):
        return _from_arrow(rows)
    if hasattr(rows, "columns") and hasattr(rows, "dtypes"):
        return _from_frame(rows)
    if isinstance(rows, Mapping):
        return _same_length({str(name): column(values) for name, values in rows.items()})
    if isinstance(rows, list | tuple) and rows and all(isinstance(row, Mapping) for row in rows):
        keys = dict.fromkeys(key for row in rows for key in row)
        return Table({str(key): column([row.get(key) for row in rows]) for key in keys})
    if hasattr(rows, "toarray"):
        rows = rows.toarray()  # a sparse matrix
    return _from_array(rows, names)


def column(values: Any) -> Column:
    """Values as a Column of a Table's kinds: text missing as ``None``, numbers missing as NaN.

    A pandas-like Series keeps its meaning: categories become their values, nullable integers with gaps become
    float64, nullable booleans with gaps float64 (0, 1, NaN), times with a zone become UTC.
    """
    if isinstance(values, np.ndarray) and values.dtype != object:
        return _from_numpy(values)
    if hasattr(values, "isna") and hasattr(values, "dtype"):
        return _from_series(values)
    items = values if isinstance(values, Iterable) and not isinstance(values, str | bytes) else [values]
    return _infer(list(items))


def _from_frame(frame: Any) -> Table:
    names = _distinct([str(name) for name in frame.columns])
    return Table({name: column(frame.iloc[:, index]) for index, name in enumerate(names)})


def _from_arrow(rows: Any) -> Table:
    names = _distinct([str(name) for name in rows.column_names])
    columns = {}
    for index, name in enumerate(names):
        values = rows.column(index)
        if hasattr(values.type, "dictionary") or hasattr(values.type, "index_type"):
            values = values.cast(values.type.value_type)
        columns[name] = column(values.to_numpy(zero_copy_only=False))
    return Table(columns)


def _distinct(names: list[str]) -> list[str]:
    if len(set(names)) != len(names):
        raise BadInputError("features.not-tabular", "A column name occurs twice.", fix="Rename one of the columns.")
    return names


def _from_array(rows: Any, names: Sequence[str]) -> Table:
    matrix = np.asarray(rows)
    if matrix.ndim != 2:
        raise BadInputError(
            "features.not-tabular",
            f"The rows have {matrix.ndim} dimensions.",
            why="Rows and columns are needed: two dimensions.",
            fix="Give a data frame, a dictionary of columns, or an array of shape [rows, columns].",
        )
    known = list(names) or [f"x{index}" for index in range(matrix.shape[1])]
    if len(known) != matrix.shape[1]:
        raise BadInputError(
            "features.not-tabular",
            f"The rows have {matrix.shape[1]} columns, the model knows {len(known)}.",
            fix=f"Give the columns {', '.join(known[:8])}{' ...' if len(known) > 8 else ''}, in that order.",
        )
    return Table({str(name): column(matrix[:, index]) for index, name in enumerate(known)})


def _same_length(columns: dict[str, Column]) -> Table:
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise BadInputError(
            "features.not-tabular",
            f"The columns differ in length: {sorted(lengths)}.",
            fix="Give one value of every column for each row.",
        )
    return Table(columns)


def _from_numpy(values: NDArray[Any]) -> Column:
    flat = values.reshape(-1) if values.ndim == 1 or values.size == len(values) else values
    if flat.ndim != 1:
        raise BadInputError(
            "features.not-tabular",
            f"A column has shape {list(values.shape)}.",
            fix="Give each column as one value per row.",
        )
    kind = flat.dtype.kind
    if kind in "biu":
        return flat
    if kind == "f":
        return flat if flat.dtype in (np.float32, np.float64) else flat.astype(np.float64)
    if kind == "M":
        return flat.astype("datetime64[us]")
    if kind in "US":
        return np.array([_word(value) for value in flat.tolist()], dtype=object)
    if kind == "O":
        return _infer(flat.tolist())
    raise BadInputError(
        "features.not-tabular",
        f"Values of type {flat.dtype} cannot be used.",
        fix="Turn them into numbers, booleans or text.",
    )


def _from_series(series: Any) -> Column:
    dtype = series.dtype
    if isinstance(dtype, np.dtype) and dtype.kind != "O":
        return _from_numpy(np.asarray(series))
    if getattr(dtype, "tz", None) is not None:
        return np.asarray(series.dt.tz_convert("UTC").dt.tz_localize(None)).astype("datetime64[us]")
    absent = np.asarray(series.isna(), dtype=bool)
    values = np.asarray(series.astype(object), dtype=object)
    return _infer([None if gone else value for value, gone in zip(values, absent, strict=True)])


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def _infer(items: list[Any]) -> Column:
    """The narrowest kind that holds every value; mixed values are text."""
    present = [item for item in items if not _is_missing(item)]
    gaps = len(present) < len(items)
    if present and all(isinstance(item, bool | np.bool_) for item in present):
        return _numbers(items, np.float64) if gaps else np.array(items, dtype=bool)
    if all(isinstance(item, int | float | np.number) and not isinstance(item, bool) for item in present) and (
        present or any(isinstance(item, float) for item in items)
    ):
        whole = not gaps and all(isinstance(item, int | np.integer) for item in present)
        fits = whole and all(-(2**63) <= int(item) < 2**63 for item in present)
        return np.array(items, dtype=np.int64) if fits else _numbers(items, np.float64)
    if present and all(isinstance(item, dt.datetime | np.datetime64) for item in present):
        return np.array([_utc(item) for item in items], dtype="datetime64[us]")
    return np.array([None if _is_missing(item) else _word(item) for item in items], dtype=object)


def _numbers(items: list[Any], dtype: type[np.float64]) -> Column:
    return np.array([np.nan if _is_missing(item) else float(item) for item in items], dtype=dtype)


def _utc(item: Any) -> np.datetime64:
    if _is_missing(item):
        return np.datetime64("NaT")
    if isinstance(item, dt.datetime) and item.tzinfo is not None:
        item = item.astimezone(dt.UTC).replace(tzinfo=None)
    return np.datetime64(item, "us")


def _word(item: Any) -> str:
    return item.decode(errors="replace") if isinstance(item, bytes) else str(item)


def rows_evenly(count: int, cap: int) -> NDArray[np.intp]:
    """Indices of at most ``cap`` of ``count`` rows, evenly spaced, the first and the last among them."""
    if count <= cap:
        return np.arange(count)
    return np.linspace(0, count - 1, cap).round().astype(np.intp)


def has_gaps(values: Column) -> bool:
    """True when any value is missing."""
    return bool(missing(values).any())
