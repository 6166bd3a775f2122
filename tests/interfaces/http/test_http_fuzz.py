"""Whatever a body holds, the decoders give a request or a refusal of ours with a 4xx status."""

import gzip
import json
import sys
import zlib

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core.errors import ModelwrightError
from modelwright.core.signature import DATATYPES, Signature, TensorSpec
from modelwright.interfaces.http import infer, tensors, truth
from modelwright.interfaces.http.coding import choose, decompress
from modelwright.interfaces.http.message import error_reply
from modelwright.serve.call import Answer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
JSON_VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
SHAPES = st.lists(st.integers(-2, 2**65) | st.integers(0, 4), max_size=4) | JSON_VALUES
TENSORS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["X", "Y"]) | JSON_VALUES,
        "shape": SHAPES,
        "datatype": st.sampled_from([*DATATYPES, "STRING", "BF16"]) | JSON_VALUES,
        "data": JSON_VALUES,
        "parameters": st.dictionaries(
            st.sampled_from(["binary_data_size", "binary_data", "classification", "a"]),
            st.integers(-2, 40) | JSON_VALUES,
        ),
    },
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "inputs": st.lists(TENSORS, max_size=3) | JSON_VALUES,
        "outputs": st.lists(TENSORS, max_size=2) | JSON_VALUES,
        "id": st.text(max_size=5) | JSON_VALUES,
        "parameters": st.dictionaries(st.sampled_from(["event_time", "binary_data_output"]), JSON_VALUES),
    },
)


def settle(call):
    """The call's result, or None when it was refused properly."""
    try:
        return call()
    except ModelwrightError as error:
        reply = error_reply(error)
    assert 400 <= reply.status < 500
    assert list(msgspec.json.decode(reply.body)) == ["error"]
    return None


def decode(body, json_length=None):
    decoded = settle(lambda: infer.decode("m", "", body, json_length, actor="a", received_at=0.0))
    for tensor in decoded.call.inputs.values() if decoded else ():
        assert isinstance(tensor, np.ndarray)
        assert tensor.dtype in DATATYPES.values()


@given(REQUESTS, st.binary(max_size=40))
def test_any_json_of_about_the_right_form(request, tail):
    text = json.dumps(request).encode()
    decode(text)
    decode(text + tail, len(text))


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes(body, length):
    decode(body)
    decode(body, min(length, len(body)))


@given(st.sampled_from([*DATATYPES]), st.lists(st.integers(0, 5), max_size=3), st.binary(max_size=60))
def test_any_binary_tensor(datatype, shape, data):
    tensor = settle(lambda: tensors.decode_binary("x", datatype, shape, memoryview(data)))
    if tensor is not None:
        assert tensor.shape == tuple(shape)
        assert tensors.encode_binary(tensor) == data


@given(st.sampled_from([*DATATYPES]), st.lists(st.integers(-1, 5), max_size=3), st.binary(max_size=60))
def test_any_raw_request(datatype, shape, body):
    spec = TensorSpec("x", datatype, tuple(shape))
    settle(lambda: infer.decode_raw("m", "", (spec,), body, actor="a", received_at=0.0))


@given(
    st.sampled_from(["FP32", "FP64", "INT64", "UINT8", "BOOL", "BYTES"]),
    st.lists(st.integers(0, 4), min_size=1, max_size=3),
    st.data(),
)
def test_json_data_comes_back_as_it_was(datatype, shape, data):
    kinds = {"F": st.floats(width=32, allow_nan=False, allow_infinity=False), "I": st.integers(-(2**63), 2**63 - 1)}
    kinds |= {"U": st.integers(0, 255), "B": st.booleans() if datatype == "BOOL" else st.text(max_size=5)}
    count = int(np.prod(shape))
    values = data.draw(st.lists(kinds[datatype[0]], min_size=count, max_size=count))
    array = np.empty(shape, DATATYPES[datatype])
    array.reshape(-1)[:] = values
    if datatype == "BYTES" and any(0xD800 <= ord(letter) < 0xE000 for value in values for letter in value):
        return
    for form in (values, array.tolist()):
        decoded, nulls = tensors.decode_json("x", datatype, list(shape), msgspec.Raw(json.dumps(form).encode()))
        assert nulls is None
        assert decoded.tolist() == array.tolist()
    assert json.loads(tensors.encode_json("x", array)) == values


