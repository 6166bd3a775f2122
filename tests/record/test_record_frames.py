import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.core.errors import CorruptError
from modelwright.core.prediction import GapRecord, PredictionRecord, TruthRecord
from modelwright.record.frames import HEADER_BYTES, frame, read_header, scan, segment_header
from modelwright.record.payload import Encoder, decode

ROLES = st.sampled_from(["champion", "canary", "shadow", "pinned"])
CODES = st.sampled_from(["?", "u1", "<u2", "<u4", "<u8", "i1", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8"])
TEXTS = st.one_of(st.none(), st.text(max_size=5), st.binary(max_size=5))


@st.composite
def arrays(draw, rows):
    shape = (rows, *draw(st.lists(st.integers(0, 3), max_size=2)))
    size = int(np.prod(shape))
    if draw(st.booleans()):
        flat = np.empty(size, dtype=object)
        flat[:] = draw(st.lists(TEXTS, min_size=size, max_size=size))
    else:
        dtype = np.dtype(draw(CODES))
        raw = draw(st.binary(min_size=size * dtype.itemsize, max_size=size * dtype.itemsize))
        flat = np.frombuffer(raw, dtype=np.uint8)
        flat = (flat % 2).astype(bool) if dtype.kind == "b" else flat.view(dtype) if size else flat.astype(dtype)
    return flat.reshape(shape)


@st.composite
def predictions(draw):
    rows = draw(st.integers(0, 3))
    tensors = st.dictionaries(st.text(max_size=5), arrays(rows), max_size=3)
    floats = st.floats(allow_nan=False)
    return PredictionRecord(
        *(draw(st.text(max_size=5)), draw(st.text(max_size=3)), draw(ROLES), draw(st.text(max_size=8))),
        *(draw(floats), draw(floats), draw(floats), draw(st.text(max_size=3)), draw(st.text(max_size=3))),
        *(rows, draw(tensors), draw(tensors)),
    )


def assert_equal_records(one, other):
    for name in ("model", "version", "role", "prediction_id", "event_time", "received_at", "duration", "actor"):
        assert getattr(one, name) == getattr(other, name)
    assert (one.status, one.rows) == (other.status, other.rows)
    for side in ("inputs", "outputs"):
        mine, its = getattr(one, side), getattr(other, side)
        assert list(mine) == list(its)
        for name in mine:
            assert mine[name].shape == its[name].shape
            assert mine[name].dtype == its[name].dtype
            if mine[name].dtype == object:
                assert mine[name].tolist() == its[name].tolist()
            else:
                assert mine[name].tobytes() == its[name].tobytes()


@given(predictions())
def test_a_prediction_comes_back_bit_for_bit(record):
    assert_equal_records(decode(Encoder().encode(record)), record)


@given(
    st.lists(
        st.one_of(st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False), st.booleans(), st.none(), st.text())
    )
)
def test_a_truth_comes_back_as_it_was(values):
    record = TruthRecord("m", "a", tuple(values), 1.0, 2.0, "ada")
    found = decode(Encoder().encode(record))
    assert found == record
    assert [type(value) for value in found.values] == [type(value) for value in values]


def test_a_gap_comes_back_as_it_was():
    assert decode(Encoder().encode(GapRecord(3, 1.0, 2.0))) == GapRecord(3, 1.0, 2.0)


def test_values_that_msgpack_has_no_room_for_are_kept_as_text():
    record = TruthRecord("m", "a\ud800", (10**30,), 1.0, 2.0, "ada")
    found = decode(Encoder().encode(record))
    assert (found.prediction_id, found.values) == ("a\\ud800", (str(10**30),))


def test_numbers_of_other_layouts_in_memory_are_stored_little_endian_and_in_order():
    column = np.arange(6, dtype=">f4").reshape(2, 3).T
    record = PredictionRecord("m", "1", "champion", "a", 1.0, 1.0, 0.1, "ada", "ok", 3, {"x": column}, {})
    found = decode(Encoder().encode(record)).inputs["x"]
    assert found.dtype == np.dtype("<f4")
    np.testing.assert_array_equal(found, column)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "|u1"])
