"""The KServe SDK's inference clients, unmodified."""

import json

import numpy as np
import pytest

pytestmark = pytest.mark.clients
SUMS = ["total", "r1", [2, 1], [[3.0], [12.0]]]
WRONG_SHAPE = "Input 'X' of model 'total' has shape [{}] where the model takes [-1, 3]"
NOT_SERVED = "Model 'nobody' is not served here."


@pytest.fixture(scope="module")
def got(ask, served, iris):
    return ask("kserve", served.http, served.grpc, json.dumps(iris.rows[:5].tolist()))


def test_the_rest_client_of_the_open_inference_protocol_works_unmodified(got):
    said = got["v2"]
    assert said["health"] == [True, True, True, False]
    assert all(sums == SUMS for sums in said["sums"].values())
    assert len(said["sums"]) == 5
    assert said["kinds"] == {"True": "application/octet-stream", "False": "application/json"}
    assert said["long"] == [6000.0, "gzip"]
    assert said["echoes"] == [["grün", "x"]] * 2


def test_the_rest_client_of_protocol_1_works_unmodified(got, iris):
    said = got["v1"]
    assert said["health"] == [True, True]
    assert said["total"] == {"predictions": [[3.0], [12.0]]}
    predictions = said["iris"]["predictions"]
    assert [row["label"] for row in predictions] == iris.model.predict(iris.rows[:5]).tolist()
    wanted = iris.model.predict_proba(iris.rows[:5])
    np.testing.assert_allclose([row["probabilities"] for row in predictions], wanted, atol=1e-5)


def test_the_grpc_client_works_unmodified(got):
    said = got["grpc"]
    assert said["health"] == [True, True, True]
    assert said["sums"] == [SUMS] * 4
    assert said["echo"] == ["grün", "x"]


def test_errors_come_as_the_clients_own_exceptions_with_our_words(got):
    for protocol, shape in (("v2", "2, 2"), ("v1", "1, 2")):
        wrong, *unknown = got[protocol]["errors"]
        assert wrong[:2] == ["HTTPStatusError", 400]
        assert WRONG_SHAPE.format(shape) in wrong[2]
        assert all(error[:2] == ["HTTPStatusError", 404] and NOT_SERVED in error[2] for error in unknown)
    wrong, *unknown = got["grpc"]["errors"]
    assert wrong[:2] == ["AioRpcError", "INVALID_ARGUMENT"]
    assert WRONG_SHAPE.format("2, 2") in wrong[2]
    assert all(error[:2] == ["AioRpcError", "NOT_FOUND"] and NOT_SERVED in error[2] for error in unknown)
