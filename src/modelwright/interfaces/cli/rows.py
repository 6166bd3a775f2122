"""Rows as they are given on the command line: a file, standard input, or JSON."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelwright.core.errors import BadInputError
from modelwright.interfaces.cli.session import existing_file

if TYPE_CHECKING:
    from modelwright.core.table import Table
    from modelwright.ports.source import Source


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows: ``table`` has them as columns, ``tensors`` is the JSON object where one was written."""

    table: Table
    tensors: dict[str, Any] = field(default_factory=dict)

    @property
    def nested(self) -> bool:
        """True when the object holds tensors: a value that is a list."""
        return any(isinstance(value, list) for value in self.tensors.values())


def read_rows(argument: str, source: Source | None) -> Rows:
    """The rows of a file, of standard input (``-``) or of a JSON object; without a source only the last.

    Raises:
        BadInputError: ``predict.bad-rows``, ``cli.*``, ``source.*``.
    """
    if source is not None and argument == "-":
        return Rows(_piped(source))
    if source is not None and not argument.lstrip().startswith(("{", "[")):
        return Rows(source.read(existing_file(argument.removeprefix("@"), "data file")))
    from modelwright.core.table import Table  # lazy: NumPy
    from modelwright.features.columns import table_of_rows

    row = _object(argument)
    nested = any(isinstance(value, list) for value in row.values())
    return Rows(Table({}) if nested else table_of_rows([row]), row)


def _piped(source: Source) -> Table:
    """Standard input, whose first bytes tell its format."""
    content = sys.stdin.buffer.read()
    if not content.strip():
        raise BadInputError("predict.bad-rows", "Standard input is empty.", fix="Pipe rows: CSV, JSON or Parquet.")
    suffix = ".csv"
    if content.startswith(b"PAR1"):
        suffix = ".parquet"
    elif content.lstrip()[:1] in (b"{", b"["):
        suffix = ".json"
    with tempfile.TemporaryDirectory(prefix="modelwright-") as folder:
        path = Path(folder) / f"standard-input{suffix}"
        path.write_bytes(content)
        return source.read(path)


def _object(argument: str) -> dict[str, Any]:
    """One row as a JSON object.

    Raises:
        BadInputError: ``predict.bad-rows``.
    """
    try:
        row = json.loads(argument)
    except json.JSONDecodeError as error:
        raise BadInputError(
            "predict.bad-rows",
            "The row is not valid JSON.",
            why=f"{error.msg} at character {error.pos + 1}.",
            fix="""Write '{"name": value, ...}' in single quotes (a file, @rows.csv, needs a model with columns).""",
        ) from error
    if not isinstance(row, dict):
        raise BadInputError(
            "predict.bad-rows",
            "One row is a JSON object of column names and values.",
            fix="""Write '{"column": value, ...}'; several rows go in a file: @rows.csv.""",
        )
    return row
