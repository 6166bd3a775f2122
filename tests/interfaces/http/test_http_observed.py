"""What is told of requests over HTTP: to the access log, to the traces, to their callers."""

import pytest

from modelwright.serve.observe import Observer
from modelwright.testing.events import InMemoryEvents

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ROW = ("X", "FP32", [1, 3], [1.0, 2.0, 3.0])


@pytest.fixture
def told():
    return Observer(InMemoryEvents(), 1.0, InMemoryEvents(), 0.0)


def test_an_answered_prediction_is_told_whole(serve, sum_package, told):
    server = serve(sum_package("total"), observer=told, authenticate=True)
    body = {"inputs": [{"name": "X", "datatype": "FP32", "shape": [2, 3], "data": [1.0] * 6}], "id": "mine"}
    answer = server.request("POST", "/v2/models/total/infer", body, token="mw_predictor")
    (event,) = told.access.events
    assert (event.protocol, event.method, event.route) == ("http", "POST", "/v2/models/{model}/infer")
    assert (event.status, event.error, event.actor) == (200, "", "pat")
    assert (event.model, event.version, event.role) == ("total", "1", "champion")
    assert (event.rows, event.batch, event.prediction_id) == (2, 1, answer.headers["modelwright-prediction-id"])
    assert event.bytes_out == int(answer.headers["content-length"])
    assert min(event.stages) > 0
    assert sum(event.stages) == pytest.approx(event.seconds, abs=1e-9)


def test_a_failed_request_is_told_with_its_code_even_where_no_other_is(serve, sum_package):
    observer = Observer(InMemoryEvents(), 0.0)
    server = serve(sum_package("total"), observer=observer, authenticate=True)
    server.request("POST", "/v2/models/total/infer", {"inputs": []}, token="mw_admin")
    server.request("GET", "/no/such?token=mw_admin")
    server.request("GET", "/metrics", token="mw_secret")
    server.raw(b"NOT HTTP\r\n\r\n")
    server.request("GET", "/v2/health/live")
    seen = [(event.status, event.error, event.route, event.model) for event in observer.access.events]
    assert seen == [
        (400, "serve.missing-input", "/v2/models/{model}/infer", "total"),
        (404, "http.unknown-path", "", ""),
        (401, "http.unknown-token", "/metrics", ""),
        (400, "http.bad-request", "", ""),
    ]


def test_a_trace_that_its_caller_samples_goes_on_here(serve, sum_package, told):
    server = serve(sum_package("total"), observer=told)
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}
    answer = server.infer("total", ROW, headers=headers)
    (event,) = told.traces.events
    assert answer.headers["modelwright-trace-id"] == event.trace.trace_id == TRACE
    assert (event.trace.parent_id, event.trace.state) == (PARENT, "vendor=1")
    assert event.trace.span_id != PARENT


@pytest.mark.parametrize(
    "traceparent",
    [
        f"00-{TRACE}-{PARENT}-00",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        "nonsense",
        "",
    ],
)
def test_a_trace_that_is_not_sampled_or_not_one_is_not_told(serve, sum_package, told, traceparent):
    server = serve(sum_package("total"), observer=told)
    assert server.infer("total", ROW, headers={"traceparent": traceparent}).status == 200
    assert told.traces.events == []


def test_the_share_of_the_traces_that_begin_here_is_as_set(serve, sum_package):
    faces = iter([0.05, 0.5, 0.099, 0.1])
    observer = Observer(traces=InMemoryEvents(), trace_ratio=0.1, dice=lambda: next(faces))
    server = serve(sum_package("total"), observer=observer)
    traced = ["modelwright-trace-id" in server.infer("total", ROW).headers for _ in range(4)]
    assert traced == [True, False, True, False]
    assert [event.trace.parent_id for event in observer.traces.events] == ["", ""]


def test_a_broken_observer_costs_no_answer(serve, sum_package, told):
    told.access.put = None
    server = serve(sum_package("total"), observer=told)
    assert server.infer("total", ROW).status == 200
