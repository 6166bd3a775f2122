"""Requests that wait: for their model, for one another, and for nobody."""

import json
import socket
import threading
import time

import pytest

from modelwright.core.signature import Signature, TensorSpec
from modelwright.testing.runner import FunctionRunners

ECHO = Signature((TensorSpec("x", "FP64", (-1, 1)),), (TensorSpec("y", "FP64", (-1, 1)),))


class Gated:
    """A model that takes its time for a value of 1, until the gate opens."""

    def __init__(self):
        self.gate, self.began, self.seen = threading.Event(), threading.Event(), []

    def __call__(self, inputs):
        values = inputs["x"].reshape(-1).tolist()
        self.seen.append(values)
        if 1.0 in values:
            self.began.set()
            assert self.gate.wait(20)
        return {"y": inputs["x"] + 0.5}


def request_of(value, headers="", **more):
    tensor = {"name": "x", "datatype": "FP64", "shape": [1, 1], "data": [value]}
    body = json.dumps({"inputs": [tensor], **more})
    return (
        f"POST /v2/models/echo/infer HTTP/1.1\r\nhost: x\r\n{headers}content-length: {len(body)}\r\n\r\n{body}".encode()
    )


class Answers:
    """Reads one answer after the other."""

    def __init__(self, connection):
        self.file = connection.makefile("rb")

    def next(self):
        status = int(self.file.readline().split()[1])
        size = 0
        while (line := self.file.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                size = int(value)
        return status, json.loads(self.file.read(size))


@pytest.fixture
def slow(serve, packaged):
    """A served model that is known to be slow, so that it runs aside, with its gate."""
    model = Gated()
    package = packaged("echo", ECHO)
    server = serve(package, loader=FunctionRunners({package.digest: model}), aside=True, request_seconds=600.0)
    server.plane._driver._queue_seconds = 600.0
    pace = server.plane.routes["echo"].champion.loaded.pace
    pace.learn(1, 0.01)
    server.model = model
    yield server
    model.gate.set()


def test_health_is_answered_while_a_model_runs(slow):
    with slow.connect() as client:
        client.sendall(request_of(1.0))
        assert slow.model.began.wait(20)
        assert slow.request("GET", "/v2/health/ready").status == 200
        slow.model.gate.set()
        assert Answers(client).next()[1]["outputs"][0]["data"] == [1.5]


def test_answers_leave_in_the_order_of_the_requests_of_a_connection(slow):
    health = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n"
    with slow.connect() as client:
        client.sendall(request_of(1.0) + health + request_of(2.0) + b"BROKEN\r\n\r\n")
        assert slow.model.began.wait(20)
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(20)
        slow.model.gate.set()
        answers = Answers(client)
        told = [answers.next() for _ in range(4)]
    assert [status for status, _ in told] == [200, 200, 200, 400]
    assert told[1][1] == {"live": True}
    assert told[2][1]["outputs"][0]["data"] == [2.5]


def test_what_a_client_asked_who_has_gone_is_not_run(slow):
    with slow.connect() as stays:
        stays.sendall(request_of(1.0))
        assert slow.model.began.wait(20)
        with slow.connect() as leaves:
            leaves.sendall(request_of(3.0))
            until(lambda: slow.plane.routes["echo"].champion.loaded.in_flight == 2)
        until(lambda: len(slow.server.connections) == 1)
        slow.model.gate.set()
        Answers(stays).next()
    until(lambda: slow.plane.routes["echo"].champion.loaded.in_flight == 0)
    assert [3.0] not in slow.model.seen


def test_a_half_closed_client_still_gets_its_answer(slow):
    with slow.connect() as client:
        client.sendall(request_of(1.0))
        client.shutdown(socket.SHUT_WR)
        assert slow.model.began.wait(20)
        answers = Answers(client)
        assert answers.file.readline() == b"HTTP/1.1 102 Processing\r\n"
        slow.model.gate.set()
        while (line := answers.file.readline()) in (b"\r\n", b"HTTP/1.1 102 Processing\r\n"):
            pass
        assert line.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "late", [("modelwright-timeout-ms: 300\r\n", {}), ("", {"parameters": {"timeout": 300_000}})], ids=["header", "oip"]
)
def test_a_caller_may_say_how_long_they_wait(slow, late):
    headers, more = late
    with slow.connect() as client:
        client.sendall(request_of(1.0, headers, **more))
        status, body = Answers(client).next()
    assert status == 504
    assert "time ran out" in body["error"]


def test_more_pipelined_requests_than_a_connection_may_have_wait_in_the_socket_and_are_all_answered(slow):
    many = 500
    with slow.connect() as client:
        client.sendall(request_of(1.0))
        assert slow.model.began.wait(20)
        for value in range(2, many):
            client.sendall(request_of(float(value)))
        slow.model.gate.set()
        answers = Answers(client)
        told = [answers.next()[1]["outputs"][0]["data"][0] for _ in range(many - 1)]
    assert told == [value + 0.5 for value in range(1, many)]


@pytest.mark.parametrize("text", ["-1", "soon", "1e3", "9" * 20])
def test_a_senseless_timeout_is_refused(serve, sum_package, text):
    answer = serve(sum_package()).infer(
        "total", ("X", "FP32", [1, 3], [1, 2, 3]), headers={"Modelwright-Timeout-Ms": text}
    )
    assert answer.status == 400
    assert answer.headers["modelwright-error"] == "http.bad-timeout"


@pytest.mark.parametrize("parameters", [{"timeout": -1}, {"timeout": "1"}, {"priority": 11}, {"priority": True}])
def test_a_senseless_schedule_is_refused(serve, sum_package, parameters):
    answer = serve(sum_package()).infer("total", ("X", "FP32", [1, 3], [1, 2, 3]), parameters=parameters)
    assert answer.status == 400


def test_a_refusal_says_when_to_come_back(slow):
    slow.plane._driver._queue_seconds = 0.5
    slow.plane.routes["echo"].champion.loaded.pace.per_row = 3.0
    with slow.connect() as client:
        client.sendall(request_of(1.0))
        assert slow.model.began.wait(20)
        refused = slow.infer("echo", ("x", "FP64", [1, 1], [2.0]))
    assert refused.status == 503
    assert refused.headers["modelwright-error"] == "serve.overloaded"
    assert int(refused.headers["retry-after"]) >= 1
    assert (
        slow.request("GET", "/metrics").body.count(b'modelwright_shed_requests_total{model="echo",reason="queue"}') == 1
    )


def until(true):
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)
