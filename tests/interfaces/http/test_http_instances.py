import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

import modelwright as mw


def _predict(server, body, model="total", version=None):
    path = f"/v1/models/{model}{'' if version is None else f'/versions/{version}'}:predict"
    return server.request("POST", path, body)


def test_the_v1_answer_is_the_v2_answer_in_other_words(serve, sum_package):
    server = serve(sum_package(bias=0.5))
    rows = [[1.0, 2.0, 3.0], [4.25, -5.0, 0.0]]
    tensor = {"name": "X", "shape": [2, 3], "datatype": "FP32", "data": rows}
    second = server.request("POST", "/v2/models/total/infer", {"inputs": [tensor]}).body
    first = _predict(server, {"instances": rows})
    assert first.status == 200
    assert [value for row in first.body["predictions"] for value in row] == second["outputs"][0]["data"]
    assert _predict(server, {"instances": rows}, version="1").body == first.body
    assert first.headers["modelwright-version"] == "1"
    assert first.headers["modelwright-prediction-id"] in {record.prediction_id for record in server.sink.records}


def test_an_instance_may_be_an_object_with_a_value_per_input(serve, echo_package):
    server = serve(echo_package("echo", {"a": ("FP32", (-1, 1)), "b": ("BYTES", (-1, 1))}))
    values = [[1.5, "one"], [2.5, "two"]]
    by_name = _predict(server, {"instances": [dict(zip("ab", row, strict=True)) for row in values]}, "echo").body
    assert [[cell[0] for cell in row.values()] for row in by_name["predictions"]] == values
    assert _predict(server, {"instances": values}, "echo").body == by_name


def test_columns_come_back_as_columns(serve, sum_package, echo_package):
    server = serve(sum_package(bias=0.5), echo_package("echo", {"a": ("FP32", (-1, 1)), "b": ("BYTES", (-1, 1))}))
    rows = [[1.0, 2.0, 3.0], [4.25, -5.0, 0.0]]
    by_rows = _predict(server, {"instances": rows}).body["predictions"]
    for inputs in (rows, {"X": rows}):
        answer = _predict(server, {"signature_name": "serving_default", "inputs": inputs})
        assert answer.body == {"outputs": by_rows}
    both = _predict(server, {"inputs": {"b": ["one", "two"], "a": [1.5, 2.5]}}, "echo")
    assert both.body == {"outputs": {"a_out": [[1.5], [2.5]], "b_out": [["one"], ["two"]]}}


def test_a_v1_client_sees_the_models_and_their_readiness(serve, sum_package):
    server = serve(sum_package(), sum_package("other"))
    assert server.request("GET", "/").body == {"status": "alive"}
    assert server.request("GET", "/v1/models").body == {"models": ["other", "total"]}
    assert server.request("GET", "/v1/models/other").body == {"name": "other", "ready": True}
    assert server.request("GET", "/v1/models/none").status == 404


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "serve.bad-json"),
        ({}, "serve.bad-request"),
        ({"inputs": [[1, 2, 3]], "instances": [[1, 2, 3]]}, "serve.bad-request"),
        ({"inputs": 1}, "serve.bad-request"),
        ({"inputs": {"X": 1}}, "serve.bad-request"),
        ({"inputs": {"Y": [[1, 2, 3]]}}, "serve.unknown-input"),
        ({"inputs": []}, "serve.wrong-shape"),
        ({"instances": 1}, "serve.bad-request"),
        ({"instances": [[1, 2]]}, "serve.wrong-shape"),
        ({"instances": [[1, 2, "x"]]}, "serve.bad-data"),
        ({"instances": [[1, 2, 3], [1, 2]]}, "serve.bad-data"),
        ({"instances": [[1, 2, 3], {"X": [1, 2, 3]}]}, "serve.bad-data"),
        ({"instances": [{"X": [1, 2, 3]}, [1, 2, 3]]}, "serve.bad-request"),
        ({"instances": [{"Y": [1, 2, 3]}]}, "serve.unknown-input"),
        ({"instances": [{"X": [1, 2, 3]}, {}]}, "serve.missing-input"),
        ({"instances": [[1, 2, None]]}, "serve.not-json"),
        ({"instances": [[1, 2, 1e39]]}, "serve.bad-data"),
        (b'{"instances": [[1, 2, NaN]]}', "serve.bad-json"),
        (b'{"instances": ' + b"[" * 5000 + b"]" * 5000 + b"}", "serve.bad-json"),
    ],
)
def test_what_does_not_fit_is_refused_as_over_v2(serve, sum_package, body, code):
    answer = _predict(serve(sum_package()), body)
    assert (answer.status, answer.headers["modelwright-error"]) == (400, code)
    assert answer.body.keys() == {"error"}


def test_a_token_is_asked_for(serve, sum_package):
    server = serve(sum_package(), authenticate=True)
    assert _predict(server, {"instances": [[1, 2, 3]]}).status == 401


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.just("X"), inner, max_size=3),
    max_leaves=12,
)


@settings(
    max_examples=max(200, settings.default.max_examples),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(instances=st.lists(_JSON, max_size=4))
def test_no_instances_break_the_server(serve_once, instances):
    answer = _predict(serve_once, {"instances": instances})
    assert answer.status in {200, 400}
    assert answer.body.keys() == ({"predictions"} if answer.status == 200 else {"error"})


@pytest.fixture
def serve_once(serve, sum_package):
    return serve(sum_package())


def test_features_of_one_tensor_may_be_named(serve, sum_package):
    server = serve(sum_package(features=("age", "fare", "size")))
    rows = [{"size": 3.0, "age": 1.0, "fare": 2.5}, {"fare": 0.0, "age": 1.0, "size": -1.0}]
    expected = [[6.5], [0.0]]
    assert _predict(server, {"instances": rows}).body == {"predictions": expected}
    assert (
        _predict(server, {"instances": [{**rows[0], "sex": 1.0}]}).headers["modelwright-error"] == "serve.unknown-input"
    )
    columns = {name: [row[name] for row in rows] for name in ("fare", "size", "age")}
    assert _predict(server, {"inputs": columns}).body == {"outputs": expected}
    columns["age"].pop()
    assert _predict(server, {"inputs": columns}).headers["modelwright-error"] == "serve.bad-request"


def test_columns_of_a_model_from_a_data_frame_may_be_named(serve):
    data = np.arange(24, dtype=np.float32).reshape(8, 3) ** 1.5
    frame = pd.DataFrame(data, columns=["age", "fare", "size"])
    package = mw.pack(LinearRegression().fit(frame, data.sum(axis=1)), name="named", examples=frame)
    server = serve(package.package)
    rows = frame.head(3).to_dict("records")
    answer = _predict(server, {"instances": [dict(reversed(row.items())) for row in rows]}, "named")
    assert answer.status == 200, answer.body
    assert np.allclose(np.ravel(answer.body["predictions"]), data[:3].sum(axis=1), rtol=1e-4)
    columns = dict(reversed(frame.head(3).to_dict("list").items()))
    assert _predict(server, {"inputs": columns}, "named").body == {"outputs": answer.body["predictions"]}
    columns["age"].pop()
    assert _predict(server, {"inputs": columns}, "named").headers["modelwright-error"] == "serve.rows-differ"
