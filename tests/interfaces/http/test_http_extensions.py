"""Extensions of the protocol: configuration, statistics, classification, the repository."""

import json
import threading
import time

import pytest

from modelwright.testing.runner import FunctionRunners

ROW = ("X", "FP32", [1, 3], [1, 2, 3])


def stats(server, path="/models/total/stats"):
    answer = server.request("GET", f"/v2{path}")
    assert answer.status == 200
    return answer.body["model_stats"]


def test_the_configuration_says_how_requests_are_batched(serve, sum_package):
    server = serve(sum_package())
    config = {
        "name": "total",
        "platform": "onnx_onnxv1",
        "backend": "onnxruntime",
        "version_policy": {"specific": {"versions": [1]}},
        "max_batch_size": 8192,
        "input": [{"name": "X", "data_type": "TYPE_FP32", "dims": [3]}],
        "output": [{"name": "total", "data_type": "TYPE_FP32", "dims": [1]}],
        "model_transaction_policy": {"decoupled": False},
        "instance_group": [{"name": "total_cpu", "kind": "KIND_CPU", "count": 1}],
        "dynamic_batching": {},
    }
    for version in ("", "/versions/1"):
        assert server.request("GET", f"/v2/models/total{version}/config").body == config
    assert server.request("GET", "/v2/models/nobody/config").status == 404
    assert server.request("GET", "/v2/models/total/versions/2/config").status == 404


def test_the_metadata_of_a_model_with_columns_tells_them_as_a_property(
    serve, people_package, iris_package, sum_package
):
    server = serve(people_package, iris_package, sum_package(), sum_package("named", features=("a", "b", "c")))

    def told(model):
        properties = server.request("GET", f"/v2/models/{model}").body.get("properties", {})
        assert set(properties) <= {"modelwright_columns"}
        return json.loads(properties.get("modelwright_columns", "null"))

    assert [(one["name"], one["nullable"], one["null_as"]) for one in told("people")["features"]] == [
        ("age", False, None),
        ("city", True, "nowhere"),
    ]
    assert told("iris")["classes"] == ["setosa", "versicolor", "virginica"]
    assert told("named")["inputs"] == {"X": ["a", "b", "c"]}
    assert told("total") is None


def test_what_is_not_batched_has_whole_shapes_in_its_configuration(serve, echo_package):
    server = serve(echo_package("scalar", {"x": ("BYTES", (2, -1))}))
    config = server.request("GET", "/v2/models/scalar/config").body
    assert config["max_batch_size"] == 0
    assert config["input"] == [{"name": "x", "data_type": "TYPE_STRING", "dims": [2, -1]}]
    assert "dynamic_batching" not in config


def test_row_21_statistics_add_up(serve, sum_package):
    server = serve(sum_package())
    assert stats(server)[0]["last_inference"] == stats(server)[0]["inference_count"] == 0
    began = time.time()
    for rows in (1, 2, 2, 70):
        assert server.infer("total", ("X", "FP32", [rows, 3], [1] * (3 * rows))).status == 200
    assert server.infer("total", ("X", "FP32", [1, 4], [1] * 4)).status == 400  # never reached the model
    found = stats(server)[0]
    assert (found["name"], found["version"]) == ("total", "1")
    assert (found["inference_count"], found["execution_count"]) == (75, 4)
    assert began * 1000 - 1 <= found["last_inference"] <= time.time() * 1000
    parts = found["inference_stats"]
    assert parts["fail"] == parts["cache_hit"] == parts["cache_miss"] == {"count": 0, "ns": 0}
    stages = [parts[stage] for stage in ("queue", "compute_input", "compute_infer", "compute_output")]
    assert {stage["count"] for stage in (*stages, parts["success"])} == {4}
    assert all(stage["ns"] > 0 for stage in stages)
    assert 0 <= parts["success"]["ns"] - sum(stage["ns"] for stage in stages) < 5
    batches = {batch["batch_size"]: batch["compute_infer"]["count"] for batch in found["batch_stats"]}
    assert batches == {1: 1, 2: 2, 128: 1}  # above 64 rows: up to the next power of two
    assert sum(batch["compute_infer"]["ns"] for batch in found["batch_stats"]) == pytest.approx(
        parts["compute_infer"]["ns"], abs=5
    )


def test_row_21_requests_that_run_together_are_one_execution(serve, sum_package):
    server = serve(sum_package())
    body = b'{"inputs": [{"name": "X", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}'
    one = b"POST /v2/models/total/infer HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    last = one.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\nConnection: close\r\n")
    assert server.raw(one * 7 + last).count(b"HTTP/1.1 200") == 8
    found = stats(server)[0]
    assert found["inference_count"] == found["inference_stats"]["success"]["count"] == 8
    assert found["execution_count"] < 8
    batches = [(batch["batch_size"], batch["compute_infer"]) for batch in found["batch_stats"]]
    assert sum(size * infer["count"] for size, infer in batches) == 8
    assert sum(infer["count"] for _, infer in batches) == found["execution_count"]
    # each request has its whole run, as it would have had alone
    assert found["inference_stats"]["compute_infer"]["ns"] > sum(infer["ns"] for _, infer in batches)


