"""The conformance classes of the ports in ``ports.record``: inherit one, give its fixture, inherit the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from modelwright.core.finding import Window
from modelwright.core.prediction import ROWS_OF_REQUEST, GapRecord, PredictionRecord, Record, TruthRecord
from modelwright.core.signature import Signature, TensorSpec
from modelwright.core.table import Table
from modelwright.ports.record import ArmCount, PredictionLog, RecordSink
from modelwright.testing.errors import error_code

META = (
    *("prediction_id", "row", "version", "role", "event_time", "received_at", "duration", "status"),
    *("truth", "truth_at"),
)
"""Columns of every joined table."""


class Recording(Protocol):
    """What the fixture ``recording`` gives: a sink, a log over what it wrote, both empty at the start."""

    @property
    def sink(self) -> RecordSink:
        """Where the tests write."""
        ...

    @property
    def log(self) -> PredictionLog:
        """Where they read."""
        ...


def prediction(
    prediction_id: str,
    *,
    rows: int = 1,
    version: str = "1",
    role: Any = "champion",
    at: float = 100.0,
    received_at: float | None = None,
    status: str = "ok",
    model: str = "m",
) -> PredictionRecord:
    """A prediction of a model with a number and a text for input (see :data:`SIGNATURE`)."""
    inputs: dict[str, NDArray[Any]] = {
        "amount": np.arange(rows, dtype=np.float32).reshape(rows, 1) + np.float32(at),
        "city": np.array([f"city-{row}" for row in range(rows)], dtype=object).reshape(rows, 1),
    }
    outputs: dict[str, NDArray[Any]] = {
        "label": np.arange(rows, dtype=np.int64) % 2,
        "scores": np.tile(np.array([0.25, 0.75], dtype=np.float32), (rows, 1)),
    }
    received = at if received_at is None else received_at
    return PredictionRecord(
        *(model, version, role, prediction_id, at, received, 0.5, "ada", status, rows),
        *((inputs, outputs) if status == "ok" else ({}, {})),
    )


def truth(prediction_id: str, *values: Any, at: float = 200.0, received_at: float = 200.0) -> TruthRecord:
    """Ground truth of model ``m``."""
    return TruthRecord("m", prediction_id, values, at, received_at, "ada")


SIGNATURE = Signature(
    inputs=(TensorSpec("amount", "FP32", (-1, 1)), TensorSpec("city", "BYTES", (-1, 1))),
    outputs=(TensorSpec("label", "INT64", (-1,)), TensorSpec("scores", "FP32", (-1, 2))),
    task="binary",
    classes=("no", "yes"),
    label_output="label",
    score_output="scores",
)
"""The signature of :func:`prediction`."""


class RecordSinkConformance:
    """What every sink does, seen through the log."""

    def test_a_flushed_record_is_read_at_once(self, recording: Recording) -> None:
        """A record is in the log before its answer leaves."""
        recording.sink.append(prediction("a"))
        assert recording.sink.flush() is True
        assert recording.log.counts()["requests"] == 1

    def test_an_unflushed_record_is_not_yet_there(self, recording: Recording) -> None:
        """Appending alone promises nothing."""
        recording.sink.append(prediction("a"))
        assert recording.log.counts()["requests"] == 0

    def test_flushing_nothing_succeeds(self, recording: Recording) -> None:
        """No records, no failure."""
        assert recording.sink.flush() is True

    def test_closing_keeps_everything(self, recording: Recording) -> None:
        """Closing flushes."""
        recording.sink.append(prediction("a"))
        recording.sink.close()
        assert recording.log.counts()["requests"] == 1

    def test_a_record_keeps_no_hold_on_the_arrays_it_came_with(self, recording: Recording) -> None:
        """A runner may use its buffers again."""
        record = prediction("a", at=5.0)
        recording.sink.append(record)
        record.inputs["amount"][:] = 99
        recording.sink.flush()
        assert recording.log.joined("m", signature=SIGNATURE)["input.amount"].tolist() == [5.0]


def write(recording: Recording, *records: Record) -> None:
    """Append and flush."""
    for record in records:
        recording.sink.append(record)
    assert recording.sink.flush()


class PredictionLogConformance:
    """What every log answers."""

    def joined(self, recording: Recording, **which: Any) -> Table:
        """The joined table of model ``m``."""
        return recording.log.joined("m", signature=SIGNATURE, **which)

    def test_an_unknown_model_has_an_empty_table_with_the_named_columns(self, recording: Recording) -> None:
        """No error: a model may not have been asked yet."""
        table = recording.log.joined("nobody", signature=SIGNATURE)
        assert len(table) == 0
        assert table.names == META

    def test_a_row_shows_its_inputs_and_outputs_by_name(self, recording: Recording) -> None:
        """Columns are named as the signature names things."""
        write(recording, prediction("a", at=7.0))
        row = {name: column[0] for name, column in self.joined(recording).columns.items()}
        assert row["input.amount"] == 7.0
        assert row["input.city"] == "city-0"
        assert (row["output.label"], row["output.scores.no"], row["output.scores.yes"]) == (0, 0.25, 0.75)

    def test_a_request_of_several_rows_becomes_several_rows(self, recording: Recording) -> None:
        """In row order, each with its own truth."""
        write(recording, prediction("a", rows=3), truth("a", 1, 0, 1))
        table = self.joined(recording)
        assert table["row"].tolist() == [0, 1, 2]
        assert table["input.city"].tolist() == ["city-0", "city-1", "city-2"]
        assert table["truth"].tolist() == [1.0, 0.0, 1.0]

    def test_rows_come_by_event_time(self, recording: Recording) -> None:
        """Not by the order they were received in."""
        write(recording, prediction("b", at=2.0, received_at=1.0), prediction("a", at=1.0, received_at=2.0))
        assert self.joined(recording)["prediction_id"].tolist() == ["a", "b"]

    def test_the_window_is_half_open_over_event_time(self, recording: Recording) -> None:
        """Neighbouring windows share no row."""
        write(recording, *(prediction(str(at), at=float(at)) for at in range(5)))
        chosen = self.joined(recording, window=Window(1.0, 3.0))
        assert chosen["event_time"].tolist() == [1.0, 2.0]

    def test_version_role_and_status_choose_rows(self, recording: Recording) -> None:
        """Each alone; None means any status."""
        write(
            recording,
            prediction("a"),
            prediction("a", version="2", role="shadow"),
            prediction("b", status="serve.failed"),
        )
        assert self.joined(recording, version="2")["role"].tolist() == ["shadow"]
        assert self.joined(recording, roles=("champion", "canary"))["version"].tolist() == ["1"]
        assert self.joined(recording, status="serve.failed")["prediction_id"].tolist() == ["b"]
        assert len(self.joined(recording, status=None)) == 3

    def test_truth_joins_every_version_that_answered_the_id(self, recording: Recording) -> None:
        """Champion and shadow are scored on the same truth."""
        write(recording, prediction("a"), prediction("a", version="2", role="shadow"), truth("a", 1))
        assert self.joined(recording)["truth"].tolist() == [1.0, 1.0]

    def test_the_truth_received_last_holds(self, recording: Recording) -> None:
        """A correction replaces the value and its time, whatever was written first."""
        write(
            recording,
            truth("a", 1, received_at=300.0, at=9.0),
            truth("a", 0, received_at=250.0, at=8.0),
            prediction("a"),
        )
        table = self.joined(recording)
        assert (table["truth"].tolist(), table["truth_at"].tolist()) == ([1.0], [9.0])

    def test_truth_that_is_not_known_is_missing(self, recording: Recording) -> None:
        """Never told, told as unknown, and not told for this row."""
        write(recording, prediction("a"), prediction("b", at=101.0, rows=2), truth("b", None))
        table = self.joined(recording)
        assert np.isnan(table["truth"]).tolist() == [True, True, True]
        assert np.isnan(table["truth_at"]).tolist() == [True, False, True]

    def test_truth_in_words_makes_a_column_of_words(self, recording: Recording) -> None:
        """Missing is None then."""
        write(recording, prediction("a", at=1.0), prediction("b", at=2.0), truth("a", "late"))
        assert self.joined(recording)["truth"].tolist() == ["late", None]

    def test_of_a_repeated_id_the_row_received_first_is_joined(self, recording: Recording) -> None:
        """One truth scores one row; the request still counts."""
        write(recording, prediction("a", at=5.0, received_at=2.0), prediction("a", at=9.0, received_at=1.0))
        assert self.joined(recording)["event_time"].tolist() == [9.0]
        assert recording.log.counts()["requests"] == 2

    def test_counts_say_what_was_asked_and_what_truth_is_odd(self, recording: Recording) -> None:
        """Shadows are no requests, failed requests are no predictions."""
        write(
            recording,
            *(prediction("a", rows=2), prediction("b", status="serve.failed"), prediction("a", role="shadow")),
            *(truth("a", 1, 1), truth("a", 1, 0, received_at=201.0), truth("nobody", 1)),
            GapRecord(7, 0.0, 1.0),
        )
        wanted = {
            "requests": 2,
            "predictions": 2,
            "truths": 3,
            "unknown_truths": 1,
            "repeated_truths": 1,
            "unlogged": 7,
        }
        assert recording.log.counts().items() >= wanted.items()

    def test_arms_count_requests_received_since_by_version_and_role(self, recording: Recording) -> None:
        """Requests, not rows, by time of receipt."""
        write(
            recording,
            *(prediction("a", received_at=10.0), prediction("b", received_at=20.0, rows=3)),
            *(prediction("c", received_at=30.0, status="serve.failed"), prediction("d", role="canary", version="2")),
        )
        assert list(recording.log.arms("m", since=20.0)) == [
            ArmCount("1", "champion", 1, 1, 0.5, 0.5),
            ArmCount("2", "canary", 1, 0, 0.5, 0.5),
        ]

    def test_a_graphs_nodes_are_kept_apart_and_their_rows_have_the_graphs_truth(self, recording: Recording) -> None:
        """A node that answered the second row alone has the truth of the second row, and counts as no request."""
        node = prediction("a", model="m/one", role="node")
        node.outputs = {**node.outputs, ROWS_OF_REQUEST: np.array([1])}
        write(recording, prediction("a", rows=2), node, truth("a", 0, 1))
        told = recording.log.joined("m/one", signature=SIGNATURE)
        assert (told["row"].tolist(), told["truth"].tolist(), told["role"].tolist()) == ([1], [1], ["node"])
        assert [name for name in told.names if ROWS_OF_REQUEST in name] == []
        assert len(self.joined(recording)) == 2
        assert recording.log.counts().items() >= {"requests": 1, "predictions": 2, "unknown_truths": 0}.items()

    def test_export_writes_the_joined_rows(self, recording: Recording, tmp_path: Path) -> None:
        """As many as joined gives."""
        write(recording, prediction("a", rows=2))
        to = tmp_path / "rows.jsonl"
        assert recording.log.export("m", to, signature=SIGNATURE) == 2
        assert len(to.read_text().splitlines()) == 2

    def test_export_of_nothing_and_to_an_unknown_format_are_refused(self, recording: Recording, tmp_path: Path) -> None:
        """Each with its own code."""
        for suffix, code in ((".csv", "record.no-predictions"), (".xlsx", "record.unknown-format")):
            to = tmp_path / f"rows{suffix}"
            assert error_code(recording.log.export, "m", to, signature=SIGNATURE) == code
