"""Every value of every datatype arrives as it was, in binary and in JSON; nonsense for an answer is found out."""

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from modelwright.client.encoding import decode, encode
from modelwright.client.model import ServedModel
from modelwright.client.rows import Tensor, tensors
from modelwright.client.wire import Reader
from modelwright.core.signature import DATATYPES, Signature, TensorSpec
from modelwright.interfaces.http import infer

TEXT = st.text(max_size=5)
SHAPES = arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)


@st.composite
def columns(draw):
    """A datatype and an array of it, [n, ...]."""
    datatype = draw(st.sampled_from(sorted(DATATYPES)))
    elements = TEXT if datatype == "BYTES" else None
    return datatype, draw(arrays.arrays(DATATYPES[datatype], SHAPES, elements=elements))


def ask(datatype, array, *, binary):
    """What a server makes of a request with this array."""
    spec = TensorSpec("x", datatype, (-1, *array.shape[1:]))
    model = ServedModel("m", (), "", Signature((spec,), ()), binary)
    body, length = encode(
        tensors(model, {"x": array}), identity="i", outputs=None, parameters={"priority": 1}, binary=binary
    )
    return infer.decode("m", "", b"".join(body), length, actor="", received_at=0.0).call


@given(columns())
def test_what_is_sent_in_binary_arrives_bit_for_bit(column):
    datatype, array = column
    found = ask(datatype, array, binary=True).inputs["x"]
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tolist() == array.tolist() if datatype == "BYTES" else found.tobytes() == array.tobytes()


@given(columns())
def test_what_is_sent_in_json_arrives_with_nan_as_missing(column):
    datatype, array = column
    if array.dtype.kind == "f":
        array = np.where(np.isinf(array), 0, array).astype(array.dtype)
    call = ask(datatype, array, binary=False)
    np.testing.assert_array_equal(call.inputs["x"], array)
    if array.dtype.kind == "f" and np.isnan(array).any():
        np.testing.assert_array_equal(call.nulls["x"], np.isnan(array))


@given(arrays.arrays(object, st.integers(0, 5), elements=st.one_of(st.none(), TEXT)))
def test_missing_texts_arrive_as_missing(array):
    call = ask("BYTES", array.reshape(-1, 1), binary=True)
    missing = np.array([value is None for value in array], dtype=bool).reshape(-1, 1)
    assert (call.nulls["x"].tolist() if missing.any() else call.nulls) == (missing.tolist() if missing.any() else {})
    assert [v for v in call.inputs["x"].reshape(-1).tolist() if v] == [value for value in array if value]


@given(columns(), st.booleans())
def test_answers_come_back_bit_for_bit(column, binary):
    datatype, array = column
    if not binary and array.dtype.kind == "f":
        array = np.where(np.isfinite(array), array, 0).astype(array.dtype)
    items = [Tensor("x", datatype, array)]
    body, length = encode(items, identity="i", outputs=None, parameters={}, binary=binary)
    _, found = decode(b"".join(body).replace(b'"inputs"', b'"outputs"', 1), None if length is None else length + 1)
    assert found["x"].dtype == array.dtype
    np.testing.assert_array_equal(found["x"], array)


@given(st.binary(max_size=60), st.one_of(st.none(), st.integers(0, 70)))
def test_bytes_that_are_no_answer_are_a_value_error_at_worst(body, length):
    for text in (
        body,
        b'{"outputs":[{"name":"x","datatype":"BYTES","shape":[2],"parameters":{"binary_data_size":9}}]}' + body,
    ):
        with pytest.raises((ValueError, msgspec.MsgspecError, TypeError, OverflowError)):
            decode(text, length)


def test_half_precision_of_the_brain_comes_as_float32():
    head = json.dumps(
        {"outputs": [{"name": "x", "datatype": "BF16", "shape": [2], "parameters": {"binary_data_size": 4}}]}
    ).encode()
    assert decode(head + b"\x80\x3f\x00\xc0", len(head))[1]["x"].tolist() == [1.0, -2.0]


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=4), st.data())
def test_answers_are_the_same_however_they_are_cut(bodies, data):
    stream = b"".join(b"HTTP/1.1 200 OK\r\nA: b\r\ncontent-length: %d\r\n\r\n%b" % (len(one), one) for one in bodies)
    reader, found, rest = Reader(), [], stream
    ends = np.cumsum([len(b"HTTP/1.1 200 OK\r\nA: b\r\ncontent-length: %d\r\n\r\n%b" % (len(b), b)) for b in bodies])
    sent = 0
    while rest:
        most = int(ends[ends > sent][0]) - sent  # an answer is asked for once the one before it is there
        size = data.draw(st.integers(1, most))
        reply = reader.feed(rest[:size])
        rest, sent = rest[size:], sent + size
        if reply is not None:
            found.append(reply)
            assert reader.reusable
            assert not reader.begun
    assert [one.body for one in found] == bodies
    assert all(one.headers[b"a"] == b"b" for one in found)
