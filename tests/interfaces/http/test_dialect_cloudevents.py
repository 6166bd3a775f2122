import base64
import json

import pytest

from modelwright.core.prediction import PredictionRecord

ROWS = [[1.0, 2.0, 3.0], [4.25, -5.0, 0.0]]
V1 = {"instances": ROWS}
V2 = {"inputs": [{"name": "X", "shape": [2, 3], "datatype": "FP32", "data": ROWS}]}
PATH = "/v2/models/total/events"
STRUCTURED = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
BATCH = {"Content-Type": "application/cloudevents-batch+json"}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def server(serve, sum_package):
    return serve(sum_package(bias=0.5))


def event(identity="e-1", data=V1, **more):
    return {
        "specversion": "1.0",
        "id": identity,
        "source": "/tills/7",
        "type": "org.example.sale",
        "data": data,
        **more,
    }


def binary(server, body, path=PATH, **attributes):
    given = {"specversion": "1.0", "id": "e-1", "source": "/tills/7", "type": "org.example.sale", **attributes}
    headers = {f"ce-{name}": value for name, value in given.items() if value is not None}
    return server.request("POST", path, body, {"Content-Type": "application/json", **headers})


def batch(server, events):
    answer = server.request("POST", PATH, events, BATCH)
    assert (answer.status, answer.headers["content-type"]) == (200, BATCH["Content-Type"])
    return json.loads(answer.body)


def test_in_binary_mode_attributes_are_headers(server):
    answer = binary(server, V1, subject="K%C3%B6ln%20S%22", traceparent=TRACE, time="2013-03-01T12:00:00Z")
    assert answer.body == {"predictions": [[total] for total in server.rows("total", ROWS)]}
    assert answer.headers["content-type"] == "application/json"
    assert {name[3:]: value for name, value in answer.headers.items() if name[:3] == "ce-" and name != "ce-time"} == {
        "specversion": "1.0",
        "id": "e-1",
        "source": "/v2/models/total/versions/1",
        "type": "org.modelwright.prediction",
        "subject": "K%C3%B6ln%20S%22",
        "traceparent": TRACE,
        "causationid": "e-1",
    }
    record = next(record for record in server.records(1, PredictionRecord) if record.prediction_id == "e-1")
    assert record.event_time == 1362139200.0


def test_in_structured_mode_the_event_is_the_body(server):
    for data in (V1, V2, {**V2, "parameters": {"binary_data_output": True}}):
        answer = server.request("POST", PATH, event(data=data, subject="Köln"), STRUCTURED)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/cloudevents+json")
        found = json.loads(answer.body)
        assert (found["id"], found["subject"], found["datacontenttype"]) == ("e-1", "Köln", "application/json")
        values = found["data"].get("predictions") or found["data"]["outputs"][0]["data"]
        assert [value[0] if isinstance(value, list) else value for value in values] == server.rows("total", ROWS)
    encoded = {**event(), "data_base64": base64.b64encode(json.dumps(V1).encode()).decode()}
    del encoded["data"]
    assert server.request("POST", f"{PATH[:-7]}/versions/1/events", encoded, STRUCTURED).status == 200


def test_the_id_that_the_data_names_goes_before_the_events(server):
    answer = server.request("POST", PATH, event(data={**V2, "id": "mine"}), STRUCTURED)
    found = json.loads(answer.body)
    assert (found["id"], found["causationid"], found["data"]["id"]) == ("mine", "e-1", "mine")


