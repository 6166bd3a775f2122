"""The bytes of a request and of an answer are those of the protocol."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.bench import wire
from modelwright.bench.answers import Judge, http_outputs
from modelwright.bench.bodies import Request, Rows, invented, mixed, requests_of
from modelwright.core.errors import BadInputError, CorruptError
from modelwright.core.signature import Feature, Signature, TensorSpec
from modelwright.interfaces.grpc.messages import message
from modelwright.interfaces.http import infer

SPECS = (TensorSpec("x", "FP32", (-1, 3)), TensorSpec("carrier", "BYTES", (-1, 1)))
SIGNATURE = Signature(SPECS, (TensorSpec("score", "FP32", (-1, 2)),))
ROWS = st.integers(1, 200)


def tensors(rows, seed=0):
    random = np.random.default_rng(seed)
    texts = np.array([f"é{number}" for number in range(rows)], dtype=object).reshape(-1, 1)
    return {"x": random.normal(size=(rows, 3)).astype(np.float32), "carrier": texts}


@given(ROWS)
def test_a_grpc_request_is_the_message_that_the_protocol_library_reads(rows):
    sent = tensors(rows)
    found = message("ModelInferRequest").FromString(wire.infer_request("m", SPECS, sent))
    assert found.model_name == "m"
    assert [(one.name, one.datatype, list(one.shape)) for one in found.inputs] == [
        ("x", "FP32", [rows, 3]),
        ("carrier", "BYTES", [rows, 1]),
    ]
    assert np.array_equal(np.frombuffer(found.raw_input_contents[0], np.float32).reshape(rows, 3), sent["x"])
    assert list(wire.flat_array("BYTES", found.raw_input_contents[1])) == list(sent["carrier"][:, 0])


def test_the_outputs_of_a_grpc_answer_are_read():
    answer = message("ModelInferResponse")(model_name="m", model_version="1", id="a")
    answer.outputs.add(name="score", datatype="FP32", shape=[1, 2])
    answer.raw_output_contents.append(np.array([1, 2], np.float32).tobytes())
    version, outputs = wire.infer_outputs(answer.SerializeToString())
    assert (version, outputs["score"].tolist()) == ("1", [1, 2])


@given(st.binary(max_size=60))
def test_bytes_that_are_no_answer_are_said_to_be_none(content):
    with contextlib.suppress(CorruptError):
        assert len(wire.infer_outputs(content)) == 2


@given(ROWS, st.booleans())
def test_the_server_reads_from_a_request_what_was_put_into_it(rows, binary):
    given = Rows(tensors(rows), "test", {})
    request = requests_of("m", SIGNATURE, given, per_request=2, binary=binary, protocol="http", host="h", token="t")[0]
    head, _, body = request.content.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"Inference-Header")), None
    )
    call = infer.decode("m", "", body, length, actor="a", received_at=0.0).call
    assert b"Authorization: Bearer t" in head
    assert call.inputs["x"].shape == (2, 3)
    for row in range(2):
        place = next(n for n in range(rows) if given.inputs["carrier"][n, 0] == call.inputs["carrier"][row, 0])
        assert np.array_equal(call.inputs["x"][row], given.inputs["x"][place])


def test_bodies_vary_and_half_of_them_have_known_answers():
    known = Rows(tensors(5), "golden rows", {"score": np.arange(10.0).reshape(5, 2)}, 5)
    made = requests_of("m", SIGNATURE, mixed(known), per_request=1, binary=False, protocol="http", host="h", token="")
    assert len({one.content for one in made}) > 20
    assert sum(one.answers is not None for one in made) == len(made) // 2 + 1


@given(st.integers(2, 40), st.integers(0, 9))
def test_mixed_rows_have_in_every_column_only_values_that_some_row_has(rows, seed):
    given = Rows(tensors(rows, seed), "golden rows", {})
    more = mixed(given, seed=seed)
    assert np.array_equal(more.inputs["x"][:rows], given.inputs["x"])
    for column in range(3):
        assert set(more.inputs["x"][:, column]) == set(given.inputs["x"][:, column])


def test_invented_rows_keep_the_bounds_and_levels_of_the_features():
    features = (
        Feature("a", "number", low=5.0, high=6.0),
        Feature("b", "number", low=-1.0, high=0.0),
        Feature("c", "category", categories=("x", "y")),
    )
    specs = (TensorSpec("n", "FP32", (-1, 2), ("a", "b")), TensorSpec("c", "BYTES", (-1, 1), ("c",)))
    rows = invented(Signature(specs, (), features))
    assert rows.inputs["n"][:, 0].min() >= 5
    assert rows.inputs["n"][:, 1].max() <= 0
    assert set(rows.inputs["c"][:, 0]) == {"x", "y"}


def test_an_open_dimension_cannot_be_invented():
    with pytest.raises(BadInputError) as caught:
        invented(Signature((TensorSpec("image", "FP32", (-1, -1, 3)),), ()))
    assert caught.value.code == "bench.no-rows"


def test_an_infinite_number_can_only_be_sent_in_binary():
    rows = Rows({"x": np.array([[np.inf]], np.float32)}, "test", {})
    signature = Signature((TensorSpec("x", "FP32", (-1, 1)),), ())
    with pytest.raises(BadInputError) as caught:
        requests_of("m", signature, rows, per_request=1, binary=False, protocol="http", host="h", token="")
    assert caught.value.code == "bench.not-json"


def test_a_wrong_answer_and_an_unreadable_one_are_found_and_an_unknown_one_is_passed_over():
    requests = [Request(b"", {"score": np.array([[1.0, 2.0]])}), Request(b"", None)]
    right, wrong = (
        b'{"outputs": [{"name": "score", "datatype": "FP32", "data": [1.00001, %d]}]}' % number for number in (2, 3)
    )
    found = Judge("http", 1e-3).check([(0, right), (0, wrong), (1, wrong), (0, b"<html>")], requests)
    assert (found.looked_at, found.compared, found.wrong) == (4, 3, 2)
    assert "score" in found.first_wrong


def test_an_answer_in_binary_is_read_behind_its_json():
    front = (
        b'{"model_name": "\xc3\xa9", "outputs": [{"name": "s", "datatype": "FP32", "shape": [2], '
        b'"parameters": {"binary_data_size": 8}}]}'
    )
    assert http_outputs(front + np.array([1, 2], np.float32).tobytes())[1]["s"].tolist() == [1, 2]


def test_answers_of_another_version_are_not_compared():
    requests = [Request(b"", {"score": np.array([[1.0]])})]
    canary = b'{"model_version": "8", "outputs": [{"name": "score", "datatype": "FP32", "data": [9]}]}'
    assert Judge("http", 1e-3, "7").check([(0, canary)], requests).compared == 0
    assert Judge("http", 1e-3, "8").check([(0, canary)], requests).wrong == 1
