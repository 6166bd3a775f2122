"""What fails is tried again where that may help, within the budget and never beyond the deadline; then it is said."""

import json
import socket
import threading
import time

import numpy as np
import pytest

from modelwright.client import Client, Retries
from modelwright.client.retries import Budget
from modelwright.core.errors import (
    BadInputError,
    DeadlineError,
    InternalError,
    ModelwrightError,
    ThrottledError,
    UnavailableError,
)

ROWS = np.ones((1, 3), np.float32)
TRUTH = b'{"accepted": 1}'


def code_of(call):
    with pytest.raises(ModelwrightError) as raised:
        call()
    return raised.value.code


def header(request, name):
    lines = [line.partition(b":")[2].strip() for line in request[0] if line.lower().startswith(name.encode() + b":")]
    return lines[0].decode() if lines else None


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_server_that_is_busy_for_a_moment_is_asked_again_as_a_retry(script, reply, connect, status):
    server = script(reply(status, connection="close"), None, reply(200, TRUTH))
    assert connect(server.url).truth("m", "p", 1) == 1
    assert [header(one, "x-envoy-attempt-count") for one in server.requests] == [None, "2", "3"]
    assert len({body for _, body in server.requests}) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 500, 501])
def test_what_another_try_cannot_help_is_said_at_once(script, reply, connect, status):
    server = script(reply(status, b'{"error": "So it is."}', modelwright_error="some.code"))
    with pytest.raises(ModelwrightError, match="So it is") as raised:
        connect(server.url).truth("m", "p", 1)
    assert raised.value.code == "some.code"
    assert len(server.requests) == 1


def test_the_attempts_end_and_the_servers_own_error_is_what_is_raised(script, reply, connect):
    server = script(reply(429, b'{"error": "Too many."}'))
    with pytest.raises(ThrottledError, match="Too many"):
        connect(server.url).truth("m", "p", 1)
    assert len(server.requests) == 4
    with pytest.raises(ThrottledError):
        connect(server.url, retries=Retries(attempts=0)).truth("m", "p", 1)
    assert len(server.requests) == 5


def test_retry_after_is_kept_and_one_beyond_the_deadline_is_not_waited_for(script, reply, connect):
    server = script(reply(503, b'{"error": "Later."}', retry_after=1), reply(200, TRUTH))
    began = time.monotonic()
    assert connect(server.url).truth("m", "p", 1) == 1
    assert time.monotonic() - began >= 1
    server = script(reply(503, b'{"error": "Later."}', retry_after=3600))
    with pytest.raises(UnavailableError, match="Later") as raised:
        connect(server.url).truth("m", "p", 1)
    assert raised.value.details == {"status": 503, "retry_after": "3600"}
    assert len(server.requests) == 1


def test_retries_stop_when_the_budget_is_spent(script, reply, connect):
    server = script(reply(503))
    client = connect(server.url, retries=Retries(attempts=2, share=0.5, burst=3, base=0.0, most=0.0))
    for _ in range(20):
        with pytest.raises(UnavailableError):
            client.truth("m", "p", 1)
    assert 20 + 3 + 8 <= len(server.requests) <= 20 + 3 + 10


def test_a_budget_never_holds_more_than_its_burst():
    budget = Budget(Retries(share=0.25, burst=2))
    for _ in range(100):
        budget.earn()
    assert [budget.spend() for _ in range(3)] == [True, True, False]
    for _ in range(4):
        budget.earn()
    assert [budget.spend(), budget.spend()] == [True, False]


def test_a_retry_has_the_same_prediction_id(script, reply, connect):
    metadata = {
        "name": "m",
        "platform": "x",
        "inputs": [{"name": "X", "datatype": "FP32", "shape": [-1, 3]}],
        "outputs": [],
    }
    server = script(
        reply(200, b'{"extensions": []}'),
        reply(200, json.dumps(metadata).encode()),
        None,
        reply(503),
        reply(
            200, b'{"model_name": "m", "outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [null]}]}'
        ),
    )
    answer = connect(server.url).predict("m", ROWS)
    assert np.isnan(answer.outputs["y"]).all()
    sent = [json.loads(body) for _, body in server.requests[2:]]
    assert {one["id"] for one in sent} == {answer.id}
    # This server announces no binary tensors: they went as JSON.
    assert sent[0]["inputs"] == [{"name": "X", "datatype": "FP32", "shape": [1, 3], "data": [1.0, 1.0, 1.0]}]


