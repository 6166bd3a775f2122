"""The access log: whole lines, whatever is in them and whatever becomes of the file."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.adapters.observers.access_log import AccessLog, line
from modelwright.testing.events import InMemoryEvents
from modelwright.testing.events_conformance import EventSinkConformance, example_event

WEIRD = ["a\r\nb", "\x1b[31mred", "nul\0", "\x9b2J", "\u2028", "\u202e", "\ud800", "x" * 1_000_000, '"\\' * 500_000]


class TestAccessLog(EventSinkConformance):
    @pytest.fixture
    def make_sink(self, tmp_path):
        return lambda bound: AccessLog(str(tmp_path / "access.jsonl"), bound=bound)

    @pytest.fixture
    def delivered(self, tmp_path):
        return lambda: [one["prediction_id"] for one in lines(tmp_path / "access.jsonl")]


class TestInMemoryEvents(EventSinkConformance):
    @pytest.fixture
    def sinks(self):
        return []

    @pytest.fixture
    def make_sink(self, sinks):
        return lambda bound: (sinks.append(InMemoryEvents(bound)), sinks[-1])[1]

    @pytest.fixture
    def delivered(self, sinks):
        return lambda: [event.prediction_id for event in sinks[-1].events]


def lines(path):
    return [json.loads(text) for text in path.read_bytes().decode().splitlines()]


def test_a_line_says_who_asked_for_what_and_where_the_time_went():
    told = json.loads(line(example_event(7)))
    assert len(told.pop("trace_id")) == 32
    assert told == {
        "at": "2023-11-14T22:13:20.000+00:00",
        "event": "request",
        "protocol": "http",
        "method": "POST",
        "route": "/v2/models/{model}/infer",
        "status": 200,
        "seconds": 0.0005,
        "bytes_in": 120,
        "bytes_out": 240,
        "model": "flight-delay",
        "version": "3",
        "role": "champion",
        "actor": "board",
        "prediction_id": "p7",
        "rows": 2,
        "batch": 4,
        "decode_seconds": 1e-05,
        "queue_seconds": 2e-05,
        "infer_seconds": 3e-04,
        "encode_seconds": 4e-05,
    }


@pytest.mark.parametrize("text", WEIRD, ids=range(len(WEIRD)))
def test_no_field_breaks_its_line_or_reaches_a_terminal(text):
    event = example_event()
    names = ("method", "route", "error", "model", "version", "role", "actor", "prediction_id")
    written = line(event._replace(**dict.fromkeys(names, text)))
    assert len(written) < 4096
    assert written.count(b"\n") == 1
    assert written.decode()[:-1].isprintable()
    json.loads(written)


@given(st.text())
def test_any_text_is_one_printable_line_of_json(text):
    written = line(example_event()._replace(prediction_id=text, actor=text))
    assert written.decode()[:-1].isprintable()
    json.loads(written)


def test_a_rotated_file_is_opened_anew_and_no_line_is_lost(tmp_path):
    path, sink = tmp_path / "access.jsonl", AccessLog(str(tmp_path / "access.jsonl"))
    sink._write([line(example_event(1))])
    path.rename(tmp_path / "old.jsonl")
    sink._write([line(example_event(2))])
    sink.close()
    assert [[one["prediction_id"] for one in lines(file)] for file in (tmp_path / "old.jsonl", path)] == [
        ["p1"],
        ["p2"],
    ]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_written_costs_lines_and_nothing_else(tmp_path, caplog):
    sink = AccessLog(str(tmp_path / "no" / "such" / "access.jsonl"))
    for number in range(3):
        sink.put(example_event(number))
    sink.close()
    assert sink.dropped == 3
    assert len([record for record in caplog.records if "events are dropped" in record.message]) == 1


def test_a_reader_that_stops_reading_stops_nobody():
    readable, writable = os.pipe()
    sink = AccessLog("stderr", bound=100)
    sink._descriptor = writable
    for number in range(5000):
        sink.put(example_event(number))  # a pipe holds 64 KiB: the thread is stuck, this one goes on
    assert sink.dropped > 0
    sink._stop.set()
    os.close(readable)  # the write that is stuck fails now
    sink._thread.join(60)
    assert not sink._thread.is_alive()
    os.close(writable)
