import dataclasses
import shutil
import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelwright.core.prediction import GapRecord, PredictionRecord
from modelwright.core.signature import Signature, TensorSpec
from modelwright.core.table import missing
from modelwright.record.compact import compact
from modelwright.record.log import DuckLog
from modelwright.record.writer import SegmentWriter
from modelwright.testing.record import InMemoryLog, InMemorySink
from modelwright.testing.record_conformance import (
    SIGNATURE,
    PredictionLogConformance,
    RecordSinkConformance,
    prediction,
    truth,
    write,
)


@dataclass(frozen=True)
class OnDisk:
    sink: SegmentWriter
    log: DuckLog


@pytest.fixture
def recording(tmp_path):
    sink = SegmentWriter(tmp_path / "log", writer_id="gw", segment_bytes=2**20)
    yield OnDisk(sink, DuckLog(tmp_path / "log"))
    sink.close()


class CompactedLog(DuckLog):
    """Compacts before each reading, so that the same claims are made of Parquet."""

    def __init__(self, directory, sink):
        super().__init__(directory)
        self.sink, self.directory = sink, directory

    def _refresh(self):
        self.sink.close()
        compact(self.directory)
        super()._refresh()


class TestSegmentWriter(RecordSinkConformance):
    pass


class TestLogOfLiveSegments(PredictionLogConformance):
    pass


class TestLogOfParquet(PredictionLogConformance):
    @pytest.fixture
    def recording(self, tmp_path):
        sink = SegmentWriter(tmp_path / "log", writer_id="gw")
        return OnDisk(sink, CompactedLog(tmp_path / "log", sink))


def assert_same(one, other):
    assert one.names == other.names
    for name in one.names:
        assert one[name].dtype == other[name].dtype, name
        np.testing.assert_array_equal(missing(one[name]), missing(other[name]), err_msg=name)
        there = ~missing(one[name])
        np.testing.assert_array_equal(one[name][there], other[name][there], err_msg=name)


ids = st.sampled_from("abcd")
times = st.integers(0, 6).map(float)
predictions = st.builds(
    prediction,
    ids,
    rows=st.integers(0, 3),
    version=st.sampled_from("12"),
    role=st.sampled_from(["champion", "canary", "shadow"]),
    at=times,
    status=st.sampled_from(["ok", "serve.failed"]),
)
truths = st.builds(truth, ids, st.sampled_from([0, 1, 0.5, True, None, "late"]), at=times)
gaps = st.builds(GapRecord, unlogged=st.integers(1, 5), since=times, until=times)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.one_of(predictions, truths, gaps), max_size=6), max_size=5))
def test_segments_parquet_and_the_plain_log_give_the_same_answers(tmp_path, batches):
    directory = tmp_path / "log"
    shutil.rmtree(directory, ignore_errors=True)
    sink, memory = SegmentWriter(directory, writer_id="gw", segment_bytes=600), InMemorySink()
    live, plain = DuckLog(directory), InMemoryLog(memory)
    received = 0.0
    for batch in batches:
        for drawn in batch:
            received += 1.0
            record = drawn if isinstance(drawn, GapRecord) else dataclasses.replace(drawn, received_at=received)
            memory.append(record)
            sink.append(record)
        assert sink.flush()
        assert memory.flush()
        live.counts()  # reads on from where it stopped
    sink.close()
    fresh_raw = DuckLog(directory)
    raw = {status: fresh_raw.joined("m", signature=SIGNATURE, status=status) for status in ("ok", None)}
    compact(directory)
    parquet = DuckLog(directory)
    for log in (live, parquet):
        assert log.counts().items() >= plain.counts().items()
        assert log.counts()["corrupt_segments"] == 0
        assert list(log.arms("m", since=3.0)) == list(plain.arms("m", since=3.0))
        for status, table in raw.items():
            assert_same(log.joined("m", signature=SIGNATURE, status=status), table)
    assert_same(raw["ok"], plain.joined("m", signature=SIGNATURE))


def test_versions_with_different_inputs_share_a_table_with_the_absent_columns_missing(recording):
    write(recording, prediction("a", at=1.0))
    other = prediction("b", at=2.0, version="2")
    write(recording, dataclasses.replace(other, inputs={"amount": other.inputs["amount"]}))
    assert recording.log.joined("m", signature=SIGNATURE)["input.city"].tolist() == ["city-0", None]


def test_inputs_whose_names_differ_in_case_only_are_kept_apart(tmp_path):
    inputs = {name: np.array([[value]], dtype=np.float64) for name, value in (("Age", 1.0), ("age", 2.0))}
    record = PredictionRecord("m", "1", "champion", "a", 1.0, 1.0, 0.1, "ada", "ok", 1, inputs, {})
    signature = Signature(tuple(TensorSpec(name, "FP64", (-1, 1)) for name in inputs), ())
    with_writer = SegmentWriter(tmp_path, writer_id="gw")
    with_writer.append(record)
    with_writer.close()
    compact(tmp_path)
    table = DuckLog(tmp_path).joined("m", signature=signature)
    assert (table["input.Age"].tolist(), table["input.age"].tolist()) == ([1.0], [2.0])


