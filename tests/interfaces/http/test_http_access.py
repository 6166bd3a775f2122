import hashlib

import pytest
from tests.interfaces.http.conftest import TOKENS

from modelwright.core.access import ROLES
from modelwright.core.prediction import PredictionRecord
from modelwright.core.version import TokenGrant
from modelwright.interfaces.http.routes import ROUTES
from modelwright.testing.runner import FunctionRunners

ROW = {"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}


def target(route):
    return route.pattern.format(model="total", version="1", repository="main")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method.decode()} {route.pattern}")
def test_every_route_asks_for_exactly_the_permission_in_the_table(serve, sum_package, route):
    server = serve(sum_package(), authenticate=True)

    def status(token=None):
        return server.request(route.method.decode(), target(route), b"", token=token).status

    if route.permission is None:
        assert status() == 200
        return
    assert status() == 401
    assert status("mw_unknown") == 401
    assert status("mw_expired") == 401
    assert status("mw_admin") not in {401, 403}
    for token, role in (("mw_viewer", "viewer"), ("mw_predictor", "predictor")):
        assert (status(token) == 403) is (route.permission not in ROLES[role])


def test_only_health_is_open():
    open_routes = {route.pattern for route in ROUTES if route.permission is None}
    probes = {"/ping", "/health", "/"}  # of MLflow, SageMaker and Azure: they say no more than up or not
    assert {pattern.rsplit("/", 1)[1] for pattern in open_routes - probes} == {"live", "ready"}
    assert {route.method for route in ROUTES if route.permission is None} == {b"GET"}


@pytest.mark.parametrize("probe", ["/ping", "/health", "/"])
def test_a_probe_says_no_more_than_up_or_not(serve, sum_package, probe):
    up = serve(sum_package()).request("GET", probe)
    down = serve(sum_package(), loaded=False).request("GET", probe)
    assert (up.status, down.status) == (200, 200 if probe == "/" else 503)
    assert up.body == down.body
    assert up.body in ({}, {"status": "alive"})


def test_a_refusal_says_how_to_get_in(serve, sum_package):
    server = serve(sum_package(), authenticate=True)
    answer = server.request("GET", "/v2")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "Authorization: Bearer" in answer.body["error"]
    basic = server.request("GET", "/v2", headers={"Authorization": "Basic mw_admin"})
    assert basic.status == 401


def test_the_record_names_who_asked(serve, sum_package):
    server = serve(sum_package(), authenticate=True)
    assert server.request("POST", "/v2/models/total/infer", ROW, token="mw_predictor").status == 200
    assert server.records(1, PredictionRecord)[0].actor == "pat"


def test_a_renewed_table_shuts_out_a_revoked_token_at_once(serve, sum_package):
    server = serve(sum_package(), authenticate=True)
    assert server.request("GET", "/v2", token="mw_admin").status == 200
    server._table = type(server._table)(2, server._table.routes, (), authenticate=True)
    server.load()
    assert server.request("GET", "/v2", token="mw_admin").status == 401


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method.decode()} {route.pattern}")
def test_before_the_first_table_the_answer_is_not_ready_and_never_that_a_token_is_wrong(serve, sum_package, route):
    server = serve(sum_package(), loaded=False, authenticate=True)
    for token in ("mw_admin", "mw_unknown", None):
        answer = server.request(route.method.decode(), target(route), b"", token=token)
        if route.pattern.endswith("/live") or route.pattern == "/":
            assert answer.status == 200
            continue
        assert answer.status == 503
        if route.permission is not None:
            assert answer.headers["modelwright-error"] == "http.not-ready"
            assert answer.headers["retry-after"] == "1"
    server.load()
    assert server.request("GET", "/v2", token="mw_admin").status == 200
    assert server.request("GET", "/v2", token="mw_unknown").status == 401


def test_a_token_with_a_rate_predicts_so_often_and_reads_as_often_as_it_likes(serve, sum_package):
    slow = TokenGrant(hashlib.sha256(b"mw_slow").hexdigest(), "sam", "admin", rate=0.001)
    server = serve(sum_package(), authenticate=True)
    server._table = type(server._table)(2, server._table.routes, (*TOKENS.values(), slow), authenticate=True)
    server.load()
    first, second = (server.request("POST", "/v2/models/total/infer", ROW, token="mw_slow") for _ in range(2))
    assert (first.status, second.status) == (200, 429)
    assert second.headers["modelwright-error"] == "govern.rate-exceeded"
    assert 900 < int(second.headers["retry-after"]) <= 1000
    assert server.request("POST", "/v1/models/total:predict", {"instances": [[1, 2, 3]]}, token="mw_slow").status == 429
    assert server.request("POST", "/record/truth", {}, token="mw_slow").status == 429
    assert server.request("GET", "/v2", token="mw_slow").status == 200
    assert server.request("POST", "/v2/models/total/infer", ROW, token="mw_admin").status == 200
    assert len(server.records(2, PredictionRecord)) == 2


def test_readiness_is_that_of_the_runners_and_only_who_may_read_is_told_why(serve, function_package):
    (good, run), (bad, other) = function_package("good"), function_package("bad", factor=2.0)
    loader = FunctionRunners({good.digest: run, bad.digest: other})
    server = serve(good, bad, loader=loader, authenticate=True)
    assert server.request("GET", "/v2/health/ready").status == 200
    loader.runners[bad.digest].broken = "Its process is being started again."
    assert server.request("GET", "/v2/health/ready").body == {"ready": True}  # the other model is answered
    told = server.request("GET", "/v2/models/bad/ready")
    assert (told.status, told.body) == (503, {"name": "bad", "ready": False})
    assert "reasons" not in server.request("GET", "/v2/models/bad/ready", token="mw_predictor").body
    why = ["Model 'bad' version 1: Its process is being started again."]
    assert server.request("GET", "/v2/models/bad/ready", token="mw_viewer").body["reasons"] == why
    assert server.request("GET", "/v2/models/good/ready").status == 200
    assert server.request("GET", "/v2/models/bad/versions/1/ready").status == 503
    index = server.request("POST", "/v2/repository/index", {}, token="mw_viewer").body
    assert {one["name"]: (one["state"], one["reason"]) for one in index} == {
        "good": ("READY", ""),
        "bad": ("UNAVAILABLE", "Its process is being started again."),
    }
    loader.runners[good.digest].broken = "It is closed."
    told = server.request("GET", "/v2/health/ready", token="mw_viewer")
    assert (told.status, told.body["reasons"]) == (503, ["Model 'good' version 1: It is closed.", *why])
    loader.runners[bad.digest].broken = ""
    assert server.request("GET", "/v2/health/ready").body == {"ready": True}


def test_predictions_may_be_open_and_nothing_else_is(serve, sum_package):
    server = serve(sum_package(), authenticate=True, open_predictions="yes")
    for path, body in (("/v2/models/total/infer", ROW), ("/invocations", {"instances": [[1, 2, 3]]})):
        assert server.request("POST", path, body).status == 200
    assert {record.actor for record in server.records(2, PredictionRecord)} == {"stranger"}
    assert server.request("POST", "/v2/models/total/infer", ROW, token="mw_unknown").status == 401
    for method, path in (("POST", "/record/truth"), ("GET", "/metrics"), ("POST", "/v2/repository/index")):
        assert server.request(method, path, {}).status == 401
