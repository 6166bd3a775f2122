"""In-memory fakes of the ports in ``ports.record``.

The fake log is written row by row from the port's words, so it also serves as the plain second opinion that a fast log
is compared with.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import BadInputError, NotFoundError
from modelwright.core.finding import Window
from modelwright.core.prediction import ROWS_OF_REQUEST, GapRecord, PredictionRecord, Record, TruthRecord, graph_of
from modelwright.core.signature import Signature
from modelwright.core.table import Table
from modelwright.features.columns import input_columns, output_columns
from modelwright.ports.record import ArmCount

_SHOWN = ("prediction_id", "row", "version", "role", "event_time", "received_at", "duration", "status")
_SUFFIXES = (".parquet", ".csv", ".jsonl", ".ndjson")


class InMemorySink:
    """A sink that keeps records in a list. Set ``failing`` to have every flush fail, as on a full disk."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.failing = False
        self._buffer: list[Record] = []
        self._unlogged = 0

    def append(self, record: Record) -> None:
        """Buffer a copy."""
        if isinstance(record, PredictionRecord):
            inputs = {name: array.copy() for name, array in record.inputs.items()}
            outputs = {name: array.copy() for name, array in record.outputs.items()}
            record = replace(record, inputs=inputs, outputs=outputs)
        self._buffer.append(record)

    def flush(self) -> bool:
        """Keep what is buffered; count it instead while failing, and say so in a gap record afterwards."""
        if self.failing:
            self._unlogged += sum(r.rows for r in self._buffer if isinstance(r, PredictionRecord))
            self._buffer.clear()
            return False
        if self._unlogged:
            self._buffer.append(GapRecord(self._unlogged, 0.0, 0.0))
            self._unlogged = 0
        self.records += self._buffer
        self._buffer.clear()
        return True

    def close(self) -> None:
        """Flush."""
        self.flush()


class InMemoryLog:
    """Reads the records of some in-memory sinks."""

    def __init__(self, *sinks: InMemorySink) -> None:
        self._sinks = sinks

    def joined(
        self,
        model: str,
        *,
        signature: Signature,
        window: Window | None = None,
        version: str | None = None,
        roles: Sequence[str] = (),
        status: str | None = "ok",
    ) -> Table:
        """As the port says."""
        wanted = [
            record
            for record in self._predictions(model)
            if record.rows
            and (window is None or window.since <= record.event_time < window.until)
            and (version is None or record.version == version)
            and (not roles or record.role in roles)
            and (status is None or record.status == status)
        ]
        rows: dict[tuple[str, int, str, str], dict[str, Any]] = {}
        for record in sorted(wanted, key=lambda record: record.received_at):
            for values in _rows(record, signature):
                rows.setdefault((record.prediction_id, values["row"], record.version, record.role), values)
        ordered = sorted(rows.values(), key=lambda values: (values["event_time"], values["received_at"]))
        truths = self._latest_truths(graph_of(model))
        return Table(_columns(ordered) | _truth(ordered, truths))

    def arms(self, model: str, *, since: float) -> Sequence[ArmCount]:
        """As the port says."""
        answered: dict[tuple[str, str], list[float]] = defaultdict(list)
        failed: Counter[tuple[str, str]] = Counter()
        for record in self._predictions(model):
            if record.received_at >= since:
                key = (record.version, record.role)
                durations = answered[key]
                if record.status == "ok":
                    durations.append(record.duration)
                else:
                    failed[key] += 1
        return [
            ArmCount(*key, len(seconds), failed[key], float(np.mean(seconds)), float(np.quantile(seconds, 0.95)))
            if seconds
            else ArmCount(*key, 0, failed[key], 0.0)
            for key, seconds in sorted(answered.items())
        ]

    def counts(self) -> dict[str, int]:
        """As the port says."""
        records = [record for sink in self._sinks for record in sink.records]
        asked = [r for r in records if isinstance(r, PredictionRecord) and r.role not in {"shadow", "node"}]
        ids = {(r.model, r.prediction_id) for r in records if isinstance(r, PredictionRecord)}
        told = [(r.model, r.prediction_id) for r in records if isinstance(r, TruthRecord)]
        return {
            "requests": len(asked),
            "predictions": sum(record.rows for record in asked if record.status == "ok"),
            "truths": len(told),
            "unknown_truths": sum(truth not in ids for truth in told),
            "repeated_truths": len(told) - len(set(told)),
            "unlogged": sum(record.unlogged for record in records if isinstance(record, GapRecord)),
        }

    def export(self, model: str, to: Path, *, signature: Signature, window: Window | None = None) -> int:
        """As the port says; the file is JSON lines whatever its suffix."""
        if to.suffix not in _SUFFIXES:
            raise BadInputError("record.unknown-format", f"There is no export to {to.name!r}.")
        table = self.joined(model, signature=signature, window=window)
        if not len(table):
            raise NotFoundError("record.no-predictions", f"No prediction of {model!r} was recorded.")
        columns = {name: column.tolist() for name, column in table.columns.items()}
        lines = [json.dumps(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
        to.write_text("\n".join(lines) + "\n")
        return len(table)

    def _predictions(self, model: str) -> list[PredictionRecord]:
        records = (record for sink in self._sinks for record in sink.records)
        return [record for record in records if isinstance(record, PredictionRecord) and record.model == model]

    def _latest_truths(self, model: str) -> dict[str, TruthRecord]:
        records = (record for sink in self._sinks for record in sink.records)
        truths = [record for record in records if isinstance(record, TruthRecord) and record.model == model]
        return {truth.prediction_id: truth for truth in sorted(truths, key=lambda truth: truth.received_at)}


def _rows(record: PredictionRecord, signature: Signature) -> list[dict[str, Any]]:
    given = dict(record.outputs)
    places = given.pop(ROWS_OF_REQUEST, np.arange(record.rows))
    inputs = input_columns(signature, record.inputs)
    outputs = output_columns(signature, given)
    values: Mapping[str, NDArray[Any]] = {f"input.{name}": column for name, column in inputs.items()} | {
        f"output.{name}": column for name, column in outputs.items()
    }
    meta = {name: getattr(record, name) for name in _SHOWN if name != "row"}
    return [
        meta | {"row": int(place)} | {name: column[row] for name, column in values.items()}
        for row, place in enumerate(places)
    ]


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
    if not rows:
        numbers = {"row": np.int64, "event_time": float, "received_at": float, "duration": float}
        return {name: np.empty(0, dtype=numbers.get(name, object)) for name in _SHOWN}
    columns = {}
    for name in dict.fromkeys([*_SHOWN, *(name for row in rows for name in row)]):
        values = [row.get(name) for row in rows]
        if all(value is None or isinstance(value, str) for value in values):
            columns[name] = np.array(values, dtype=object)
        else:
            columns[name] = np.array([np.nan if value is None else value for value in values])
    return columns


def _truth(rows: Sequence[Mapping[str, Any]], truths: Mapping[str, TruthRecord]) -> dict[str, NDArray[Any]]:
    values: list[Any] = []
    times = []
    for row in rows:
        truth = truths.get(row["prediction_id"])
        told = truth is not None and row["row"] < len(truth.values)
        values.append(truth.values[row["row"]] if truth is not None and told else None)
        times.append(truth.event_time if truth is not None and told else np.nan)
    if any(isinstance(value, str) for value in values):
        column = np.array([None if value is None else str(value) for value in values], dtype=object)
    else:
        column = np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
    return {"truth": column, "truth_at": np.array(times, dtype=np.float64)}