@given(st.lists(st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_nulls_are_told_apart_from_numbers(values):
    array, nulls = tensors.decode_json("x", "FP32", [len(values)], msgspec.Raw(json.dumps(values).encode()))
    found = [False] * len(values) if nulls is None else nulls.tolist()
    assert found == [value is None for value in values]
    assert np.isnan(array).tolist() == found


@given(st.dictionaries(st.sampled_from(["model", "truths"]), JSON_VALUES | st.lists(TENSORS)), st.binary(max_size=50))
def test_any_ground_truth(body, noise):
    for text in (json.dumps(body).encode(), noise):
        settle(lambda text=text: truth.decode(text, actor="a", received_at=0.0))


ENCODINGS = st.sampled_from([b"gzip", b"deflate", b"zstd", b"br", b"", b"identity", b"gzip, gzip"])


@given(st.binary(max_size=200), ENCODINGS)
def test_any_compressed_body(body, encoding):
    found = settle(lambda: decompress(body, encoding, 100))
    assert found is None or len(found) <= 200


@given(
    st.binary(max_size=400),
    st.sampled_from([(b"gzip", gzip.compress), (b"deflate", zlib.compress), (b"zstd", zstd.compress)]),
    st.lists(st.tuples(st.integers(0, 500), st.binary(max_size=3)), max_size=3),
)
def test_any_damage_to_a_compressed_body(body, coding, damages):
    name, pack = coding
    packed = pack(body)
    assert decompress(packed, name, 400) == body
    for at, piece in damages:
        packed = packed[:at] + piece + packed[at + len(piece) :]
    found = settle(lambda: decompress(packed, name, 400))
    assert found is None or len(found) <= 400


@given(st.binary(max_size=60) | st.text("gzipdeflatstd;q=0.1,* ", max_size=40).map(str.encode))
def test_any_accept_encoding(accepted):
    name, forced = choose(accepted)
    assert name in {"", "gzip", "deflate", "zstd"}
    assert name or not forced


@given(
    st.sampled_from([*DATATYPES]), st.lists(st.integers(0, 4), max_size=3), st.integers(-1, 9), st.booleans(), st.data()
)
def test_any_output_as_classes(datatype, shape, count, in_binary, data):
    size = int(np.prod(shape))
    raw = data.draw(st.binary(min_size=8 * size, max_size=8 * size))
    if datatype == "BYTES":
        tensor = np.array([str(raw[index]) for index in range(size)], dtype=object).reshape(shape)
    elif datatype == "BOOL":
        tensor = (np.frombuffer(raw, np.uint8)[:size] > 127).reshape(shape)
    else:
        tensor = np.frombuffer(raw, DATATYPES[datatype])[:size].reshape(shape)
    parameters = {"classification": count, "binary_data": in_binary}
    body = {"inputs": [], "outputs": [{"name": "y", "parameters": parameters}]}
    decoded = settle(lambda: infer.decode("m", "", json.dumps(body).encode(), None, actor="a", received_at=0.0))
    if decoded is None:
        assert count < 1
        return
    signature = Signature((), (TensorSpec("y", datatype, tuple(shape)),), classes=("a", "b", "c"))
    answer = Answer("m", "1", "champion", "p", {"y": tensor}, 1, 0.0, signature)
    encoded = settle(lambda: infer.encode(decoded, answer, infer.opening("m", "1")))
    if encoded is None:
        assert datatype == "BYTES"
        return
    text, json_length = encoded
    output = msgspec.json.decode(text[:json_length])["outputs"][0]
    assert output["datatype"] == "BYTES"
    assert len(output["shape"]) == 2
    assert in_binary is ("data" not in output)


ROWS = st.lists(st.lists(LEAVES, max_size=3), min_size=1, max_size=3) | st.integers(1, 3).flatmap(
    lambda width: st.lists(
        st.lists(st.floats(allow_nan=False) | st.integers(-300, 300), min_size=width, max_size=width),
        min_size=1,
        max_size=3,
    )
)
ROW_TENSORS = st.builds(
    lambda name, kind, data, fits, more: (
        {"name": name, "shape": [len(data), len(data[0])] if fits else [2], "datatype": kind, "data": data} | more
    ),
    st.sampled_from(["X", "Y"]),
    st.sampled_from([*DATATYPES, "STRING"]),
    ROWS,
    st.booleans() | st.just(True),
    st.just({})
    | st.fixed_dictionaries({"parameters": st.dictionaries(st.sampled_from(["binary_data_size", "a"]), LEAVES)})
    | st.fixed_dictionaries({"parameters": JSON_VALUES}),
)


def verdict(text):
    """The code of the refusal, or every tensor's bytes, and where there were nulls."""
    try:
        call = infer.decode("m", "", text, None, actor="a", received_at=0.0).call
    except ModelwrightError as error:
        return error.code
    tensors = {name: (one.dtype, one.shape, one.tobytes()) for name, one in call.inputs.items() if one.dtype != object}
    texts = {name: one.tolist() for name, one in call.inputs.items() if one.dtype == object}
    return tensors, texts, {name: nulls.tolist() for name, nulls in call.nulls.items()}, call.finite


@given(st.lists(ROW_TENSORS, min_size=1, max_size=2))
def test_rows_mean_the_same_whatever_space_stands_between_their_brackets(inputs):
    text = json.dumps({"inputs": inputs})
    assert verdict(text.encode()) == verdict(text.replace("[[", "[ [").encode())
