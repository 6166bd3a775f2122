import re

import pytest

from modelwright.core.prediction import PredictionRecord, TruthRecord
from modelwright.core.version import Arm, Route, RoutingTable
from modelwright.record.compact import compact
from modelwright.record.log import DuckLog
from modelwright.record.writer import SegmentWriter

ROW = ("X", "FP32", [1, 3], [1, 2, 3])


def test_an_answer_is_in_the_log_before_it_is_sent(serve, sum_package):
    server = serve(sum_package())
    answer = server.infer("total", ROW, id="a")
    record = server.sink.records[0]
    assert answer.status == 200
    assert (record.prediction_id, record.model, record.version, record.role) == ("a", "total", "1", "champion")
    assert record.status == "ok"
    assert record.rows == 1
    assert record.inputs["X"].tolist() == [[1, 2, 3]]
    assert record.outputs["total"].tolist() == [[6]]


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (1362139200, 1362139200.0),
        (1362139200.5, 1362139200.5),
        ("2013-03-01T12:00:00Z", 1362139200.0),
        ("2013-03-01T12:00:00", 1362139200.0),
        ("2013-03-01T07:00:00-05:00", 1362139200.0),
    ],
)
def test_the_event_time_is_the_callers(serve, sum_package, given, seconds):
    server = serve(sum_package())
    assert server.infer("total", ROW, parameters={"event_time": given}).status == 200
    assert server.records(1)[0].event_time == seconds


@pytest.mark.parametrize("given", ["yesterday", "", True, None, 1e300, "99999-01-01"])
def test_a_bad_event_time_is_refused(serve, sum_package, given):
    server = serve(sum_package())
    assert server.infer("total", ROW, parameters={"event_time": given}).status == 400
    assert server.sink.records == []


def test_without_an_event_time_it_is_the_time_of_arrival(serve, sum_package):
    server = serve(sum_package())
    server.infer("total", ROW)
    record = server.records(1)[0]
    assert record.event_time == record.received_at


def test_ground_truth_is_accepted_when_it_is_written(serve, sum_package):
    server = serve(sum_package())
    truths = [
        {"prediction_id": "a", "values": [1, 0.5, None], "event_time": 123.0},
        {"prediction_id": "b", "value": "late", "event_time": "1970-01-01T00:00:10Z"},
        {"prediction_id": "c", "value": True},
        {"prediction_id": "d", "value": None},
    ]
    answer = server.request("POST", "/record/truth", {"model": "total", "truths": truths})
    assert answer.body == {"accepted": 4}
    records = server.sink.records
    assert all(isinstance(record, TruthRecord) for record in records)
    assert [record.values for record in records] == [(1, 0.5, None), ("late",), (True,), (None,)]
    assert [record.event_time for record in records[:2]] == [123.0, 10.0]
    assert records[2].event_time == records[2].received_at


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"model": "total"},
        {"model": "total", "truths": [{}]},
        {"model": "total", "truths": [{"prediction_id": "a"}]},
        {"model": "total", "truths": [{"prediction_id": "", "value": 1}]},
        {"model": "total", "truths": [{"prediction_id": "a", "value": 1, "values": [1]}]},
        {"model": "total", "truths": [{"prediction_id": "a", "value": {}}]},
        {"model": "total", "truths": [{"prediction_id": "a", "value": 2**70}]},
        {"model": "total", "truths": [{"prediction_id": "a" * 129, "value": 1}]},
        {"model": "total", "truths": [{"prediction_id": "a", "value": 1, "event_time": "soon"}]},
    ],
)
def test_ground_truth_that_cannot_be_used_is_refused_whole(serve, sum_package, body):
    server = serve(sum_package())
    assert server.request("POST", "/record/truth", body).status == 400
    assert server.sink.records == []


def test_ground_truth_of_an_unknown_model_is_not_found(serve, sum_package):
    server = serve(sum_package())
    body = {"model": "nobody", "truths": [{"prediction_id": "a", "value": 1}]}
    assert server.request("POST", "/record/truth", body).status == 404


def test_predictions_go_on_while_the_log_cannot_be_written_but_truth_is_not_accepted(serve, sum_package):
    server = serve(sum_package())
    server.sink.failing = True
    assert server.infer("total", ROW).status == 200
    truth = {"model": "total", "truths": [{"prediction_id": "a", "value": 1}]}
    answer = server.request("POST", "/record/truth", truth)
    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"
    server.sink.failing = False
    assert server.request("POST", "/record/truth", truth).status == 200


def test_no_unlogged_answer_is_given_where_the_log_is_required(serve, sum_package):
    server = serve(sum_package(), log_required=True)
    server.sink.failing = True
    answer = server.infer("total", ROW)
    assert answer.status == 503
    assert list(answer.body) == ["error"]
    assert server.request("GET", "/v2/health/live").status == 200
    server.sink.failing = False
    assert server.infer("total", ROW).status == 200