def test_a_server_that_dies_in_the_middle_of_its_answer_is_not_asked_again(script, connect):
    server = script(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\nhalf")
    assert code_of(lambda: connect(server.url).truth("m", "p", 1)) == "client.answer-cut-off"
    assert len(server.requests) == 1


def test_a_server_that_dies_before_its_answer_is_asked_again_and_then_given_up(script, connect):
    server = script(None)
    assert code_of(lambda: connect(server.url).truth("m", "p", 1)) == "client.no-answer"
    assert len(server.requests) == 4


def test_an_idle_connection_that_the_server_closed_costs_no_retry(script, reply, connect):
    server = script(reply(200, TRUTH), None, reply(200, TRUTH))
    client = connect(server.url, retries=Retries(attempts=0))
    assert client.truth("m", "p", 1) == 1
    assert client.truth("m", "p", 1) == 1
    assert len(server.requests) == 3


def test_nobody_listening_is_said_with_the_url_and_what_to_do(connect):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(UnavailableError, match="Is the server started") as raised:
        connect(url, retries=Retries(attempts=1, base=0.0)).predict("m", ROWS)
    assert raised.value.code == "client.unreachable"
    assert url in raised.value.what
    assert not connect(url).ready()


@pytest.mark.parametrize("drip", [b"", b"x"], ids=["silent", "dripping"])
def test_a_slow_server_is_left_at_the_deadline(connect, drip):
    gone = threading.Event()

    def answer_slowly():
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nx: " if drip else b"")
            while not gone.wait(0.02):
                try:
                    connection.sendall(drip)
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        slow = threading.Thread(target=answer_slowly, daemon=True)
        slow.start()
        began = time.monotonic()
        with pytest.raises(DeadlineError, match=r"within 0\.3 s") as raised:
            connect(f"http://127.0.0.1:{listener.getsockname()[1]}").truth("m", "p", 1, deadline=0.3)
        took = time.monotonic() - began
        gone.set()
        slow.join()
    assert raised.value.code == "client.deadline"
    assert 0.29 < took < 20


def test_the_server_is_told_how_long_there_is(script, reply, connect):
    server = script(reply(503), reply(200, TRUTH))
    connect(server.url).truth("m", "p", 1, deadline=7.0)
    told = [int(header(one, "modelwright-timeout-ms")) for one in server.requests]
    assert told[0] == 7000
    assert 0 < told[1] <= 7000


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_deadline_is_a_time(script, reply, connect, seconds):
    server = script(reply(200, TRUTH))
    assert code_of(lambda: connect(server.url).truth("m", "p", 1, deadline=seconds)) == "client.bad-deadline"


def test_redirects_are_not_followed(script, reply, connect):
    server = script(reply(307, b"", location="http://elsewhere.example/"))
    with pytest.raises(UnavailableError, match=r"elsewhere\.example") as raised:
        connect(server.url).truth("m", "p", 1)
    assert raised.value.code == "client.redirected"
    assert len(server.requests) == 1


def test_proxies_of_the_environment_are_not_used(script, reply, connect, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert connect(script(reply(200, TRUTH)).url).truth("m", "p", 1) == 1


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"SSH-2.0-content-length close\r\n", "client.not-http"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}{", "client.bad-answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]", "client.bad-answer"),
        (b"HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\ncontent-length: 0\r\n\r\n", "client.not-http"),
    ],
    ids=["another-protocol", "no-json", "another-shape", "upgrade"],
)
def test_nonsense_for_an_answer_is_said_to_be_so(script, connect, line, code):
    assert code_of(lambda: connect(script(line).url).truth("m", "p", 1)) == code


