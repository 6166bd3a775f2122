from dataclasses import dataclass

import pytest

from modelwright.testing.record import InMemoryLog, InMemorySink
from modelwright.testing.record_conformance import PredictionLogConformance, RecordSinkConformance, prediction


@dataclass(frozen=True)
class Memory:
    sink: InMemorySink
    log: InMemoryLog


@pytest.fixture
def recording():
    sink = InMemorySink()
    return Memory(sink, InMemoryLog(sink))


class TestInMemorySink(RecordSinkConformance):
    def test_a_failing_sink_counts_what_it_drops_and_says_so_later(self, recording):
        recording.sink.failing = True
        recording.sink.append(prediction("a", rows=3))
        assert recording.sink.flush() is False
        recording.sink.failing = False
        recording.sink.append(prediction("b"))
        assert recording.sink.flush() is True
        assert recording.log.counts()["unlogged"] == 3


class TestInMemoryLog(PredictionLogConformance):
    pass