def test_metrics_count_what_happened(serve, sum_package):
    server = serve(sum_package())
    for _ in range(3):
        server.infer("total", ("X", "FP32", [2, 3], [1, 2, 3, 4, 5, 6]))
    server.infer("total", ("X", "FP32", [1, 4], [1, 2, 3, 4]))
    server.request("GET", "/nowhere")
    text = server.request("GET", "/metrics").body.decode()
    assert 'modelwright_predictions_total{model="total",role="champion",status="ok",version="1"} 6.0' in text
    assert 'modelwright_request_seconds_count{model="total",status="200",version="1"} 3.0' in text
    assert 'modelwright_request_seconds_count{model="total",status="400",version=""} 1.0' in text
    assert 'modelwright_errors_total{code="serve.wrong-shape"} 1.0' in text
    assert 'modelwright_errors_total{code="http.unknown-path"} 1.0' in text
    assert "modelwright_swaps_total 1.0" in text
    assert re.search(r"modelwright_connections [1-9]", text)


def test_a_shadow_is_recorded_beside_the_answer(serve, sum_package):
    champion, shadow = sum_package(bias=0.0), sum_package(bias=100.0)
    table = RoutingTable(
        1,
        {
            "total": Route(
                "total", (Arm("1", champion.digest, 1.0, "champion"),), (Arm("2", shadow.digest, 0.0, "shadow"),)
            )
        },
        authenticate=False,
    )
    server = serve(champion, shadow, table=table)
    answer = server.infer("total", ROW, id="both")
    assert answer.body["outputs"][0]["data"] == [6.0]
    records = server.records(2, PredictionRecord)
    assert [(r.version, r.role, r.outputs["total"].tolist()) for r in records] == [
        ("1", "champion", [[6.0]]),
        ("2", "shadow", [[106.0]]),
    ]
    assert {r.prediction_id for r in records} == {"both"}
    assert server.infer("total", ROW, version="2").headers["modelwright-version"] == "2"
    assert server.records(3, PredictionRecord)[2].role == "pinned"


def test_no_rows_are_answered_by_no_rows_and_recorded_as_such(serve, sum_package, echo_package):
    columns = {"x": ("FP32", (-1, 1)), "s": ("BYTES", (-1, 1)), "i": ("INT64", (-1, 1))}
    server = serve(sum_package(), echo_package("echo", columns))
    flat = [(name, datatype, [0, 1], []) for name, (datatype, _) in columns.items()]
    short = [(name, datatype, [0], []) for name, (datatype, _) in columns.items()]
    for count, inputs in enumerate((flat, short), start=1):
        answer = server.infer("echo", *inputs)
        assert [(output["shape"], output["data"]) for output in answer.body["outputs"]] == [([0, 1], [])] * 3
        record = server.records(count, PredictionRecord)[-1]
        assert (record.status, record.rows) == ("ok", 0)
        assert {array.shape for array in (*record.inputs.values(), *record.outputs.values())} == {(0, 1)}
    assert server.infer("total", ("X", "FP32", [0, 3], [])).body["outputs"][0]["shape"] == [0, 1]
    empty = [
        {"name": n, "datatype": t, "shape": [0, 1], "parameters": {"binary_data_size": 0}}
        for n, (t, _) in columns.items()
    ]
    answer = server.binary("echo", {"inputs": empty, "parameters": {"binary_data_output": True}}, b"")
    assert [output["parameters"]["binary_data_size"] for output in answer.json["outputs"]] == [0, 0, 0]
    assert answer.raw == b""
    assert server.binary("total", None, b"", length=0).status == 200
    rows_differ = server.infer("echo", flat[0], flat[1], ("i", "INT64", [1, 1], [1]))
    assert rows_differ.status == 400


def test_no_rows_reach_the_log_and_come_back(serve, sum_package, tmp_path):
    package = sum_package()
    sink = SegmentWriter(tmp_path / "log", writer_id="w")
    server = serve(package, sink=sink)
    assert server.infer("total", ("X", "FP32", [0, 3], []), id="none").status == 200
    assert server.infer("total", ROW, id="one").status == 200
    truth = {"model": "total", "truths": [{"prediction_id": "none", "values": []}]}
    assert server.request("POST", "/record/truth", truth).status == 200
    server.stop()
    sink.close()
    log = DuckLog(tmp_path / "log")
    assert log.joined("total", signature=package.signature)["prediction_id"].tolist() == ["one"]
    assert compact(tmp_path / "log") >= 1
    assert log.joined("total", signature=package.signature)["prediction_id"].tolist() == ["one"]
