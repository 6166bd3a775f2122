"""Frames come back as they were sent, and nothing else is taken for one."""

import os
import random
import socket
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from modelwright.adapters.runners import frames as format_
from modelwright.adapters.runners.answers import AnswerCheck
from modelwright.adapters.runners.frames import (
    CHUNK,
    CREDIT,
    END,
    FAILED,
    READY,
    REFUSED,
    RESULT,
    RUN,
    WINDOW,
    EndedError,
    FrameError,
    Frames,
)
from modelwright.adapters.runners.worker import LostError, Worker
from modelwright.core.errors import ModelwrightError
from modelwright.core.signature import DATATYPES, Signature, TensorSpec

HOSTILE_FRAMES = 10_000
SIGNATURE = Signature(
    (TensorSpec("x", "FP64", (-1, 1)),), (TensorSpec("y", "FP64", (-1, 1)), TensorSpec("s", "BYTES", (-1,)))
)


@pytest.fixture
def pair():
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made = [Frames(end, max_bytes=2**26) for end in ends]
    for end in ends:
        end.setblocking(False)
    yield made
    for frames in made:
        frames.close()


plain = [dtype for dtype in DATATYPES.values() if dtype.kind != "O"]
numbers = st.sampled_from(plain).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, min_side=0))
)
words = st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5).map(
    lambda texts: np.array([*texts, None], object)[:-1]
)
tensors = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), numbers | words, max_size=4)


@settings(deadline=None)
@given(tensors, st.integers(0, 2**64 - 1))
def test_tensors_come_back_as_they_were_sent(given_tensors, run):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sender, receiver = Frames(ours, max_bytes=0), Frames(theirs, max_bytes=2**26)
    try:
        sender.send(RUN, run, given_tensors)
        frame = receiver.receive()
    finally:
        sender.close()
        receiver.close()
    assert (frame.kind, frame.run, list(frame.tensors)) == (RUN, run, list(given_tensors))
    for name, tensor in given_tensors.items():
        found = frame.tensors[name]
        assert found.dtype == tensor.dtype
        assert found.shape == tensor.shape
        assert found.tobytes() == tensor.tobytes() if tensor.dtype != object else found.tolist() == tensor.tolist()


@pytest.mark.parametrize("kept", [False, True])
def test_long_data_travel_in_a_memory_file(kept):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    file = os.memfd_create("kept") if kept else -1
    sender, receiver = Frames(ours, max_bytes=2**26, file=file), Frames(theirs, max_bytes=2**26)
    for count in (10**6, 10**5, 10):
        x = np.arange(count, dtype=np.float64)
        sender.send(RESULT, 1, {"x": x, "none": x[:0], "s": np.array(["ä"] * 3, object)})
        frame = receiver.receive()
        assert (frame.tensors["x"] == x).all()
        assert frame.tensors["s"].tolist() == ["ä"] * 3
    sender.close()
    with pytest.raises(EndedError):
        receiver.receive()
    receiver.close()


def header(kind=RESULT, count=0, run=1, length=0, magic=format_._MAGIC, number=0):
    return format_._HEADER.pack(magic, kind, count, number, run, length)


def tensor(code=11, rank=1, name=b"y", size=8, shape=(1,)):
    return format_._TENSOR.pack(code, rank, len(name), 0, size) + struct.pack(f"={len(shape)}q", *shape) + name