@pytest.mark.parametrize(
    "values",
    [
        np.array([[1.5, -2.5]], dtype=np.float16),
        np.array([[2**63, 3]], dtype=np.uint64),
        np.array([[-(2**62), 3]], dtype=np.int64),
        np.array([[True, False]]),
        np.array([[np.nan, np.inf]], dtype=np.float32),
        np.array([["a\x00b", None]], dtype=object),
        np.array([[b"bytes", b"\xff"]], dtype=object),
    ],
    ids=lambda values: f"{values.dtype}-{values.size}",
)
def test_every_datatype_reads_the_same_from_segments_and_from_parquet(tmp_path, values):
    record = PredictionRecord("m", "1", "champion", "a", 1.0, 1.0, 0.1, "ada", "ok", 1, {"x": values}, {})
    signature = Signature((TensorSpec("x", "FP32", (-1, 2), ("left", "right")),), ())
    sink = SegmentWriter(tmp_path, writer_id="gw")
    sink.append(record)
    sink.close()
    raw = DuckLog(tmp_path).joined("m", signature=signature)
    assert compact(tmp_path) == 1
    assert_same(DuckLog(tmp_path).joined("m", signature=signature), raw)
    assert raw.names[-4:] == ("input.left", "input.right", "truth", "truth_at")


def test_tensors_of_more_than_two_dimensions_are_counted_but_have_no_columns(tmp_path):
    inputs = {"image": np.zeros((2, 3, 3), dtype=np.float32)}
    record = PredictionRecord("m", "1", "champion", "a", 1.0, 1.0, 0.1, "ada", "ok", 2, inputs, {})
    sink = SegmentWriter(tmp_path, writer_id="gw")
    sink.append(record)
    sink.close()
    signature = Signature((TensorSpec("image", "FP32", (-1, 3, 3)),), ())
    for _ in range(2):
        table = DuckLog(tmp_path).joined("m", signature=signature)
        assert len(table) == 2
        assert not any(name.startswith("input.") for name in table.names)
        compact(tmp_path)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_an_export_holds_what_joined_gives(recording, tmp_path, suffix):
    import duckdb

    write(recording, prediction("a", rows=2), truth("a", 1, 0))
    to = tmp_path / f"rows{suffix}"
    assert recording.log.export("m", to, signature=SIGNATURE) == 2
    relation = duckdb.sql(f"SELECT prediction_id, \"input.amount\", truth FROM '{to}' ORDER BY row")
    assert relation.fetchall() == [("a", 100.0, 1.0), ("a", 101.0, 0.0)]
    assert to.stat().st_mode & 0o077 == 0


def test_a_log_that_was_never_written_is_empty(tmp_path):
    log = DuckLog(tmp_path / "nothing")
    assert log.counts()["requests"] == 0
    assert list(log.arms("m", since=0.0)) == []
    assert compact(tmp_path / "nothing") == 0


def test_odd_names_and_times_neither_stop_a_compaction_nor_hide_rows(tmp_path):
    inputs = {name: np.array([[1.0]]) for name in ("a\x00b", 'quo"te', "", "Case", "case", "ä")}
    odd = PredictionRecord("m/../x", "1", "champion", "a", float("inf"), 1.0, 0.1, "ada", "ok", 1, inputs, {})
    signature = Signature(tuple(TensorSpec(name, "FP64", (-1, 1)) for name in inputs), ())
    sink = SegmentWriter(tmp_path / "log", writer_id="gw")
    sink.append(odd)
    sink.append(dataclasses.replace(odd, prediction_id="b", event_time=float("nan")))
    sink.close()
    raw = DuckLog(tmp_path / "log").joined("m/../x", signature=signature)
    assert compact(tmp_path / "log") == 1
    log = DuckLog(tmp_path / "log")
    assert_same(log.joined("m/../x", signature=signature), raw)
    assert log.export("m/../x", tmp_path / "odd.csv", signature=signature) == 2


def test_a_reader_beside_a_busy_writer_sees_only_whole_records_and_never_fewer(tmp_path):
    sink = SegmentWriter(tmp_path, writer_id="gw", segment_bytes=20_000)
    stop, seen_by_writer = threading.Event(), [0]

    def work():
        while not stop.is_set():
            sink.append(prediction(f"{seen_by_writer[0]}"))
            assert sink.flush()
            seen_by_writer[0] += 1
            time.sleep(0.0005)

    writer = threading.Thread(target=work)
    writer.start()
    log, seen = DuckLog(tmp_path), 0
    try:
        for turn in range(20):
            if turn % 5 == 4:
                compact(tmp_path)
            counts = log.counts()
            assert counts["requests"] >= seen
            assert counts["corrupt_segments"] == 0
            seen = counts["requests"]
    finally:
        stop.set()
        writer.join()
    sink.close()
    assert log.counts() == DuckLog(tmp_path).counts()
    assert log.counts()["requests"] == seen_by_writer[0]
