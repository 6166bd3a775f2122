"""Compacted segments: a directory of Parquet files and an index that says what they hold.

``parquet/<stem>/index.json`` lists one ``predictions-<n>.parquet`` per model and layout and one ``truths.parquet``. The
directory is made under a hidden name and renamed into place when every byte of it is on stable storage.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import numpy as np

from modelwright.record.chunks import META, TRUTH, Chunk, Columns, column_type, concatenated, tensor_columns
from modelwright.record.open_segment import sync_directory
from modelwright.record.payload import read_layout
from modelwright.record.segments import COMPACTED, RawSegment

INDEX = "index.json"
TRUTHS = "truths.parquet"
_SETTINGS = {"autoinstall_known_extensions": False, "autoload_known_extensions": False, "threads": 2}


class PredictionFile(msgspec.Struct, frozen=True):
    """One Parquet file of predicted rows; times are Unix seconds, ``lines`` the file's rows."""

    name: str
    model: str
    layout: bytes
    lines: int
    received: tuple[float, float]
    event: tuple[float, float]
    counted: dict[str, int]


class Index(msgspec.Struct, frozen=True):
    """What one compacted segment holds."""

    predictions: list[PredictionFile]
    truths: int
    unlogged: int


def connect() -> duckdb.DuckDBPyConnection:
    """A database in memory that reaches for nothing outside this machine."""
    return duckdb.connect(config=dict(_SETTINGS))


def quoted(name: str) -> str:
    """A column name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def write_columns(connection: duckdb.DuckDBPyConnection, columns: Columns, to: Path, options: str) -> None:
    """Write columns to a new file, 0600, on stable storage; ``options`` are those of DuckDB's COPY."""
    chosen = ", ".join(
        f"{quoted(str(number))}{'::VARCHAR' if column.dtype.kind == 'O' else ''} AS {quoted(name)}"
        for number, (name, column) in enumerate(columns.items())
    )
    # Numbers for names, because names that differ in case only would clash inside the database.
    connection.register("_lines", {str(number): column for number, column in enumerate(columns.values())})
    try:
        path = str(to).replace("'", "''")
        connection.execute(f"COPY (SELECT {chosen} FROM _lines) TO '{path}' ({options})")  # noqa: S608 - quoted above
    finally:
        connection.unregister("_lines")
    to.chmod(0o600)
    with to.open("rb") as file:
        os.fsync(file.fileno())


def write_segment(directory: Path, stem: str, segment: RawSegment) -> None:
    """Make ``parquet/<stem>/`` from a decoded segment; it is there completely or not at all."""
    target = directory / COMPACTED
    target.mkdir(mode=0o700, exist_ok=True)
    made = target / f".{stem}"
    if made.exists():
        shutil.rmtree(made)  # left by a compactor that was killed
    made.mkdir(mode=0o700)
    files = []
    with connect() as connection:
        chunks = [chunk for pieces in segment.decoded.chunks.values() for chunk in pieces]
        for number, chunk in enumerate(chunks):
            name = f"predictions-{number}.parquet"
            write_columns(connection, chunk.columns, made / name, "FORMAT PARQUET, COMPRESSION ZSTD")
            files.append(_described(name, chunk))
        truths = concatenated(segment.decoded.truths) if segment.decoded.truths else None
        if truths is not None:
            write_columns(connection, truths, made / TRUTHS, "FORMAT PARQUET, COMPRESSION ZSTD")
    index = Index(files, 0 if truths is None else len(truths["row"]), segment.decoded.unlogged)
    _write_index(made / INDEX, index)
    sync_directory(made)
    made.rename(target / stem)
    sync_directory(target)


def _described(name: str, chunk: Chunk) -> PredictionFile:
    return PredictionFile(
        name=name,
        model=chunk.model,
        layout=chunk.layout,
        lines=len(chunk.columns["row"]),
        received=chunk.received,
        event=chunk.event,
        counted=chunk.counted(),
    )


def _write_index(path: Path, index: Index) -> None:
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(msgspec.json.encode(index))
        file.flush()
        os.fsync(file.fileno())


def read_index(segment: Path) -> Index:
    """The index of a compacted segment."""
    return msgspec.json.decode((segment / INDEX).read_bytes(), type=Index)


def read_predictions(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[Path],
    model: str,
    layout: bytes,
    *,
    where: str = "TRUE",
    values: Sequence[Any] = (),
) -> Chunk:
    """Rows of files of one layout as a chunk; ``where`` is SQL over the columns of META with ``?`` for ``values``."""
    types = dict(META) | {name: column_type(tensor) for name, tensor, _ in tensor_columns(read_layout(layout))}
    return Chunk(model, layout, _read(connection, files, types, where, values))


def read_truths(connection: duckdb.DuckDBPyConnection, files: Sequence[Path], model: str) -> Columns:
    """Truths of one model."""
    return _read(connection, files, dict(TRUTH), "model = ?", [model])


def _read(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[Path],
    types: dict[str, np.dtype[Any]],
    where: str,
    values: Sequence[Any],
) -> Columns:
    chosen = ", ".join(f"{quoted(name)} AS {quoted(str(number))}" for number, name in enumerate(types))
    sql = f"SELECT {chosen} FROM read_parquet(?) WHERE {where}"  # noqa: S608 - quoted names, ours
    found = connection.execute(sql, [[str(path) for path in files], *values]).fetchnumpy()
    return {name: _typed(found[str(number)], dtype) for number, (name, dtype) in enumerate(types.items())}


def _typed(column: Any, dtype: np.dtype[Any]) -> np.ndarray[Any, np.dtype[Any]]:
    """DuckDB's NULL as our missing value, in the type the column was written from."""
    if isinstance(column, np.ma.MaskedArray):
        if dtype.kind == "O":
            plain = column.data.astype(object)
            plain[np.ma.getmaskarray(column)] = None
            return plain
        return np.asarray(column.filled(np.nan) if dtype.kind == "f" else column.data).astype(dtype, copy=False)
    return np.asarray(column).astype(dtype, copy=False)
