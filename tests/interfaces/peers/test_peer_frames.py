"""What two gateways send each other arrives as it was."""

import math
import time

import numpy as np
import pytest

from modelwright.core.errors import ConflictError
from modelwright.core.signature import Signature
from modelwright.interfaces.peers.frames import (
    Frames,
    ask_of,
    call_of,
    decode_ask,
    decode_told,
    frame,
    outcome_of,
    told_of,
)
from modelwright.ports.runner import SequenceMark
from modelwright.serve.call import Answer, PredictCall

INPUTS = {
    "numbers": np.array([[1.5, math.nan], [math.inf, -0.0]], np.float32),
    "words": np.array([["a", b"\xff"], ["", "ü"]], object),
    "flags": np.array([True, False]),
    "turned": np.arange(6, dtype=np.int64).reshape(2, 3).T,
    "none": np.empty((0, 4), np.float64),
}


def call(**more):
    mark = SequenceMark("s1", start=True)
    return PredictCall(
        "m", dict(INPUTS), "actor", 12.5, "3", "id", sequence=mark, nulls={"words": INPUTS["flags"]}, **more
    )


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert found[name].tolist() == tensor.tolist() or tensor.dtype.kind == "f"
        if tensor.dtype.kind == "f":
            assert found[name].tobytes() == tensor.tobytes()


def over(value):
    """The body of a frame, which arrived byte by byte with another one behind it."""
    frames, found = Frames(), []
    for byte in frame(value) + frame(value):
        found += frames.feed(bytes([byte]))
    assert len(found) == 2
    assert found[0] == found[1]
    return found[0]


def test_a_request_arrives_whole_and_keeps_the_time_that_is_left():
    sent = call(limit=time.perf_counter() + 5, outputs=("y",), event_time=3.0, priority=2, retry=True, group="g")
    found = call_of(decode_ask(over(ask_of(7, sent))))
    assert_same(found.inputs, sent.inputs)
    assert_same(found.nulls, sent.nulls)
    assert found.limit == pytest.approx(sent.limit, abs=1)
    assert found.sequence == sent.sequence
    for name in (
        "model",
        "actor",
        "received_at",
        "version",
        "prediction_id",
        "event_time",
        "priority",
        "retry",
        "group",
    ):
        assert getattr(found, name) == getattr(sent, name)
    assert found.outputs == ["y"]
    assert call_of(decode_ask(over(ask_of(7, call())))).limit == math.inf


def test_an_answer_arrives_whole():
    signature = Signature((), ())
    sent = Answer("m", "3", "champion", "id", dict(INPUTS), 2, 0.25, signature, ("a warning",))
    found = outcome_of(decode_told(over(told_of(7, sent))), "m", {"3": signature}.__getitem__)
    assert_same(found.outputs, sent.outputs)
    assert (found.version, found.role, found.prediction_id, found.rows) == ("3", "champion", "id", 2)
    assert (found.duration, found.warnings, found.signature) == (0.25, ("a warning",), signature)


def test_an_error_arrives_with_its_kind_code_and_words():
    sent = ConflictError("serve.sequence-lost", "It is lost.", why="So.", fix="Begin.", details={"retry_after": 1})
    found = outcome_of(decode_told(over(told_of(7, sent))), "m", {}.__getitem__)
    assert isinstance(found, ConflictError)
    assert found.to_json() == sent.to_json()