def test_one_event_of_a_batch_fails_without_the_others(server):
    events = [
        event("a"),
        event("b", {"instances": [[1, 2]]}, subject="s"),
        {"id": "c"},
        7,
        event("d", specversion="0.3"),
        event("e" * 129),
        event("f"),
    ]
    answers = batch(server, events)
    kinds = ["org.modelwright.prediction" + (".failed" if index in range(1, 6) else "") for index in range(7)]
    assert [answer["type"] for answer in answers] == kinds
    assert [answer.get("causationid") for answer in answers] == ["a", "b", None, None, "d", "e" * 129, "f"]
    assert answers[0]["data"] == answers[6]["data"]
    assert answers[1]["subject"] == "s"
    codes = [answer["data"]["code"] for answer in answers[1:6]]
    wrong = ["serve.wrong-shape", "serve.bad-request", "serve.bad-request", "http.bad-event", "serve.id-too-long"]
    assert codes == wrong
    assert {answer["data"]["status"] for answer in answers[1:6]} == {400}
    assert len({answer["id"] for answer in answers}) == 7


def test_a_batch_may_be_empty_and_may_not_be_endless(server):
    assert batch(server, []) == []
    assert len(batch(server, [event(str(index)) for index in range(1000)])) == 1000
    answer = server.request("POST", PATH, [1] * 1001, BATCH)
    assert (answer.status, answer.headers["modelwright-error"]) == (413, "http.too-many-events")
    assert server.request("POST", PATH, event(), BATCH).headers["modelwright-error"] == "serve.bad-request"


def test_an_answer_that_is_no_json_fails_its_own_event_only(serve, echo_package):
    server = serve(echo_package("total", {"x": ("FP32", (-1, 1))}))
    data = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1.5]}]}
    overflow = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.5, 2.5]}]}
    found = batch(server, [event("a", overflow), event("b", data)])
    assert [entry["type"].endswith("failed") for entry in found] == [True, False]


@pytest.mark.parametrize(
    ("attributes", "code", "status"),
    [
        ({"specversion": "0.3"}, "http.bad-event", 400),
        ({"specversion": None}, "http.bad-event", 400),
        ({"id": None}, "http.bad-event", 400),
        ({"id": ""}, "http.bad-event", 400),
        ({"source": None}, "http.bad-event", 400),
        ({"type": None}, "http.bad-event", 400),
        ({"subject": "%ff"}, "http.bad-event", 400),
        ({"time": "yesterday"}, "serve.bad-event-time", 400),
        ({"id": "x" * 129}, "serve.id-too-long", 400),
    ],
)
def test_an_event_that_is_none_is_refused(server, attributes, code, status):
    answer = binary(server, V1, **attributes)
    assert (answer.status, answer.headers["modelwright-error"]) == (status, code)
    assert answer.body.keys() == {"error"}


@pytest.mark.parametrize(
    ("change", "code", "status"),
    [
        ({"specversion": "2.0"}, "http.bad-event", 400),
        ({"source": ""}, "http.bad-event", 400),
        ({"type": 7}, "serve.bad-request", 400),
        ({"datacontenttype": "text/xml"}, "http.unsupported-type", 415),
        ({"data_base64": "eA=="}, "http.bad-event", 400),
        ({"data": None}, "serve.bad-request", 400),
        ({"data": {"inputs": 1}}, "serve.bad-request", 400),
        ({"data": {"instances": [["x", 2, 3]]}}, "serve.bad-data", 400),
    ],
)
def test_a_structured_event_that_is_wrong_is_refused(server, change, code, status):
    answer = server.request("POST", PATH, {**event(), **change}, STRUCTURED)
    assert (answer.status, answer.headers["modelwright-error"]) == (status, code), answer.body
    assert answer.body.keys() == {"error"}


def test_what_is_no_event_is_refused(server):
    assert server.request("POST", PATH, V1).headers["modelwright-error"] == "http.bad-event"
    assert server.request("POST", PATH, V1, {"Content-Type": "application/cloudevents+avro"}).status == 415
    assert binary(server, V1, path="/v2/models/none/events").status == 404
    broken = {key: value for key, value in event(data_base64="?").items() if key != "data"}
    assert server.request("POST", PATH, broken, STRUCTURED).headers["modelwright-error"] == "http.bad-event"
