"""Answers in chunks from a real gateway and a real process of a model."""

import asyncio
import http.client
import json
import os
import signal
import socket
import time
import urllib.request

import numpy as np
import pytest

from kit.gateways import serving
from modelwright.client import AsyncClient, Client
from modelwright.core.errors import BadInputError
from modelwright.core.signature import Signature, TensorSpec

WORDS = """
    import os, time
    import numpy as np

    def predict(inputs):
        return {"word": inputs["text"], "pid": np.full(inputs["text"].shape, os.getpid())}

    def stream(inputs):
        text = str(inputs["text"][0, 0])
        made = 0
        try:
            if text.startswith("count "):
                for number in range(int(text.split()[1])):
                    made = number + 1
                    yield chunk(f"{number} " + "x" * int(text.split()[2]))
                return
            for word in text.split():
                if word == "fail":
                    raise ValueError("no such word")
                if word == "wait":
                    time.sleep(3600)
                yield chunk(word)
        finally:
            with open(os.environ["TMPDIR"] + "/made", "w") as file:
                file.write(str(made))

    def chunk(word):
        return {"word": np.array([[word]], object), "pid": np.array([[os.getpid()]])}
"""
SIGNATURE = Signature(
    (TensorSpec("text", "BYTES", (-1, 1)),), (TensorSpec("word", "BYTES", (-1, 1)), TensorSpec("pid", "INT64", (-1, 1)))
)


@pytest.fixture(scope="module")
def words(code_package):
    return code_package(WORDS, "words", SIGNATURE, streams=True)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, words, sum_package):
    with serving(tmp_path_factory.mktemp("streams"), words, sum_package(), log_mode="batched") as running:
        yield running


class Events:
    """The events of one answer, read one by one."""

    def __init__(self, port, body, path="/v2/models/words/generate_stream", **headers):
        self.client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.client.request("POST", path, json.dumps(body), headers)
        self.answer = self.client.getresponse()

    def __iter__(self):
        name = "message"
        while line := self.answer.readline():
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                yield name, json.loads(value)
                name = "message"


def test_each_chunk_is_an_event_in_order_and_a_last_one_says_that_it_is_over(gateway):
    events = Events(gateway.port, {"text": "a b ü", "id": "one"})
    assert events.answer.status == 200
    assert events.answer.headers["content-type"] == "text/event-stream"
    assert events.answer.headers["transfer-encoding"] == "chunked"
    found = list(events)
    assert [(name, told.get("word")) for name, told in found] == [
        ("message", "a"),
        ("message", "b"),
        ("message", "ü"),
        ("end", None),
    ]
    assert found[-1][1] == {"chunks": 3, "id": "one", "model_name": "words", "model_version": "1"}


def test_what_fails_before_the_first_chunk_is_an_error_like_any_other(gateway):
    events = Events(gateway.port, {"text": "fail"})
    assert events.answer.status == 400
    assert events.answer.headers["modelwright-error"] == "serve.model-rejected-input"
    assert "no such word" in json.loads(events.answer.read())["error"]


def test_what_fails_later_is_an_event_with_the_code_of_the_error(gateway):
    found = list(Events(gateway.port, {"text": "a fail"}))
    assert [name for name, _ in found] == ["message", "error"]
    assert found[1][1]["code"] == "serve.model-rejected-input"


def test_a_process_that_is_killed_between_chunks_ends_the_answer_with_an_error(gateway):
    events = iter(Events(gateway.port, {"text": "a wait"}))
    os.kill(next(events)[1]["pid"], signal.SIGKILL)
    assert [(name, told["code"]) for name, told in events] == [("error", "serve.runner-lost")]


def test_a_model_without_chunks_answers_in_one_event(gateway):
    found = list(Events(gateway.port, {"X": [1, 2, 3]}, "/v2/models/total/generate_stream"))
    assert [(name, told.get("total")) for name, told in found] == [("message", 6.0), ("end", None)]


def test_the_protocols_own_form_is_answered_in_its_own_form(gateway):
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": ["a b"]}
    found = list(Events(gateway.port, {"inputs": [tensor], "outputs": [{"name": "word"}]}))
    assert [told["outputs"][0]["data"] for name, told in found if name == "message"] == [["a"], ["b"]]


def test_a_reader_who_stops_reading_stops_the_model_and_costs_little_memory(gateway):
    until(lambda: not gateway.metric("modelwright_in_flight_requests") - 1)
    slow = Events(gateway.port, {"text": "count 100000 20000"})
    chunks = iter(slow)
    next(chunks)
    before = gateway.rss
    quick = list(Events(gateway.port, {"text": "count 50 20000"}))  # others go on meanwhile
    assert len(quick) == 51
    assert gateway.rss - before < 40
    assert [next(chunks)[1]["word"].split()[0] for _ in range(200)] == [str(number) for number in range(1, 201)]
    slow.client.close()


def test_long_chunks_of_several_answers_do_not_mix(gateway):
    with Client(f"http://127.0.0.1:{gateway.port}", timeout=60) as client:
        answers = [client.stream("words", {"text": [f"count {10 + size} {size * 100_000}"]}) for size in range(4)]
        found = list(zip(*answers, strict=False))
        whole = client.predict("words", {"text": ["y" * 200_000]})
    assert len(found) == 10
    for number, chunks in enumerate(found):
        for size, chunk in enumerate(chunks):
            assert chunk.outputs["word"].item() == f"{number} " + "x" * (size * 100_000)
    assert len(whole.outputs["word"].item()) == 200_000


