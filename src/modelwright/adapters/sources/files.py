"""Data files by suffix, read and written by DuckDB."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modelwright.core.errors import BadInputError
from modelwright.core.table import Column, Table, missing

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# The words for a missing value that R and pandas write; as pandas does, a category named like one of them is missing.
_CSV = "header = true, sample_size = -1, nullstr = ['', 'NA', 'N/A', 'NaN', 'nan', 'null', 'NULL']"
_READERS: Mapping[str, str] = {
    ".parquet": "read_parquet(?)",
    ".csv": f"read_csv(?, {_CSV})",
    ".csv.gz": f"read_csv(?, {_CSV})",
    ".tsv": f"read_csv(?, {_CSV}, delim = '\t')",
    ".json": "read_json(?, sample_size = -1)",
    ".jsonl": "read_json(?, format = 'newline_delimited', sample_size = -1)",
    ".ndjson": "read_json(?, format = 'newline_delimited', sample_size = -1)",
}
_WRITERS: Mapping[str, str] = {
    ".parquet": "FORMAT parquet, COMPRESSION zstd",
    ".csv": "FORMAT csv, HEADER true",
    ".tsv": "FORMAT csv, HEADER true, DELIMITER '\t'",
    ".json": "FORMAT json, ARRAY true",
    ".jsonl": "FORMAT json",
    ".ndjson": "FORMAT json",
}
# Reading a file never reaches for the network.
_CONFIG: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": "false"}
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
_TIMES = ("DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE")


class FileSource:
    """Reads and writes ``.parquet``, ``.csv``, ``.tsv``, ``.json``, ``.jsonl``, ``.ndjson``; also reads ``.csv.gz``."""

    def read(self, path: Path) -> Table:
        """All rows of a file.

        Whole numbers keep their width, with missing values they become float64; 128-bit whole numbers and decimals
        become float64; dates and times become ``datetime64[us]`` in UTC; booleans with missing values become objects
        ``"True"``, ``"False"`` and None; enumerations, UUIDs and times of day become text. In CSV an empty field,
        ``NA``, ``N/A``, ``NaN`` and ``null`` are missing, and of all words only ``true`` and ``false`` are booleans.

        Raises:
            BadInputError: ``source.missing``, ``source.unknown-format``, ``source.unreadable``, ``source.empty``.
        """
        path = Path(path)
        reader = _READERS[_format(path, _READERS)]
        if not path.is_file():
            raise _not_found(path)
        if _is_empty(path):
            raise BadInputError("source.empty", f"{path} is empty.", fix="Give a file with at least one row.")
        import duckdb  # lazy: most commands read no data file

        try:
            with duckdb.connect(config=_CONFIG) as connection:
                connection.execute("SET TimeZone = 'UTC'")
                query = f"DESCRIBE SELECT * FROM {reader}"  # noqa: S608 - fixed text
                described = connection.execute(query, [str(path)]).fetchall()
                types = {str(row[0]): str(row[1]) for row in described}
                if words := _words(connection, path, reader, types):
                    reader = _as_text(reader, words)
                    types |= dict.fromkeys(words, "VARCHAR")
                columns = _selected(types, path)
                query = f"SELECT {columns} FROM {reader}"  # noqa: S608 - quoted names and fixed text
                fetched = connection.execute(query, [str(path)]).fetchnumpy()
        except duckdb.Error as error:
            raise BadInputError(
                "source.unreadable",
                f"{path} cannot be read as {_format(path, _READERS)[1:]}.",
                why=_reason(error),
                fix="Check the file, or give one whose suffix is its format; text must be UTF-8.",
            ) from error
        table = Table({name: _column(values) for name, values in fetched.items()})
        if not len(table):
            raise BadInputError("source.empty", f"{path} has no rows.", fix="Give a file with at least one row.")
        return table

    def write(self, table: Table, path: Path) -> None:
        """Write by suffix: the file is there whole or not at all, and only its owner may read it.

        Raises:
            BadInputError: ``source.unknown-format``, ``source.unwritable``.
        """
        path = Path(path)
        options = _WRITERS[_format(path, _WRITERS)]
        import duckdb  # lazy: as in read

        chosen = ", ".join(_written(name, column, path) for name, column in table.columns.items())
        try:
            # A directory of our own: DuckDB makes the file anew, so only the directory can keep others out meanwhile.
            with tempfile.TemporaryDirectory(prefix=".modelwright-", dir=path.parent) as folder:
                finished = Path(folder) / "rows"
                with duckdb.connect(config=_CONFIG) as connection:
                    rows = _nullable(table)  # noqa: F841 - DuckDB finds the dictionary by this name
                    target = str(finished).replace("'", "''")
                    connection.execute(f"COPY (SELECT {chosen} FROM rows) TO '{target}' ({options})")  # noqa: S608 - quoted
                _publish(finished, path)
        except (OSError, duckdb.Error) as error:
            raise BadInputError(
                "source.unwritable",
                f"{path} cannot be written.",
                why=getattr(error, "strerror", None) or _reason(error),
                fix="Give a path in a directory that exists and that you may write to.",
            ) from error


def _as_text(reader: str, names: Sequence[str]) -> str:
    """A CSV reader that leaves these columns as they are written."""
    kept = ", ".join("'" + name.replace("'", "''") + "': 'VARCHAR'" for name in names)
    return f"{reader.removesuffix(')')}, types = {{{kept}}})"


def _words(connection: DuckDBPyConnection, path: Path, reader: str, types: Mapping[str, str]) -> list[str]:
    """Columns of a CSV file that DuckDB takes for booleans and that are words, such as yes and no, or t and f.

    To pandas, with which the model was trained, they are text, and its classes have those names.
    """
    truths = [name for name, kind in types.items() if kind == "BOOLEAN"]
    if not truths or not reader.startswith("read_csv"):
        return []
    tests = ", ".join(f"bool_and(lower({_quoted(name)}) IN ('true', 'false'))" for name in truths)
    query = f"SELECT {tests} FROM {_as_text(reader, truths)}"  # noqa: S608 - quoted names and fixed text
    row = connection.execute(query, [str(path)]).fetchone() or ()
    return [name for name, plain in zip(truths, row, strict=True) if plain is False]


def _is_empty(path: Path) -> bool:
    """True for no bytes, and for a JSON array of nothing, in which DuckDB sees a column."""
    size = path.stat().st_size
    return not size or (size < 16 and b"".join(path.read_bytes().split()) == b"[]")


def _reason(error: Exception) -> str:
    """The telling line of DuckDB's long messages: for a CSV the second and third, without its advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if "CSV Error" not in lines[0]:
        return lines[0]
    said = [line for line in lines[1:] if line.startswith(("Invalid unicode", "Expected", "Value", "Error", "Conver"))]
    return f"{lines[0].split('Error: ', 1)[-1]}. {said[0] if said else ''}".strip()


