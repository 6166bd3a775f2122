"""Errors row by row, where the caller asks for them."""

import json
import struct

import numpy as np
import pytest

from modelwright.core.prediction import PredictionRecord
from modelwright.core.signature import Feature, InputPolicy
from modelwright.core.version import Arm, Route, RoutingTable
from modelwright.testing.runner import FunctionRunners

BY_ROW = {"row_errors": True}


@pytest.fixture
def strict_package(echo_package):
    """A number from 0 to 10 and a text come back as they were; a number outside is refused."""
    features = (Feature("x", "number", low=0.0, high=10.0), Feature("t", "category", nullable=True, null_as="?"))
    tensors = {"x": ("FP64", (-1, 1)), "t": ("BYTES", (-1, 1))}
    return echo_package("strict", tensors, features, InputPolicy(out_of_range="reject"))


def ask(server, numbers, model="strict", **more):
    texts = [f"row {row}" for row in range(len(numbers))]
    rows = len(numbers)
    return server.infer(
        model, ("x", "FP64", [rows, 1], numbers), ("t", "BYTES", [rows, 1], texts), parameters=BY_ROW, **more
    )


def errors_of(answer):
    assert answer.status == 200, answer.body
    return {error["row"]: error["code"] for error in json.loads(answer.body["parameters"]["row_errors"])}


def test_one_bad_row_in_a_thousand_fails_alone(serve, strict_package):
    server = serve(strict_package)
    numbers = [row / 100 for row in range(1000)]
    numbers[417] = -5.0
    answer = ask(server, numbers, id="batch")
    assert errors_of(answer) == {417: "serve.out-of-range"}
    numbers[417] = None
    outputs = {output["name"]: output for output in answer.body["outputs"]}
    assert outputs["x_out"]["shape"] == [1000, 1]
    assert outputs["x_out"]["data"] == numbers
    assert outputs["t_out"]["data"] == [f"row {row}" if row != 417 else None for row in range(1000)]
    assert answer.headers["modelwright-prediction-id"] == answer.body["id"] == "batch"
    records = {record.prediction_id: record for record in server.records(999, PredictionRecord)}
    assert set(records) == {f"batch.{row}" for row in range(1000) if row != 417}
    assert records["batch.3"].outputs["x_out"].tolist() == [[0.03]]


def test_a_null_where_none_may_be_fails_its_row_alone(serve, strict_package):
    answer = ask(serve(strict_package), [1.0, None, 3.0])
    assert errors_of(answer) == {1: "serve.missing-value"}
    assert answer.body["outputs"][0]["data"] == [1.0, None, 3.0]


def test_rows_that_are_all_well_are_answered_as_ever(serve, strict_package):
    answer = ask(serve(strict_package), [1.0, 2.0])
    assert errors_of(answer) == {}
    assert answer.body["outputs"][0]["data"] == [1.0, 2.0]


def test_where_every_row_fails_the_request_does(serve, strict_package):
    answer = ask(serve(strict_package), [-1.0, -2.0])
    assert (answer.status, answer.headers["modelwright-error"]) == (400, "serve.out-of-range")


def test_in_binary_a_failed_row_is_nan(serve, strict_package, bytes_elements):
    server = serve(strict_package)
    raw = struct.pack("<3d", 1.0, 99.0, 3.0)
    texts = bytes_elements(b"a", b"b", b"c")
    head = {
        "parameters": BY_ROW | {"binary_data_output": True},
        "inputs": [
            {"name": "x", "shape": [3, 1], "datatype": "FP64", "parameters": {"binary_data_size": len(raw)}},
            {"name": "t", "shape": [3, 1], "datatype": "BYTES", "parameters": {"binary_data_size": len(texts)}},
        ],
    }
    answer = server.binary("strict", head, raw + texts)
    np.testing.assert_array_equal(struct.unpack("<3d", answer.raw[:24]), [1.0, np.nan, 3.0])
    assert answer.raw[24:] == bytes_elements(b"a", b"", b"c")
    assert [error["row"] for error in json.loads(answer.json["parameters"]["row_errors"])] == [1]


@pytest.mark.parametrize("aside", [False, True], ids=["here", "in another thread"])
def test_a_row_that_the_model_fails_on_fails_alone(serve, function_package, aside):
    package, _ = function_package()

    def positive(inputs):
        if (inputs["x"] < 0).any():
            raise ValueError("negative")
        return {"y": inputs["x"]}

    server = serve(package, loader=FunctionRunners({package.digest: positive}), aside=aside)
    answer = server.infer("times", ("x", "FP64", [4, 1], [4.0, -1.0, 9.0, 16.0]), parameters=BY_ROW)
    assert errors_of(answer) == {1: "serve.model-rejected-input"}
    assert answer.body["outputs"][0]["data"] == [4.0, None, 9.0, 16.0]
    by_id = {record.prediction_id[-1]: record.status for record in server.records(4, PredictionRecord)}
    assert by_id == {"0": "ok", "1": "serve.model-rejected-input", "2": "ok", "3": "ok"}


def test_all_rows_of_a_request_meet_the_same_version(serve, function_package):
    (one, first), (two, second) = function_package(factor=1.0), function_package(factor=2.0)
    arms = (Arm("1", one.digest, 0.5, "champion"), Arm("2", two.digest, 0.5, "canary"))
    table = RoutingTable(1, {"times": Route("times", arms)}, authenticate=False)
    server = serve(one, two, loader=FunctionRunners({one.digest: first, two.digest: second}), table=table)
    versions = set()
    for number in range(40):
        answer = server.infer("times", ("x", "FP64", [5, 1], [1.0] * 5), parameters=BY_ROW, id=f"id-{number}")
        version = answer.headers["modelwright-version"]
        assert answer.body["outputs"][0]["data"] == [float(version)] * 5
        versions.add(version)
    assert versions == {"1", "2"}


@pytest.mark.parametrize(
    ("shape", "data", "more", "status", "code"),
    [
        ([0, 1], [], {}, 400, "serve.no-rows"),
        ([10_001, 1], [1.0] * 10_001, {}, 413, "serve.too-many-rows"),
        ([1, 1], [1.0], {"id": "i" * 127}, 400, "serve.id-too-long"),
        ([2, 2], [1.0] * 4, {}, 400, "serve.wrong-shape"),
    ],
)
def test_what_cannot_be_split_is_refused(serve, function_package, shape, data, more, status, code):
    package, function = function_package()
    server = serve(package, loader=FunctionRunners({package.digest: function}))
    answer = server.infer("times", ("x", "FP64", shape, data), parameters=BY_ROW, **more)
    assert (answer.status, answer.headers["modelwright-error"]) == (status, code)


def test_inputs_that_differ_in_rows_are_refused(serve, strict_package):
    server = serve(strict_package)
    inputs = ("x", "FP64", [2, 1], [1, 2]), ("t", "BYTES", [1, 1], ["a"])
    answer = server.infer("strict", *inputs, parameters=BY_ROW)
    assert (answer.status, answer.headers["modelwright-error"]) == (400, "serve.rows-differ")
