"""MLflow's scoring client, unmodified."""

import http.client
import json

import numpy as np
import pytest

pytestmark = pytest.mark.clients
FORMS = ("frame", "columns in another order", "array", "records", "instances", "with parameters")


@pytest.fixture(scope="module")
def got(ask, alone, iris):
    client = http.client.HTTPConnection(alone.http, timeout=20)
    client.request("GET", "/ping")
    status = client.getresponse().status
    client.close()
    if status == 404:
        pytest.skip("this server does not speak MLflow's dialect: GET /ping answers 404")
    return ask("mlflow", alone.http, json.dumps(iris.rows[:5].tolist()))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_rows_gets_scikit_learns_answer(got, iris, form):
    assert isinstance(got[form], dict), got[form]
    predictions = got[form]["predictions"]
    assert [row["label"] for row in predictions] == iris.model.predict(iris.rows[:5]).tolist()
    wanted = iris.model.predict_proba(iris.rows[:5])
    np.testing.assert_allclose([row["probabilities"] for row in predictions], wanted, atol=1e-5)


def test_the_client_finds_the_server_ready_and_its_version(got):
    assert got["version"]
    assert got["rows of the answer's frame"] == 5


def test_a_refusal_is_the_clients_exception_with_mlflows_error_in_it(got):
    for words in got["errors"]:
        opening, _, body = words.partition(", response: ")
        assert opening == "Invocation failed (error code 400"
        assert json.loads(body[:-1]).keys() >= {"error_code", "message"}
