"""Decoded predictions and truths as columns: what raw segments and Parquet files both become.

Records are decoded in bulk: all records of one layout and row count have numbers of one width, so their bytes are laid
side by side and read as one structured array.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.table import Column
from modelwright.record.payload import ROWS, TEXT, Layout, Prediction, Tensor, Truth, read_layout

Columns = dict[str, Column]

EMPTY_LAYOUT = b"\x90"
"""The layout without tensors, as msgpack."""

META: Mapping[str, np.dtype[Any]] = {
    "prediction_id": np.dtype(object),
    "version": np.dtype(object),
    "role": np.dtype(object),
    "event_time": np.dtype(np.float64),
    "received_at": np.dtype(np.float64),
    "duration": np.dtype(np.float64),
    "actor": np.dtype(object),
    "status": np.dtype(object),
    "rows": np.dtype(np.int64),
    "row": np.dtype(np.int64),
    "sequence": np.dtype(np.int64),
}
"""Columns of every chunk. A record of no rows keeps one line, with ``rows`` 0: it counts, but is no predicted row."""

TRUTH: Mapping[str, np.dtype[Any]] = {
    "model": np.dtype(object),
    "prediction_id": np.dtype(object),
    "row": np.dtype(np.int64),
    "rows": np.dtype(np.int64),
    "kind": np.dtype(np.int64),
    "number": np.dtype(np.float64),
    "text": np.dtype(object),
    "event_time": np.dtype(np.float64),
    "received_at": np.dtype(np.float64),
    "actor": np.dtype(object),
    "sequence": np.dtype(np.int64),
}
"""Columns of truths, one line per value; ``kind`` is one of the constants below; a truth without values has one."""

MISSING, BOOLEAN, INTEGER, REAL, WORD = range(5)


def bounds(column: Column) -> tuple[float, float]:
    """Least and largest value; the widest bounds when a value is no finite number, so that nothing is passed over."""
    low, high = float(column.min()), float(column.max())
    if math.isfinite(low) and math.isfinite(high):
        return low, high
    return -sys.float_info.max, sys.float_info.max


@dataclass(frozen=True, slots=True)
class Chunk:
    """Predicted rows of one model and one layout: the columns of :data:`META` and :func:`tensor_columns`."""

    model: str
    layout: bytes
    columns: Columns

    @property
    def event(self) -> tuple[float, float]:
        """Oldest and newest ``event_time``."""
        return bounds(self.columns["event_time"])

    @property
    def received(self) -> tuple[float, float]:
        """Oldest and newest ``received_at``."""
        return bounds(self.columns["received_at"])

    def counted(self) -> dict[str, int]:
        """Requests and predicted rows, as :meth:`modelwright.record.log.DuckLog.counts` names them."""
        columns = self.columns
        own = columns["role"] != "node"  # what a graph's nodes did is no request
        request, predicted = own & (columns["row"] == 0), own & (columns["row"] < columns["rows"])
        shadow, answered = columns["role"] == "shadow", columns["status"] == "ok"
        return {
            "requests": int((request & ~shadow).sum()),
            "failed_requests": int((request & ~shadow & ~answered).sum()),
            "predictions": int((predicted & ~shadow & answered).sum()),
            "shadow_predictions": int((predicted & shadow & answered).sum()),
        }


@dataclass(slots=True)
class Decoded:
    """What a segment, or a part of one, holds. ``unreadable`` counts frames whose payload makes no sense."""

    chunks: dict[tuple[str, bytes], list[Chunk]] = field(default_factory=dict)
    truths: list[Columns] = field(default_factory=list)
    unlogged: int = 0
    unreadable: int = 0

    def add(self, more: Decoded) -> None:
        """Take over what was decoded later, merging pieces before they become many."""
        for key, chunks in more.chunks.items():
            pieces = self.chunks.setdefault(key, [])
            pieces += chunks
            if len(pieces) > 8:
                merged = concatenated([piece.columns for piece in pieces])
                self.chunks[key] = [Chunk(*key, merged)]
        self.truths += more.truths
        if len(self.truths) > 8:
            self.truths = [concatenated(self.truths)]
        self.unlogged += more.unlogged
        self.unreadable += more.unreadable


def concatenated(parts: Sequence[Columns]) -> Columns:
    """Columns of the same names one after another."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def objects(values: Iterable[Any]) -> Column:
    """An object column of the values as they are."""
    values = list(values)
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def tensor_columns(layout: Layout) -> list[tuple[str, Tensor, int]]:
    """Column names of a layout with the tensor and the column's index in it.

    ``in.<n>.<tensor>`` or ``out.<n>.<tensor>`` where ``n`` counts tensors (names alone may differ in case only), with
    ``[<i>]`` behind it where a row has several values. A tensor of more than two dimensions, or whose first one is not
    the rows, has no columns.
    """
    names = []
    for number, tensor in enumerate(layout):
        if len(tensor.shape) not in (1, 2) or tensor.shape[0] != ROWS:
            continue
        shown = "".join(letter if letter.isprintable() else "?" for letter in tensor.name)
        name = f"{tensor.side}.{number}.{shown}"
        width = prod(tensor.shape[1:])
        names += [(name if width == 1 else f"{name}[{index}]", tensor, index) for index in range(width)]
    return names


def column_type(tensor: Tensor) -> np.dtype[Any]:
    """How a column of the tensor is kept; half precision is widened, for no file format has it."""
    if tensor.code == TEXT:
        return np.dtype(object)
    return np.dtype(np.float32) if tensor.code == "<f2" else np.dtype(tensor.code)