def _format(path: Path, known: Mapping[str, str]) -> str:
    name = path.name.lower()
    for suffix in sorted(known, key=len, reverse=True):
        if name.endswith(suffix):
            return suffix
    raise BadInputError(
        "source.unknown-format",
        f"{path} has no suffix that names a known format.",
        fix=f"Use one of {', '.join(known)}.",
    )


def _not_found(path: Path) -> BadInputError:
    if path.is_dir():
        return BadInputError("source.missing", f"{path} is a directory, not a file.", fix="Name a file in it.")
    why, fix = "", "Check the path."
    if not path.parent.is_dir():
        why = f"There is no directory {path.parent}."
    else:
        close = difflib.get_close_matches(path.name, sorted(entry.name for entry in path.parent.iterdir()), n=3)
        fix = f"Did you mean {' or '.join(str(path.parent / name) for name in close)}?" if close else fix
    return BadInputError("source.missing", f"{path} does not exist.", why=why, fix=fix)


def _selected(types: Mapping[str, str], path: Path) -> str:
    """The SELECT list that turns every column into one a Table can hold."""
    if not types:
        raise BadInputError("source.empty", f"{path} has no columns.", fix="Give a file with at least one column.")
    return ", ".join(_expression(name, kind, path) for name, kind in types.items())


def _expression(name: str, kind: str, path: Path) -> str:
    quoted = _quoted(name)
    if kind in {"FLOAT", "DOUBLE", "VARCHAR", "BOOLEAN", *_WHOLE}:
        return quoted
    if kind.startswith("DECIMAL") or kind in {"HUGEINT", "UHUGEINT"}:
        return f"{quoted}::DOUBLE AS {quoted}"
    if kind in _TIMES:
        return f"{quoted}::TIMESTAMP AS {quoted}"
    if kind.startswith("ENUM") or kind in {"UUID", "TIME", "INTERVAL", '"NULL"', "NULL"}:
        return f"{quoted}::VARCHAR AS {quoted}"
    raise BadInputError(
        "source.unreadable",
        f"Column {name!r} of {path} holds {kind}.",
        why="Only plain numbers, booleans, text and times can be columns.",
        fix="Unnest or drop the column.",
    )


def _column(values: Any) -> Column:
    """A fetched array with its mask applied."""
    mask = np.ma.getmaskarray(values)
    plain = np.ma.getdata(values)
    if plain.dtype.kind == "M":
        times = plain.astype("datetime64[us]")
        times[mask] = np.datetime64("NaT")
        return times
    if plain.dtype == object:
        return np.array([None if gone else value for value, gone in zip(plain, mask, strict=True)], dtype=object)
    if not mask.any():
        return np.ascontiguousarray(plain)
    if plain.dtype.kind == "b":
        texts = [None if gone else str(bool(value)) for value, gone in zip(plain, mask, strict=True)]
        return np.array(texts, dtype=object)
    numbers = plain.astype(plain.dtype if plain.dtype.kind == "f" else np.float64)
    numbers[mask] = np.nan
    return numbers


def _nullable(table: Table) -> dict[str, Any]:
    """Columns for DuckDB: a missing float is NULL in the file, not NaN; text is text."""
    columns: dict[str, Any] = {}
    for name, column in table.columns.items():
        gone = missing(column)
        if column.dtype.kind == "f" and gone.any():
            columns[name] = np.ma.masked_array(column, mask=gone)
        elif column.dtype.kind in "OUS":
            texts = [None if absent else str(value) for value, absent in zip(column, gone, strict=True)]
            columns[name] = np.array(texts, dtype=object)
        else:
            columns[name] = column
    return columns


def _written(name: str, column: Column, path: Path) -> str:
    """The SELECT expression of one column. JSON has no times: they go as text of one form, which is read as a time."""
    quoted = _quoted(name)
    if column.dtype.kind == "M" and _format(path, _WRITERS) in {".json", ".jsonl", ".ndjson"}:
        return f"strftime({quoted}, '%Y-%m-%d %H:%M:%S.%f') AS {quoted}"
    return quoted


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _publish(finished: Path, path: Path) -> None:
    """Flush the finished file, give it its name in one step, and flush the name."""
    finished.chmod(0o600)
    _sync(finished, os.O_RDONLY)
    finished.replace(path)
    _sync(path.parent, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