def test_row_21_a_failure_of_the_model_is_counted_as_one(serve, function_package):
    package, run = function_package(fails="broken")
    server = serve(package, loader=FunctionRunners({package.digest: run}))
    assert server.infer("times", ("x", "FP64", [1, 1], [1.0])).status == 400
    found = stats(server, "/models/times/versions/1/stats")[0]
    assert (found["inference_count"], found["execution_count"], found["batch_stats"]) == (0, 0, [])
    assert found["inference_stats"]["success"]["count"] == 0
    assert found["inference_stats"]["fail"]["count"] == 1
    assert found["inference_stats"]["fail"]["ns"] > 0


def test_statistics_are_told_for_a_version_a_model_or_everything(serve, sum_package, echo_package):
    server = serve(sum_package(), echo_package("echo", {"x": ("FP32", (-1,))}))
    assert server.infer("total", ROW).status == 200
    assert {one["name"]: one["inference_count"] for one in stats(server, "/models/stats")} == {"total": 1, "echo": 0}
    assert len(stats(server)) == len(stats(server, "/models/total/versions/1/stats")) == 1
    for path in ("nobody/stats", "total/versions/2/stats"):
        assert server.request("GET", f"/v2/models/{path}").status == 404


def test_an_output_comes_as_the_best_classes_of_each_row(serve, iris_package):
    server = serve(iris_package)
    rows = ("X", "FP32", [2, 3], [0.1, 0.7, 0.2, 0.5, 0.2, 0.3])
    outputs = [{"name": "X_out", "parameters": {"classification": 2}}]
    answer = server.infer("iris", rows, outputs=outputs)
    assert answer.body["outputs"] == [
        {
            "name": "X_out",
            "datatype": "BYTES",
            "shape": [2, 2],
            "data": ["0.700000:1:versicolor", "0.200000:2:virginica", "0.500000:0:setosa", "0.300000:2:virginica"],
        }
    ]
    assert server.records(1)[0].outputs["X_out"].shape == (2, 3)  # the log has the scores themselves
    for bad in (0, -1, True, 1.5, "2", None):
        outputs = [{"name": "X_out", "parameters": {"classification": bad}}]
        answer = server.infer("iris", rows, outputs=outputs)
        assert (answer.status, answer.headers["modelwright-error"]) == (400, "serve.bad-classification")


def test_text_has_no_best_classes(serve, echo_package):
    server = serve(echo_package("echo", {"x": ("BYTES", (-1, 1))}))
    outputs = [{"name": "x_out", "parameters": {"classification": 1}}]
    answer = server.infer("echo", ("x", "BYTES", [1, 1], ["a"]), outputs=outputs)
    assert (answer.status, answer.headers["modelwright-error"]) == (400, "serve.not-classifiable")


def test_row_20_the_index_may_be_asked_for_what_is_ready(serve, sum_package):
    server = serve(sum_package())
    ready = [{"name": "total", "version": "1", "state": "READY", "reason": ""}]
    for body in (None, b"", b" ", {}, {"ready": True}, {"ready": False}):
        assert server.request("POST", "/v2/repository/index", body).body == ready
    for body in (b"x", [], {"ready": "yes"}, {"ready": None}):
        assert server.request("POST", "/v2/repository/index", body).status == 400
    server.server.dispatcher.draining = True
    assert server.request("POST", "/v2/repository/index", {"ready": True}).body == []
    assert server.request("POST", "/v2/repository/index").body[0]["state"] == "UNAVAILABLE"
    assert server.request("POST", "/v2/repository/other/index").headers["modelwright-error"] == (
        "serve.unknown-repository"
    )


@pytest.mark.parametrize("change", ["load", "unload"])
def test_row_20_what_is_served_is_not_changed_over_this_protocol(serve, sum_package, change):
    server = serve(sum_package())
    for body in (None, {"parameters": {"config": "{}"}}):
        answer = server.request("POST", f"/v2/repository/models/total/{change}", body)
        assert (answer.status, answer.headers["modelwright-error"]) == (422, "serve.no-load")
        assert "modelwright release" in answer.body["error"]
    assert server.request("POST", f"/v2/repository/other/models/total/{change}").status == 404
    assert server.infer("total", ROW).status == 200
    assert "model_repository" not in server.request("GET", "/v2").body["extensions"]


def test_row_20_a_new_table_under_traffic_fails_no_request(serve, sum_package):
    server = serve(sum_package())
    statuses, done = [], threading.Event()

    def ask():
        while not done.is_set():
            statuses.append(server.infer("total", ROW).status)

    asking = threading.Thread(target=ask)
    asking.start()
    for _ in range(20):
        server.load()
    done.set()
    asking.join()
    assert set(statuses) == {200}