def tensors(chunk: Chunk, side: str) -> dict[str, NDArray[Any]]:
    """Tensors of one side ([n] or [n, k]) from a chunk's columns."""
    grouped: dict[str, list[Column]] = {}
    flat: set[str] = set()
    for name, tensor, _ in tensor_columns(read_layout(chunk.layout)):
        if tensor.side == side:
            grouped.setdefault(tensor.name, []).append(chunk.columns[name])
            if len(tensor.shape) == 1:
                flat.add(tensor.name)
    return {name: parts[0] if name in flat else np.stack(parts, axis=1) for name, parts in grouped.items()}


def prediction_chunks(records: Sequence[tuple[int, Prediction]]) -> dict[tuple[str, bytes], list[Chunk]]:
    """Chunks by model and layout from (sequence, prediction) pairs, each in order of sequence."""
    groups: dict[tuple[str, bytes, int], list[tuple[int, Prediction]]] = defaultdict(list)
    for item in records:
        record = item[1]
        groups[record.model, record.layout if record.rows else EMPTY_LAYOUT, record.rows].append(item)
    parts: dict[tuple[str, bytes], list[Columns]] = defaultdict(list)
    for (model, layout, rows), group in groups.items():
        parts[model, layout].append(_columns(group, layout, rows))
    found = {}
    for key, pieces in parts.items():
        columns = concatenated(pieces)
        if len(pieces) > 1:
            order = np.argsort(columns["sequence"], kind="stable")
            columns = {name: column[order] for name, column in columns.items()}
        found[key] = [Chunk(*key, columns)]
    return found


def _columns(group: Sequence[tuple[int, Prediction]], layout: bytes, rows: int) -> Columns:
    lines, count = max(rows, 1), len(group)
    records = [record for _, record in group]
    columns: Columns = {
        "prediction_id": objects(record.prediction_id for record in records),
        "version": objects(record.version for record in records),
        "role": objects(record.role for record in records),
        "event_time": np.array([record.event_time for record in records]),
        "received_at": np.array([record.received_at for record in records]),
        "duration": np.array([record.duration for record in records]),
        "actor": objects(record.actor for record in records),
        "status": objects(record.status for record in records),
        "rows": np.full(count, rows, dtype=np.int64),
        "row": np.zeros(count, dtype=np.int64),
        "sequence": np.array([sequence for sequence, _ in group], dtype=np.int64),
    }
    if lines > 1:
        columns = {name: np.repeat(column, lines) for name, column in columns.items()}
        columns["row"] = np.tile(np.arange(lines, dtype=np.int64), count)
    return columns | _tensor_values(records, read_layout(layout), rows)


def _tensor_values(records: Sequence[Prediction], layout: Layout, rows: int) -> Columns:
    shapes = [tensor.sized(rows) for tensor in layout]
    numeric = np.dtype(
        [(str(n), t.code, shape) for n, (t, shape) in enumerate(zip(layout, shapes, strict=True)) if t.code != TEXT]
    )
    count, width = len(records), sum(prod(s) for t, s in zip(layout, shapes, strict=True) if t.code == TEXT)
    numbers = (
        np.frombuffer(b"".join([record.numbers for record in records]), dtype=numeric) if numeric.itemsize else None
    )
    texts = _texts(chain.from_iterable(record.texts for record in records)).reshape(count, width)
    matrices: dict[int, NDArray[Any]] = {}
    offset = 0
    for number, (tensor, shape) in enumerate(zip(layout, shapes, strict=True)):
        if tensor.code == TEXT:
            values = texts[:, offset : offset + prod(shape)]
            offset += prod(shape)
        elif numbers is not None:
            values = numbers[str(number)]
        matrices[id(tensor)] = values.reshape(count * rows, prod(shape) // max(rows, 1))
    return {
        name: matrices[id(tensor)][:, index].astype(column_type(tensor), copy=False)
        for name, tensor, index in tensor_columns(layout)
    }


def _texts(values: Iterable[Any]) -> Column:
    """Text and ``None``; bytes that are no UTF-8 are shown escaped, anything else as its text."""
    flat = list(values)
    if not set(map(type, flat)) <= {str, type(None)}:
        flat = [
            value.decode("utf-8", "backslashreplace")
            if isinstance(value, bytes)
            else (value if value is None else str(value))
            for value in flat
        ]
    return objects(flat)


def truth_columns(records: Sequence[tuple[int, Truth]]) -> Columns:
    """The columns of :data:`TRUTH` from (sequence, truth) pairs."""
    lines: list[tuple[Any, ...]] = []
    for sequence, truth in records:
        count = len(truth.values)
        for row, value in enumerate(truth.values or (None,)):
            kind, number, text = _truth_value(value)
            lines.append(
                (
                    *(truth.model, truth.prediction_id, row, count, kind, number, text),
                    *(truth.event_time, truth.received_at, truth.actor, sequence),
                )
            )
    return truth_table(zip(*lines, strict=True) if lines else [()] * len(TRUTH))


def truth_table(columns: Iterable[Iterable[Any]]) -> Columns:
    """The columns of :data:`TRUTH`, each of its type."""
    return {
        name: objects(values) if dtype.kind == "O" else np.array(list(values), dtype=dtype)
        for (name, dtype), values in zip(TRUTH.items(), columns, strict=True)
    }


def _truth_value(value: float | str | bool | None) -> tuple[int, float, str | None]:
    if isinstance(value, bool):
        return BOOLEAN, float(value), None
    if isinstance(value, int):
        return INTEGER, float(value), None
    if isinstance(value, float):
        return REAL, value, None
    if isinstance(value, str):
        return WORD, float("nan"), value
    return MISSING, float("nan"), None
