import pytest

ROWS = [[1.0, 2.0, 3.0], [4.25, -5.0, 0.0]]
TENSOR = {"shape": [2, 3], "values": [value for row in ROWS for value in row]}
PATH = "/api/v1.0/predictions"


def test_the_answer_has_the_form_of_the_question(serve, sum_package):
    server = serve(sum_package(bias=0.5))
    totals = server.rows("total", ROWS)
    for path in (PATH, "/api/v0.1/predictions"):
        by_rows = server.request("POST", path, {"data": {"names": ["a", "b", "c"], "ndarray": ROWS}})
        assert by_rows.body["data"] == {"names": ["total"], "ndarray": [[total] for total in totals]}
        tensor = server.request("POST", path, {"data": {"tensor": TENSOR}, "meta": {"puid": "mine"}})
        assert tensor.body["data"] == {"names": ["total"], "tensor": {"shape": [2, 1], "values": totals}}
        assert tensor.body["meta"] == {"puid": "mine", "requestPath": {"total": "modelwright:1"}}
    assert {record.prediction_id for record in server.sink.records} >= {"mine", by_rows.body["meta"]["puid"]}


def test_columns_may_be_named_in_any_order(serve, people_package):
    server = serve(people_package)
    names = ["city", "member", "visits", "age"]
    answer = server.request("POST", PATH, {"data": {"names": names, "ndarray": [["Rome", True, 2, 1.5]]}})
    assert answer.body["data"]["names"] == ["age_out", "visits_out", "member_out", "city_out"]
    assert answer.body["data"]["ndarray"] == [[1.5, 2, True, "Rome"]]
    in_order = server.request("POST", PATH, {"data": {"ndarray": [[1.5, 2, True, "Rome"]]}})
    assert in_order.body["data"] == answer.body["data"]


def test_outputs_of_several_columns_are_named_by_place(serve, echo_package):
    server = serve(echo_package("wide", {"x": ("FP32", (-1, 2)), "y": ("FP32", (-1,)), "z": ("INT64", (-1, 1, 2))}))
    data = server.request("POST", PATH, {"data": {"ndarray": [[[1, 2], 3, [[4, 5]]]]}}).body["data"]
    assert data == {"names": ["x_out:0", "x_out:1", "y_out", "z_out"], "ndarray": [[1.0, 2.0, 3.0, [[4, 5]]]]}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"nothing", "serve.bad-json"),
        ({}, "serve.bad-request"),
        ({"strData": "x"}, "serve.bad-request"),
        ({"binData": "eA=="}, "serve.bad-request"),
        ({"jsonData": {"data": []}}, "serve.bad-request"),
        ({"data": {}}, "serve.bad-request"),
        ({"data": {"ndarray": ROWS, "tensor": TENSOR}}, "serve.bad-request"),
        ({"data": {"ndarray": []}}, "serve.wrong-shape"),
        ({"data": {"ndarray": [[1, 2, "x"]]}}, "serve.bad-data"),
        ({"data": {"ndarray": [[1, 2, None]]}}, "serve.not-json"),
        ({"data": {"tensor": {"shape": [3, 3], "values": [1, 2]}}}, "serve.wrong-count"),
        ({"data": {"tensor": {"shape": [-1, -2], "values": [1, 2]}}}, "serve.bad-shape"),
        ({"data": {"tensor": {"shape": [], "values": [1]}}}, "serve.wrong-count"),
        ({"data": {"tensor": {"shape": [1] * 1000, "values": [1]}}}, "serve.bad-shape"),
        ({"data": {"tensor": {"shape": [2**70, 0], "values": []}}}, "serve.bad-shape"),
        ({"data": {"tensor": {"shape": [0, 3], "values": []}}}, "serve.wrong-shape"),
    ],
)
def test_errors_have_seldons_body(serve, sum_package, body, code):
    answer = serve(sum_package()).request("POST", PATH, body)
    assert (answer.status, answer.headers["modelwright-error"]) == (400, code), answer.body
    status = answer.body["status"]
    assert (status["code"], status["reason"], status["status"]) == (400, code, "FAILURE")
    assert status["info"]


def test_names_that_the_model_does_not_know_are_refused(serve, people_package):
    server = serve(people_package)
    answer = server.request("POST", PATH, {"data": {"names": ["a", "b", "c", "d"], "ndarray": [[1, 2, True, "x"]]}})
    assert answer.body["status"]["reason"] == "serve.unknown-input"
    short = server.request("POST", PATH, {"data": {"names": ["age"], "ndarray": [[1, 2, True, "x"]]}})
    assert short.body["status"]["reason"] == "serve.bad-request"
