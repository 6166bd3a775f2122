"""A source that holds tables in memory, and what every source must do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from modelwright.core.errors import BadInputError
from modelwright.core.table import Table
from modelwright.ports.source import Source


class InMemorySource:
    """Tables by path."""

    def __init__(self, tables: Mapping[Path, Table] | None = None) -> None:
        self.tables = dict(tables or {})

    def read(self, path: Path) -> Table:
        """The table written or given under that path."""
        table = self.tables.get(Path(path))
        if table is None:
            raise BadInputError("source.missing", f"{path} does not exist.")
        if not len(table):
            raise BadInputError("source.empty", f"{path} has no rows.")
        return table

    def write(self, table: Table, path: Path) -> None:
        """Keep the table."""
        self.tables[Path(path)] = table


def example_table() -> Table:
    """One column of every kind a Table holds, with missing values where the kind has them."""
    return Table(
        {
            "count": np.array([1, 2, 3, 4], dtype=np.int64),
            "size": np.array([0.5, np.nan, -1e300, 3.25]),
            "flag": np.array([True, False, False, True]),
            "name": np.array(["a", None, 'ß, "quoted"', "two\nlines"], dtype=object),
            "at": np.array(["2013-01-01T00:00:00.000001", "NaT", "1969-12-31", "2013-07-01"], dtype="datetime64[us]"),
        }
    )


class SourceConformance:
    """Subclass, and give fixtures ``source`` and ``path`` (a place to write to, with a suffix the source knows)."""

    def test_what_is_written_is_read_back(self, source: Source, path: Path) -> None:
        """Names, order, dtypes, values and missing values survive."""
        table = example_table()
        source.write(table, path)
        back = source.read(path)
        assert back.names == table.names
        for name, column in table.columns.items():
            assert back[name].dtype == column.dtype, name
            assert str(back[name].tolist()) == str(column.tolist()), name

    def test_writing_again_replaces(self, source: Source, path: Path) -> None:
        """The last table wins whole."""
        source.write(example_table(), path)
        source.write(example_table().take(slice(0, 1)), path)
        assert len(source.read(path)) == 1

    def test_a_missing_file_says_so(self, source: Source, path: Path) -> None:
        """The code is stable."""
        with pytest.raises(BadInputError) as caught:
            source.read(path.with_name(f"missing-{path.name}"))
        assert caught.value.code == "source.missing"

    def test_a_table_without_rows_is_refused_on_reading(self, source: Source, path: Path) -> None:
        """Nothing can be done with no rows."""
        source.write(Table({"x": np.array([], dtype=np.float64)}), path)
        with pytest.raises(BadInputError) as caught:
            source.read(path)
        assert caught.value.code == "source.empty"