def test_requests_behind_an_answer_in_chunks_are_answered_after_it(gateway):
    body = b'{"text": "a b"}'
    ask = b"POST /v2/models/words/generate_stream HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )
    found = raw(gateway, ask + ask + b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert found.count(b"event: end") == 2
    assert found.count(b"0\r\n\r\nHTTP/1.1 200 OK") == 2
    assert found.endswith(b'{"live":true}')


def test_where_the_connection_closes_after_the_answer_its_end_is_the_answers(gateway):
    for version, header in ((b"1.1", b"connection: close\r\n"), (b"1.0", b""), (b"1.0", b"connection: keep-alive\r\n")):
        head = b"POST /v2/models/words/generate_stream HTTP/%b\r\nhost: x\r\n%bcontent-length: 13\r\n\r\n" % (
            version,
            header,
        )
        found = raw(gateway, head + b'{"text": "a"}')
        assert b"transfer-encoding" not in found
        assert b'"word":"a"' in found
        assert found.rstrip().endswith(b"}")
        assert b"event: end" in found


def raw(gateway, data):
    """Everything until the server closes."""
    parts = []
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as client:
        client.sendall(data)
        while part := client.recv(65536):
            parts.append(part)
    return b"".join(parts)


def test_a_client_who_leaves_stops_the_model(gateway):
    events = Events(gateway.port, {"text": "count 1000000 10"})
    next(iter(events))
    kills = gateway.metric("modelwright_runner_kills")
    events.answer.close()
    events.client.close()
    until(lambda: 'status="serve.cancelled"' in page(gateway))
    assert len(list(Events(gateway.port, {"text": "a b"}))) == 3
    assert gateway.metric("modelwright_runner_kills") == kills  # it stopped by itself


def until(found, seconds=30):
    limit = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < limit
        time.sleep(0.02)


def page(gateway):
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.port}/metrics", timeout=20) as answer:
        return answer.read().decode()


def test_the_connection_goes_on_after_the_last_event(gateway):
    events = Events(gateway.port, {"text": "a"})
    assert len(list(events)) == 2
    events.client.request("GET", "/v2/health/live")
    assert events.client.getresponse().status == 200


def test_the_client_reads_chunks_as_they_come_and_closing_it_stops_the_model(gateway):
    with Client(f"http://127.0.0.1:{gateway.port}", timeout=60) as client:
        found = [chunk.outputs["word"].item() for chunk in client.stream("words", {"text": ["a b c"]}, id="two")]
        assert found == ["a", "b", "c"]
        endless = client.stream("words", {"text": ["count 1000000 10"]})
        assert next(endless).outputs["word"].item().startswith("0 ")
        endless.close()
        with pytest.raises(BadInputError, match="no such word"):
            list(client.stream("words", {"text": ["fail"]}))
        with pytest.raises(BadInputError, match="no such word"):
            list(client.stream("words", {"text": ["a fail"]}))
        assert len(list(client.stream("total", np.ones((2, 3), np.float32)))) == 1


def test_the_asynchronous_client_reads_many_answers_at_once(gateway):
    async def read(client, text):
        return [chunk.outputs["word"].item() async for chunk in client.stream("words", {"text": [text]})]

    async def story():
        async with AsyncClient(f"http://127.0.0.1:{gateway.port}", timeout=60) as client:
            return await asyncio.gather(*(read(client, f"a b {number}") for number in range(8)))

    assert asyncio.run(story()) == [["a", "b", str(number)] for number in range(8)]


def test_more_answers_in_chunks_than_a_process_makes_at_once_are_refused_with_503(gateway):
    waiting = [Events(gateway.port, {"text": "count 1000000 20000"}) for _ in range(16)]
    refused = Events(gateway.port, {"text": "a"})
    assert refused.answer.status == 503
    assert refused.answer.headers["modelwright-error"] == "serve.overloaded"
    assert refused.answer.headers["retry-after"] == "1"
    for events in waiting:
        events.answer.close()
        events.client.close()
    until(lambda: Events(gateway.port, {"text": "a"}).answer.status == 200)


def test_a_model_that_does_not_stop_when_its_caller_left_is_killed_and_replaced(gateway):
    kills = gateway.metric("modelwright_runner_kills")
    events = Events(gateway.port, {"text": "a wait"})
    next(iter(events))
    events.answer.close()
    events.client.close()
    until(lambda: gateway.metric("modelwright_runner_kills") == kills + 1)
    assert len(list(Events(gateway.port, {"text": "a b"}))) == 3


def test_a_gateway_that_stops_ends_what_is_not_over_in_time_with_an_error(tmp_path, words):
    with serving(tmp_path, words, drain_seconds=0.5) as stopping:
        events = iter(Events(stopping.port, {"text": "a wait"}))
        assert next(events)[1]["word"] == "a"
        os.kill(stopping.popen.pid, signal.SIGTERM)
        assert [(name, told["code"]) for name, told in events] == [("error", "serve.runner-lost")]