def test_answers_in_chunks_announced_and_ended_by_closing_are_read(script, connect):
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx: content-length\r\n\r\n5\r\n" + TRUTH[:5]
    chunked += b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(TRUTH) - 5, TRUTH[5:])
    early = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(TRUTH) + TRUTH
    closed = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + TRUTH
    client = connect(script(chunked, early, closed).url)
    assert [client.truth("m", "p", 1) for _ in range(6)] == [1] * 6


def test_a_refusal_of_a_body_that_is_too_long_is_read(serve, sum_package, connect):
    server = serve(sum_package(), max_body_bytes=10_000)
    assert code_of(
        lambda: connect(f"http://127.0.0.1:{server.port}").predict("total", np.ones((2_000_000, 3), np.float32))
    ) in ("http.body-too-large", "client.no-answer")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://a",
        "http://",
        "http://a:99999",
        "http://a b",
        "http://a/?x=1",
        "http://me:secret@a",
        "http://ä",
        "a\r\nb",
    ],
)
def test_what_is_no_url_is_refused(url):
    assert code_of(lambda: Client(url)) == "client.bad-url"


def test_a_token_with_a_line_end_is_refused():
    assert code_of(lambda: Client("http://a", token="mw_x\r\nhost: b")) == "client.bad-token"


def test_a_model_is_described_anew_when_its_signature_changed(script, reply, connect):
    def metadata(width, *versions):
        inputs = [{"name": "X", "datatype": "FP32", "shape": [-1, width]}]
        body = {"name": "m", "versions": versions, "platform": "x", "inputs": inputs, "outputs": []}
        return reply(200, json.dumps(body).encode())

    def answer(version):
        return reply(200, json.dumps({"model_name": "m", "model_version": version, "outputs": []}).encode())

    server = script(
        reply(200, b'{"extensions": []}'),
        metadata(3, "1"),
        answer("1"),
        answer("2"),  # a version that was not there before
        metadata(3, "2"),
        answer("2"),
        reply(400, b'{"error": "No."}', modelwright_error="serve.wrong-datatype"),
        metadata(3, "2"),  # as it was: the error stands
        reply(400, b'{"error": "No."}', modelwright_error="serve.wrong-datatype"),
        metadata(4, "3"),
        answer("3"),
    )
    client = connect(server.url)
    assert [client.predict("m", ROWS).version for _ in range(3)] == ["1", "2", "2"]
    with pytest.raises(BadInputError):
        client.predict("m", ROWS)
    assert client.predict("m", ROWS).version == "3"
    assert len(server.requests) == 11


HELD = 1.25
"""No golden row holds it, so that it is answered late only when it is asked for."""


def test_an_interrupted_call_does_not_leave_its_answer_to_the_next(serve, function_package):
    import asyncio

    from modelwright.client import AsyncClient
    from modelwright.testing.runner import FunctionRunners

    package, run = function_package(factor=2.0)
    entered, release = threading.Event(), threading.Event()

    def slow(inputs):
        if (inputs["x"] == HELD).all():
            entered.set()
            release.wait(20)
        return run(inputs)

    server = serve(package, loader=FunctionRunners({package.digest: slow}), aside=True)

    async def story():
        async with AsyncClient(f"http://127.0.0.1:{server.port}", pool=1) as client:
            await client.predict("times", {"x": [5.0]})
            call = asyncio.create_task(client.predict("times", {"x": [HELD]}))
            await asyncio.to_thread(entered.wait, 20)
            call.cancel()
            release.set()
            return (await client.predict("times", {"x": [7.0]})).outputs["y"].tolist()

    assert asyncio.run(story()) == [[14.0]]


def test_an_answer_with_too_little_in_it_is_not_understood(script, reply, connect):
    head = b'{"outputs":[{"name":"y","datatype":"FP32","shape":[2],"parameters":{"binary_data_size":8}}]}'
    metadata = b'{"name":"m","inputs":[{"name":"X","datatype":"FP32","shape":[-1,3]}],"outputs":[]}'
    server = script(
        reply(200, b'{"extensions": ["binary_tensor_data"]}'),
        reply(200, metadata),
        reply(200, head + bytes(7), inference_header_content_length=len(head)),
    )
    with pytest.raises(InternalError) as raised:
        connect(server.url).predict("m", ROWS)
    assert raised.value.code == "client.bad-answer"