@pytest.mark.parametrize(
    "message",
    [
        b"x",
        header(magic=1),
        header(count=2000),
        header(length=2**60),
        header(length=9) + b"12345678",
        header(count=1, length=8),
        header(count=1, length=8) + tensor(code=99) + b"12345678",
        header(count=1, length=8) + tensor(rank=200) + b"12345678",
        header(count=1, length=8) + tensor(shape=(-1,)) + b"12345678",
        header(count=1, length=8) + tensor(shape=(2,)) + b"12345678",
        header(count=1, length=8) + tensor(rank=2, shape=(2**62, 2**62)) + b"12345678",
        header(count=1, length=0) + tensor(rank=3, shape=(0, 2**40, 2**40), size=0),
        header(count=1, length=8) + tensor(name=b"\xff") + b"12345678",
        header(count=2, length=16) + 2 * tensor() + b"1234567812345678",
        header(count=1, length=16) + tensor() + b"12345678",
        header(count=1, length=8) + tensor(code=12, size=8) + struct.pack("=I", 5) + b"1234",
        header(count=1, length=8) + tensor(code=12, size=8) + struct.pack("=I", 4) + b"\xff\xff\xff\xff",
    ],
)
def test_what_is_no_frame_is_refused(pair, message):
    pair[0]._channel.send(message)
    with pytest.raises(FrameError):
        pair[1].receive()