def test_of_a_large_image_the_log_keeps_what_it_was(dtype):
    image, small = np.ones((2, 3, 8, 8), dtype=dtype), np.ones((2, 2, 2), dtype=dtype)
    column = np.ones((2, 500), dtype=dtype)
    record = PredictionRecord(
        *("m", "1", "champion", "a", 1.0, 1.0, 0.1, "ada", "ok", 2),
        {"image": image, "small": small, "column": column},
        {"mask": image},
    )
    encode = Encoder(keep_bytes=100).encode
    for _ in range(2):
        found = decode(encode(record))
        said = [f"not kept: {image.dtype.name} [3, 8, 8]"] * 2
        assert (found.inputs["image"].tolist(), found.outputs["mask"].tolist()) == (said, said)
        np.testing.assert_array_equal(found.inputs["small"], small)
        np.testing.assert_array_equal(found.inputs["column"], column)


GOOD = [
    Encoder().encode(
        PredictionRecord(
            *("m", "1", "champion", "a", 1.0, 1.0, 0.1, "ada", "ok", 2),
            {"x": np.ones((2, 2), dtype=np.float32), "t": np.array([["a"], [None]], dtype=object)},
            {"y": np.zeros(2)},
        )
    ),
    Encoder().encode(TruthRecord("m", "a", (1, "b", None, 2.5), 1.0, 2.0, "ada")),
    Encoder().encode(GapRecord(3, 1.0, 2.0)),
]


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_as_corrupt_or_decoded(data):
    with contextlib.suppress(CorruptError):
        decode(data)


@settings(max_examples=600)
@given(st.sampled_from(GOOD), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_payload_is_refused_as_corrupt_or_decoded(payload, changes):
    damaged = bytearray(payload)
    for position, value in changes:
        damaged[position % len(damaged)] = value
    with contextlib.suppress(CorruptError):
        decode(bytes(damaged))


@pytest.mark.parametrize("payload", GOOD)
def test_a_payload_cut_short_is_refused(payload):
    for size in range(len(payload)):
        with pytest.raises(CorruptError):
            decode(payload[:size])


def segment(count, epoch=7):
    return segment_header(epoch) + b"".join(frame(b"payload-%d" % n, epoch, n) for n in range(count))


def payloads(data, found):
    return [data[start:stop] for start, stop in found.spans]


@given(st.binary(max_size=100))
def test_arbitrary_bytes_are_no_header(data):
    with pytest.raises(CorruptError):
        read_header(data)


def test_a_header_of_a_later_format_says_so():
    newer = bytearray(segment_header(7))
    newer[6] = 2
    with pytest.raises(CorruptError):
        read_header(bytes(newer))


@given(st.integers(0, 200))
def test_a_segment_cut_anywhere_gives_the_whole_frames_before_the_cut(cut):
    data = segment(8)
    found = scan(data[: HEADER_BYTES + cut], 7, start=HEADER_BYTES)
    whole = [b"payload-%d" % n for n in range(8)]
    got = payloads(data, found)
    assert got == whole[: len(got)]
    assert found.damaged == []
    assert len(got) == min(cut // 29, 8)


@given(st.integers(HEADER_BYTES, len(segment(8)) - 1), st.integers(1, 255))
def test_one_changed_byte_costs_one_frame_and_is_reported(position, flip):
    data = bytearray(segment(8))
    data[position] ^= flip
    found = scan(bytes(data), 7, start=HEADER_BYTES)
    hit = (position - HEADER_BYTES) // 29
    assert payloads(bytes(data), found) == [b"payload-%d" % n for n in range(8) if n != hit]
    assert len(found.damaged) == (hit < 7)
    assert found.end == (HEADER_BYTES + 29 * 7 if hit == 7 else len(data))


def test_a_frame_of_another_epoch_is_not_ours():
    data = segment(2) + frame(b"stranger", 8, 2)
    assert len(scan(data, 7, start=HEADER_BYTES).spans) == 2


def test_a_missing_frame_in_the_middle_is_damage():
    data = segment(2) + frame(b"later", 7, 3)
    found = scan(data, 7, start=HEADER_BYTES)
    assert len(found.spans) == 3
    assert len(found.damaged) == 1
