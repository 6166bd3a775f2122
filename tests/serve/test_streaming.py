"""Answers in chunks: how far ahead, who is told what, what is on record, and what becomes of what does not end."""

import time

import numpy as np
import pytest

from modelwright.core.errors import BadInputError, ModelwrightError, UnavailableError
from modelwright.core.signature import Signature, TensorSpec
from modelwright.core.version import Arm, Route, RoutingTable
from modelwright.ports.runner import LOST
from modelwright.serve import Plane, PredictCall
from modelwright.serve.streaming import STOP_SECONDS
from modelwright.testing.record import InMemorySink
from modelwright.testing.remote import RemoteRunner, SteppedRemote

SIGNATURE = Signature((TensorSpec("x", "FP64", (-1, 1)),), (TensorSpec("y", "FP64", (-1, 1)),))


def twice(inputs):
    return {"y": inputs["x"] * 2}


class Listening:
    def __init__(self):
        self.values, self.ends = [], []

    def chunk(self, answer):
        self.values.append(answer.outputs["y"].item())

    def end(self, error):
        self.ends.append(error.code if isinstance(error, ModelwrightError) else error)


class Asking:
    """A plane with one remote for each arm."""

    def __init__(self, packages, weights=(1.0,), **options):
        self.remotes = {package.digest: SteppedRemote(twice) for package in packages}
        self.sink = InMemorySink()
        self.plane = Plane(self.sink, self, watch=object(), **options)
        roles = ("champion", "canary")
        arms = tuple(
            Arm(str(n + 1), p.digest, w, r) for n, (p, w, r) in enumerate(zip(packages, weights, roles, strict=False))
        )
        table = RoutingTable(1, {"code": Route("code", arms)})
        self.plane.apply(table, {package.digest: package for package in packages}.__getitem__)
        self.remote = self.remotes[packages[-1].digest]

    def load(self, package, *, threads=1):
        return RemoteRunner(self.remotes[package.digest], twice)

    def stream(self, value=1.0, **more):
        listening = Listening()
        call = PredictCall("code", {"x": np.array([[value]])}, "a", 0.0, **more)
        return self.plane.stream(call, listening), listening

    def say(self, *values, remote=None):
        for sink in [*(remote or self.remote).streams.values()]:
            for value in values:
                sink.chunk({"y": np.array([[value]])})

    def end(self, error=None, remote=None):
        streams = (remote or self.remote).streams
        while streams:
            streams.popitem()[1].ended(error)

    def records(self):
        self.sink.flush()
        return [(record.status, record.version) for record in self.sink.records]


@pytest.fixture
def streaming(code_package):
    return lambda name="a": code_package(f"# {name}", "code", SIGNATURE, streams=True)


def test_a_chunk_that_was_used_lets_one_more_come(streaming):
    asking = Asking([streaming()])
    chunks, listening = asking.stream()
    asking.say(1, 2)
    assert (listening.values, asking.remote.said) == ([1.0, 2.0], [])
    chunks.taken()
    assert asking.remote.said == [("welcome", 1)]
    chunks.taken()
    chunks.taken()  # nothing was there to be used
    assert len(asking.remote.said) == 2


def test_one_record_is_written_before_the_end_is_told_with_the_last_chunk(streaming):
    asking = Asking([streaming()])
    _, listening = asking.stream(prediction_id="p")
    asking.say(1, 2)
    assert asking.records() == []
    asking.end()
    asking.sink.flush()
    (record,) = asking.sink.records
    assert (record.status, record.prediction_id, record.outputs["y"].tolist()) == ("ok", "p", [[2.0]])
    assert listening.ends == [None]


def test_a_caller_who_leaves_is_on_record_and_the_model_is_told(streaming):
    asking = Asking([streaming()])
    chunks, listening = asking.stream()
    asking.say(1)
    chunks.cancel()
    asking.say(2)
    assert asking.remote.said == [("cancel", 1)]
    assert (listening.values, listening.ends, asking.records()) == ([1.0], [], [("serve.cancelled", "1")])


@pytest.mark.parametrize("stops", [True, False])
def test_a_model_that_was_told_to_stop_and_does_not_is_killed(streaming, stops):
    asking = Asking([streaming()])
    asking.stream()[0].cancel()
    if stops:
        asking.end()
    asking.plane.give_up_late(time.perf_counter() + STOP_SECONDS + 1)
    assert asking.remote.abandoned == ([] if stops else [1])


def test_what_is_late_ends_with_an_error_and_so_does_a_model_that_gives_nothing(streaming):
    asking, now = Asking([streaming()], run_seconds=10), time.perf_counter()
    late, _ = asking.stream(limit=now + 5)[1], asking.stream()[1]
    asking.plane.give_up_late(now + 6)
    assert late.ends == ["serve.deadline"]
    chunks, stalled = asking.stream()
    asking.plane.give_up_late(now + 20)
    assert stalled.ends == ["serve.deadline"]
    chunks, slow = asking.stream()
    asking.say(1, 2)  # the caller's turn, who reads slowly
    asking.plane.give_up_late(time.perf_counter() + 20)
    assert slow.ends == []
    assert chunks.ticket.arm.loaded.in_flight == 1


def test_more_answers_than_the_processes_make_at_once_are_refused(streaming):
    asking = Asking([streaming()])
    asking.remote.stream_slots = 0
    assert asking.stream()[1].ends == ["serve.overloaded"]
    assert asking.records() == []


def test_what_comes_while_no_process_stands_begins_when_one_does(streaming):
    asking = Asking([streaming()])
    asking.remote.places = 0
    asking.remote._standing = {}
    _, listening = asking.stream()
    assert asking.remote.streams == {}
    asking.remote._standing = {1: 0}
    asking.plane.give_up_late(time.perf_counter())
    asking.say(3)
    assert listening.values == [3.0]


def test_where_a_canary_fails_before_its_first_chunk_the_champion_answers(streaming):
    champion, canary = streaming("champion"), streaming("canary")
    asking = Asking([champion, canary], (0.0, 1.0))
    _, listening = asking.stream()
    asking.end(UnavailableError(LOST, "It ended."))
    asking.say(7, remote=asking.remotes[champion.digest])
    asking.end(remote=asking.remotes[champion.digest])
    assert (listening.values, listening.ends) == ([7.0], [None])
    assert asking.records() == [(LOST, "2"), ("ok", "1")]
    _, listening = asking.stream()
    asking.say(1)
    asking.end(BadInputError("serve.model-rejected-input", "No."))
    assert listening.ends == ["serve.model-rejected-input"]


def test_a_server_that_stops_ends_what_is_open(streaming):
    asking = Asking([streaming()])
    _, listening = asking.stream()
    asking.plane.close()
    assert listening.ends == [LOST]
