"""Answers in events, of a model that gives no chunks: what is asked, how it is said, and the log."""

import json

import pytest

from modelwright.testing.record import InMemorySink

PATH = "/v2/models/total/generate_stream"


class Full(InMemorySink):
    """A log that cannot be written."""

    def flush(self):
        return False


def events_of(answer):
    found = []
    for block in answer.body.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields.get("event", "message"), json.loads(fields["data"])))
    return found


@pytest.mark.parametrize(
    "body",
    [
        {"X": [1, 2, 3]},
        {"X": [[1, 2, 3]], "parameters": {"priority": 1}},
        {"inputs": [{"name": "X", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]},
    ],
)
def test_one_event_and_the_end(serve, sum_package, body):
    server = serve(sum_package())
    message, end = events_of(server.request("POST", PATH, body | {"id": "one"}))
    total = message[1]["total"] if "X" in body else message[1]["outputs"][0]["data"][0]
    assert (total, message[1]["id"]) == (6.0, "one")
    assert end == ("end", {"chunks": 1, "id": "one", "model_name": "total", "model_version": "1"})
    assert [record.prediction_id for record in server.records(1)] == ["one"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[]", "serve.bad-json"),
        (b"\xff", "serve.bad-json"),
        (b'{"Y": 1}', "serve.unknown-input"),
        (b'{"X": [1, 2]}', "serve.wrong-count"),
        (b'{"X": ["a", "b", "c"]}', "serve.bad-data"),
        (b'{"X": [1, 2, {}]}', "serve.bad-data"),
        (b'{"X": [1, 2, 1000000000000000000000000000000000000000000000]}', "serve.bad-data"),
        (b'{"X": [1, 2, 1e400]}', "serve.bad-json"),
        (b'{"X": [1, 2, 3], "parameters": 5}', "serve.bad-request"),
        (b"{}", "serve.missing-input"),
    ],
)
def test_what_cannot_be_asked_is_an_error_before_the_first_event(serve, sum_package, body, code):
    answer = serve(sum_package()).request("POST", PATH, body)
    assert answer.status == 400
    assert answer.headers["modelwright-error"] == code


@pytest.mark.parametrize("required", [True, False])
def test_where_the_log_must_hold_the_request_and_cannot_the_last_event_says_so(serve, sum_package, required):
    server = serve(sum_package(), sink=Full(), log_required=required)
    message, last = events_of(server.request("POST", PATH, {"X": [1, 2, 3]}))
    assert message[0] == "message"
    assert (last[0], last[1].get("code")) == (("error", "record.unwritable") if required else ("end", None))


def test_events_are_never_compressed(serve, sum_package):
    answer = serve(sum_package()).request("POST", PATH, {"X": [1, 2, 3]}, {"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers
    assert len(events_of(answer)) == 2
