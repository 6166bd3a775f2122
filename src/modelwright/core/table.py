"""Columns of rows: how tabular values travel between stages, without a data-frame library."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Table:
    """Named columns of equal length.

    A column is a one-dimensional array: ``bool``, a signed or unsigned integer, ``float32``/``float64``
    (missing = NaN), ``datetime64[us]`` (missing = NaT) or ``object`` holding ``str`` and ``None``
    (missing = ``None``).
    """

    columns: Mapping[str, Column]

    def __post_init__(self) -> None:
        lengths = {len(column) for column in self.columns.values()}
        if len(lengths) > 1:
            raise ValueError(f"columns differ in length: {sorted(lengths)}")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(self.columns)

    def take(self, rows: NDArray[Any] | slice) -> Table:
        """The rows selected by a mask, an index array or a slice, as a new table."""
        return Table({name: column[rows] for name, column in self.columns.items()})

    def select(self, names: Iterable[str]) -> Table:
        """The named columns, in that order."""
        return Table({name: self.columns[name] for name in names})

    def without(self, *names: str) -> Table:
        """Every column but the named ones."""
        return Table({name: column for name, column in self.columns.items() if name not in names})


def missing(column: Column) -> NDArray[np.bool_]:
    """True where the column's own missing marker (NaN, NaT, None) stands."""
    if column.dtype.kind in "fc":
        return np.isnan(column)
    if column.dtype.kind in "mM":
        return np.isnat(column)
    if column.dtype == object:
        return np.fromiter(
            (v is None or (isinstance(v, float) and math.isnan(v)) for v in column), dtype=bool, count=len(column)
        )
    return np.zeros(len(column), dtype=bool)


def as_sent(column: Column) -> Column:
    """A float32 column as float64, each value the shortest decimal that names it: 39.02 is 39.02 again.

    A plain cast gives 39.02000045776367. A tree that is trained on such values beside the originals puts split points
    between the two, where no 32-bit input can tell them apart. Other columns are given back as they are.
    """
    if column.dtype != np.float32:
        return column
    values, places = np.unique(column, return_inverse=True)
    return values.astype(str).astype(np.float64)[places]
