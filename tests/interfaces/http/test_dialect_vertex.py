import pytest

ROWS = [[1.0, 2.0, 3.0], [4.25, -5.0, 0.0]]
PREDICT, HEALTH = "/v1/endpoints/7/deployedModels/8:predict", "/v1/endpoints/7/deployedModels/8"
ROUTES = {"predict_route": PREDICT, "health_route": HEALTH}


def test_the_container_answers_on_the_routes_of_the_settings(serve, sum_package):
    server = serve(sum_package(bias=0.5), **ROUTES)
    expected = {"predictions": server.rows("total", ROWS)}
    for body in ({"instances": ROWS}, {"instances": [{"X": row} for row in ROWS], "parameters": {}}):
        assert server.request("POST", PREDICT, body).body == expected
    assert server.request("GET", HEALTH).body == {"ready": True}


def test_without_the_settings_there_are_no_such_routes(serve, sum_package):
    server = serve(sum_package())
    assert server.request("POST", PREDICT, {"instances": ROWS}).status == 404
    assert server.request("GET", HEALTH).status == 404


def test_health_is_open_and_predicting_is_not(serve, sum_package):
    server = serve(sum_package(), authenticate=True, **ROUTES)
    assert server.request("GET", HEALTH).status == 200
    assert server.request("POST", PREDICT, {"instances": ROWS}).status == 401
    assert server.request("POST", PREDICT, {"instances": ROWS}, token="mw_predictor").status == 200
    assert serve(sum_package(), loaded=False, **ROUTES).request("GET", HEALTH).status == 503


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "serve.bad-json"),
        ([], "serve.bad-request"),
        ({"instances": {}}, "serve.bad-request"),
        ({"instances": ROWS, "parameters": {"k": 3}}, "serve.bad-request"),
        ({"instances": [[1, 2, "x"]]}, "serve.bad-data"),
        ({"instances": []}, "serve.wrong-shape"),
    ],
)
def test_errors_are_one_string(serve, sum_package, body, code):
    answer = serve(sum_package(), **ROUTES).request("POST", PREDICT, body)
    assert (answer.status, answer.headers["modelwright-error"]) == (400, code)
    assert answer.body.keys() == {"error"}
