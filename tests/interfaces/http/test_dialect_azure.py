import json

import pandas as pd
import pytest

ROWS = [[1.0, 2.0, 3.0], [4.25, -5.0, 0.0]]


def test_rows_under_data_come_back_under_result(serve, sum_package):
    server = serve(sum_package(bias=0.5))
    for data in (ROWS, [{"X": row} for row in ROWS]):
        assert server.request("POST", "/score", {"data": data}).body == {"result": server.rows("total", ROWS)}


def test_input_data_comes_back_as_a_bare_list(serve, sum_package, people_package):
    server = serve(sum_package(bias=0.5))
    for given in (ROWS, {"X": ROWS}, {"columns": [0, 1, 2], "index": [0, 1], "data": ROWS}):
        assert server.request("POST", "/score", {"input_data": given}).body == server.rows("total", ROWS)
    frame = pd.DataFrame({"city": ["Rome", None], "member": [True, False], "visits": [1, 2], "age": [1.5, 2.5]})
    answer = serve(people_package).request("POST", "/score", {"input_data": json.loads(frame.to_json(orient="split"))})
    assert [row["city_out"] for row in answer.body] == ["Rome", "nowhere"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "serve.bad-json"),
        ({}, "serve.bad-request"),
        ({"data": ROWS, "input_data": ROWS}, "serve.bad-request"),
        ({"data": ROWS, "params": {"a": 1}}, "serve.bad-request"),
        ({"data": {"X": ROWS}}, "serve.bad-request"),
        ({"input_data": {"columns": [0, 1], "data": ROWS}}, "serve.bad-request"),
        ({"input_data": {"columns": 7, "data": ROWS}}, "serve.bad-request"),
        ({"input_data": {"columns": ["a", "b", "c"], "data": ROWS}}, "serve.unknown-input"),
        ({"input_data": {"rows": ROWS}}, "serve.unknown-input"),
        ({"data": [[1, 2, None]]}, "serve.not-json"),
    ],
)
def test_errors_have_azures_body(serve, sum_package, body, code):
    answer = serve(sum_package()).request("POST", "/score", body)
    assert (answer.status, answer.headers["modelwright-error"]) == (400, code), answer.body
    assert answer.body["error"].keys() == {"code", "message"}
    assert answer.body["error"]["code"] == code


def test_a_model_that_is_not_served_is_not_found(serve, sum_package):
    answer = serve(sum_package()).request("POST", "/score?model=none", b"[")
    assert (answer.status, answer.body["error"]["code"]) == (404, "serve.unknown-model")