def test_a_message_with_other_files_is_refused_and_they_are_closed(pair, tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    (tmp_path / "file").write_bytes(b"12345678")
    on_disk = os.open(tmp_path / "file", os.O_RDONLY)
    ends = os.pipe()
    body = header(count=1, length=8) + tensor()
    for message, files in ((body, [on_disk]), (body, [ends[0]]), (body, [on_disk, on_disk]), (b"x", [on_disk] * 9)):
        socket.send_fds(pair[0]._channel, [message], files)
        with pytest.raises(FrameError):
            pair[1].receive()
    for descriptor in (on_disk, *ends):
        os.close(descriptor)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


class Hostile:
    """A worker whose process is this test."""

    def __init__(self, process):
        ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self.worker = Worker(process, Frames(ours, max_bytes=2**20), AnswerCheck(SIGNATURE), "none")

    def asked(self, rows):
        self.worker.start({"x": np.zeros((rows, 1))})
        return format_._HEADER.unpack_from(self.theirs.recv(2**17))[4]

    def streaming(self):
        run = self.worker.stream({"x": np.zeros((1, 1))})
        self.theirs.recv(2**17)
        return run

    def close(self):
        self.worker._frames.close()
        self.theirs.close()


@pytest.fixture
def hostile():
    with subprocess.Popen(["true"]) as process:
        made = Hostile(process)
        yield made
        made.close()


def recorded(run, rows):
    """The bytes of a right answer."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        answer = {"y": np.full((rows, 1), 2.5), "s": np.array(["grün"] * rows, object)}
        Frames(ours, max_bytes=0).send(RESULT, run, answer)
        return theirs.recv(2**17)


def mutated(message, choice):
    message = bytearray(message)
    for _ in range(choice.randrange(1, 4)):
        what, at = choice.random(), choice.randrange(len(message))
        if what < 0.4:
            message[at] = choice.randrange(256)
        elif what < 0.6:
            width = min(8, len(message) - at)
            message[at : at + width] = choice.choice((0, 1, 2**31, 2**62, 2**64 - 1)).to_bytes(8, "little")[:width]
        elif what < 0.8:
            del message[at : at + choice.randrange(1, 9)]
        else:
            message[at:at] = choice.randbytes(choice.randrange(1, 9))
        if not message:
            return b"\0"
    return bytes(message)


def test_k2_of_ten_thousand_hostile_frames_none_brings_a_wrong_answer():
    choice, taken = random.Random(7), 0
    with subprocess.Popen(["true"]) as process:
        for _ in range(HOSTILE_FRAMES):
            hostile, rows = Hostile(process), choice.choice((1, 2, 5))
            run = hostile.asked(rows)
            what = choice.random()
            if what < 0.6:
                message = mutated(recorded(run, rows), choice)
            elif what < 0.7:
                message = recorded(run ^ 1 << choice.randrange(64), rows)
            elif what < 0.8:
                message = recorded(run, rows + choice.choice((-1, 1, 100)))
            elif what < 0.9:
                message = choice.randbytes(choice.randrange(1, 200))
            else:
                message = header(kind=choice.choice((READY, RUN, REFUSED, FAILED, 77)), run=run)
            hostile.theirs.send(message)
            lost = None
            try:
                found = hostile.worker.answer()
            except LostError as error:
                lost = error
            if lost is not None:
                assert lost.reason == "violated"
            else:
                taken += 1
                if not isinstance(found, ModelwrightError):
                    assert message[12:20] == run.to_bytes(8, "little")
                    assert list(found) == ["y", "s"]
                    assert found["y"].shape == (rows, 1)
                    assert found["y"].dtype == np.float64
                    assert found["s"].shape == (rows,)
                    assert all(isinstance(text, str) for text in found["s"])
            hostile.close()
    assert taken < HOSTILE_FRAMES / 2


def test_k2_a_second_answer_is_not_taken_for_the_next_request():
    with subprocess.Popen(["true"]) as process:
        hostile = Hostile(process)
        run = hostile.asked(1)
        for _ in range(2):
            hostile.theirs.send(recorded(run, 1))
        assert hostile.worker.answer() is not None
        hostile.asked(1)
        with pytest.raises(LostError, match="nobody asked for"):
            hostile.worker.answer()
        hostile.close()


def test_k2_an_answer_before_the_question_is_not_taken():
    with subprocess.Popen(["true"]) as process:
        hostile = Hostile(process)
        hostile.theirs.send(recorded(0, 1))
        with pytest.raises(LostError, match="nobody asked for"):
            hostile.worker.answer()
        hostile.close()


def chunk_of(number, run, rows=1, kind=CHUNK):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        answer = {"y": np.full((rows, 1), 2.5), "s": np.array(["a"] * rows, object)}
        Frames(ours, max_bytes=0).send(kind, run, answer, number)
        return theirs.recv(2**17)


def test_chunks_come_in_order_and_the_end_counts_them(hostile):
    run = hostile.streaming()
    for number, rows in enumerate((1, 3)):
        hostile.theirs.send(chunk_of(number, run, rows))
        assert hostile.worker.answer().chunk["y"].shape == (rows, 1)
    hostile.theirs.send(header(kind=END, run=run, number=2))
    assert hostile.worker.answer().ended


@pytest.mark.parametrize(
    "messages",
    [
        lambda run: [chunk_of(1, run)],
        lambda run: [chunk_of(0, run), chunk_of(0, run)],
        lambda run: [chunk_of(number, run) for number in range(WINDOW + 1)],
        lambda run: [chunk_of(0, run), header(kind=END, run=run, number=1), chunk_of(1, run)],
        lambda run: [header(kind=END, run=run, number=1)],
        lambda run: [chunk_of(0, run, kind=RESULT)],
        lambda run: [chunk_of(0, run ^ 1)],
        lambda run: [header(kind=END, run=run ^ 1)],
        lambda run: [header(kind=CREDIT, run=run)],
    ],
)
def test_chunks_that_nobody_asked_for_or_in_another_order_end_the_process(hostile, messages):
    for message in messages(hostile.streaming()):
        hostile.theirs.send(message)
    with pytest.raises(LostError) as caught:
        all(hostile.worker.answer() for _ in range(WINDOW + 2))
    assert caught.value.reason == "violated"


def test_a_chunk_for_a_run_that_does_not_stream_ends_the_process(hostile):
    hostile.theirs.send(chunk_of(0, hostile.asked(1)))
    with pytest.raises(LostError):
        hostile.worker.answer()


def test_chunks_that_cross_a_cancellation_are_thrown_away_up_to_the_end(hostile):
    run = hostile.streaming()
    hostile.worker.cancel(run)
    for message in (chunk_of(0, run), header(kind=END, run=run, number=1)):
        hostile.theirs.send(message)
    assert hostile.worker.answer() is None
    assert hostile.worker.answer().ended
