"""Predicted rows and truths to one table. Pure: columns in, columns out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modelwright.core.prediction import ROWS_OF_REQUEST
from modelwright.core.signature import Signature
from modelwright.core.table import Column, Table
from modelwright.features.columns import input_columns, output_columns
from modelwright.record.chunks import BOOLEAN, INTEGER, MISSING, WORD, Chunk, Columns, concatenated, objects, tensors

_SHOWN = ("prediction_id", "row", "version", "role", "event_time", "received_at", "duration", "status")
_TYPES = {"row": np.int64, "event_time": np.float64, "received_at": np.float64, "duration": np.float64}


def joined_table(chunks: Sequence[Chunk], truths: Sequence[Columns], signature: Signature) -> Table:
    """The table of :meth:`modelwright.ports.record.PredictionLog.joined`."""
    if not chunks:
        empty: Columns = {name: np.empty(0, dtype=_TYPES.get(name, object)) for name in _SHOWN}
        return Table(empty | {"truth": np.empty(0), "truth_at": np.empty(0)})
    parts = [_named(chunk, signature) for chunk in chunks]
    columns = _stacked(parts)
    order = np.lexsort([columns[name] for name in ("row", "sequence", "received_at", "event_time")])
    ids, id_codes = _codes(columns["prediction_id"])
    kept = order[_first_of_each(columns, id_codes)[order]]
    columns = {name: columns[name][kept] for name in columns if name != "sequence"}
    return Table(columns | _truth(columns["row"], id_codes[kept], ids, truths))


def _named(chunk: Chunk, signature: Signature) -> Columns:
    inputs = input_columns(signature, tensors(chunk, "in"))
    given = tensors(chunk, "out")
    rows = given.pop(ROWS_OF_REQUEST, chunk.columns["row"])
    outputs = output_columns(signature, given)
    return (
        {name: chunk.columns[name] for name in (*_SHOWN, "sequence")}
        | {"row": rows}
        | {f"input.{name}": column for name, column in inputs.items()}
        | {f"output.{name}": column for name, column in outputs.items()}
    )


def _stacked(parts: Sequence[Columns]) -> Columns:
    """Parts one after another; a column that a part lacks is missing there."""
    if len(parts) == 1:
        return parts[0]
    names = dict.fromkeys(name for part in parts for name in part)
    stacked = {}
    for name in names:
        have = [part[name] for part in parts if name in part]
        pieces = [part[name] if name in part else _absent(len(part["row"]), have[0]) for part in parts]
        if len({piece.dtype.kind == "O" for piece in pieces}) > 1:  # text in one version, a number in another
            pieces = [piece if piece.dtype.kind == "O" else objects(map(str, piece.tolist())) for piece in pieces]
        stacked[name] = np.concatenate(pieces)
    return stacked


def _absent(count: int, like: Column) -> Column:
    if like.dtype.kind == "O":
        return np.full(count, None, dtype=object)
    return np.full(count, np.nan, dtype=like.dtype if like.dtype.kind == "f" else np.float64)


def _codes(column: Column) -> tuple[dict[str, int], NDArray[np.int64]]:
    """Distinct values numbered in order of appearance, and each row's number."""
    seen: dict[str, int] = {}
    values = column.tolist()
    for value in values:
        seen.setdefault(value, len(seen))
    return seen, np.fromiter(map(seen.__getitem__, values), dtype=np.int64, count=len(values))


def _first_of_each(columns: Columns, id_codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """True for the row received first of those with the same id, row, version and role."""
    key = id_codes
    for name in ("version", "role"):
        seen, codes = _codes(columns[name])
        key = key * len(seen) + codes
    key = key * (int(columns["row"].max()) + 1) + columns["row"]
    _, first = np.unique(key, return_index=True)
    if len(first) == len(key):
        return np.ones(len(key), dtype=bool)
    by_receipt = np.lexsort([columns["sequence"], columns["received_at"]])
    _, first = np.unique(key[by_receipt], return_index=True)
    kept = np.zeros(len(key), dtype=bool)
    kept[by_receipt[first]] = True
    return kept


def _truth(
    rows: NDArray[np.int64], id_codes: NDArray[np.int64], ids: dict[str, int], truths: Sequence[Columns]
) -> Columns:
    """``truth`` and ``truth_at`` of each row: the value at its place in the truth received last for its id."""
    truths = [part for part in truths if len(part["row"])]
    missing: Columns = {"truth": np.full(len(rows), np.nan), "truth_at": np.full(len(rows), np.nan)}
    if not truths:
        return missing
    told = concatenated(truths)
    starts = np.flatnonzero(told["row"] == 0)
    starts = starts[np.lexsort([told[name][starts] for name in ("sequence", "received_at")])]
    start_of = np.full(len(ids), -1, dtype=np.int64)
    known = np.fromiter((ids.get(i, -1) for i in told["prediction_id"][starts].tolist()), np.int64, len(starts))
    start_of[known[known >= 0]] = starts[known >= 0]  # of an index given twice, NumPy keeps the last value
    start = start_of[id_codes]
    found = (start >= 0) & (rows < told["rows"][start])
    at = np.where(found, start + rows, 0)
    kind = np.where(found, told["kind"][at], MISSING)
    missing["truth_at"] = np.where(found, told["event_time"][at], np.nan)
    if (kind == WORD).any():
        missing["truth"] = objects(map(_text, kind.tolist(), told["number"][at].tolist(), told["text"][at].tolist()))
    else:
        missing["truth"] = np.where(kind == MISSING, np.nan, told["number"][at])
    return missing


def _text(kind: int, number: float, text: str | None) -> str | None:
    if kind == MISSING:
        return None
    if kind == WORD:
        return text
    if kind == BOOLEAN:
        return str(bool(number))
    return str(int(number)) if kind == INTEGER else str(number)
