"""Parquet bodies to a table.

DuckDB reads them: from memory, in one thread, with bounded memory, no way to any other file, and no extension.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec

from modelwright.core.errors import BadInputError, TooLargeError
from modelwright.interfaces.http.dialects.csv_rows import Table

if TYPE_CHECKING:
    import duckdb

MAX_CELLS = 2**18
MAX_TEXT = 32 * 2**20
"""Characters in all cells together: a repeated text costs a Parquet file nothing."""
MAX_COLUMNS = 4096
_MEMORY = "128MB"
_CHUNK_ROWS = 2048  # of DuckDB's vectors
_TYPES = frozenset(
    {"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "FLOAT",
     "DOUBLE", "VARCHAR"}
)  # fmt: skip


def read(body: bytes, known: Collection[str]) -> Table:
    """The table; NaN is null, as pandas writes it. ``known`` are the columns a table may have.

    Raises:
        BadInputError: ``serve.bad-parquet``, ``serve.unknown-input``.
        TooLargeError: ``serve.too-many-cells``.
    """
    import duckdb  # lazy: 100 ms, and few gateways ever see Parquet

    descriptor = os.memfd_create("rows", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(body)
        with closing(_connect(path := f"/proc/self/fd/{descriptor}")) as connection:
            return _table(connection, path, known)
    except (duckdb.Error, UnicodeDecodeError, OverflowError) as error:
        raise BadInputError(
            "serve.bad-parquet", "The body is no Parquet file that can be read.", why=f"{str(error)[:200]}."
        ) from error
    finally:
        os.close(descriptor)


def _connect(path: str) -> duckdb.DuckDBPyConnection:
    import duckdb

    connection = duckdb.connect(
        config={
            "threads": 1,
            "memory_limit": _MEMORY,
            "temp_directory": "",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )
    connection.execute(f"SET allowed_paths = ['{path}']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _table(connection: duckdb.DuckDBPyConnection, path: str, known: Collection[str]) -> Table:
    promised = connection.execute("SELECT sum(num_rows) FROM parquet_file_metadata(?)", [path]).fetchall()[0][0]
    described = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [path]).fetchmany(MAX_COLUMNS)
    names = [str(name) for name, *_ in described]
    for name, kind, *_ in described:
        if name not in known:
            raise BadInputError(
                "serve.unknown-input",
                f"The model has no column {name[:100]!r}.",
                fix=f"The columns: {', '.join(known)}. From pandas: to_parquet(..., index=False).",
            )
        if kind not in _TYPES:
            raise BadInputError("serve.bad-parquet", f"Column {name[:100]!r} is of type {kind[:50]}: no plain value.")
    if promised * len(names) > MAX_CELLS:
        raise _too_many()
    columns = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
    result = connection.execute(f"SELECT {columns} FROM read_parquet(?)", [path])  # noqa: S608 - names are quoted
    rows: list[list[bytes]] = []
    text = 0
    while chunk := result.fetchmany(_CHUNK_ROWS):
        rows += map(_row, chunk)
        text += sum(len(value) for row in chunk for value in row if isinstance(value, str))
        if len(rows) * len(names) > MAX_CELLS or text > MAX_TEXT:
            raise _too_many()
    return names, rows


def _row(values: Sequence[Any]) -> list[bytes]:
    """The row's values as JSON; NaN becomes null."""
    if any(type(value) is float and math.isinf(value) for value in values):
        raise BadInputError("serve.bad-parquet", "A value is infinite.")
    return list(map(msgspec.json.encode, values))


def _too_many() -> TooLargeError:
    return TooLargeError(
        "serve.too-many-cells",
        f"A Parquet body may hold {MAX_CELLS} cells and {MAX_TEXT} characters.",
        fix="Send fewer rows at a time.",
    )
