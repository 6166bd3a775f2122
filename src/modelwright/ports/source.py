"""Reading users' data files."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from modelwright.core.table import Table


class Source(Protocol):
    """Tabular data by path (``.parquet``, ``.csv``, ``.csv.gz``, ``.json``, ``.jsonl``)."""

    def read(self, path: Path) -> Table:
        """All rows. Raises BadInputError (``source.missing``, ``source.unreadable``, ``source.empty``)."""
        ...

    def write(self, table: Table, path: Path) -> None:
        """Write by suffix, atomically."""
        ...
