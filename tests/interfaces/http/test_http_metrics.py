"""What a scrape says, read with prometheus-client's own parser."""

import threading
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from modelwright.core.signature import Signature, TensorSpec
from modelwright.core.version import Arm, Route, RoutingTable
from modelwright.interfaces.http.exposition import Family, render
from modelwright.testing.runner import FunctionRunners


def scrape(server):
    """Samples by name, then by their labels' values (in the order of the labels' names, "le" last)."""
    text = server.request("GET", "/metrics").body.decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sorted(sample.labels.items(), key=lambda pair: (pair[0] == "le", pair[0]))
            found.setdefault(sample.name, {})[tuple(value for _, value in labels)] = sample.value
    return found


def test_every_stage_of_every_answered_request_is_counted(serve, sum_package):
    server = serve(sum_package("total"))
    for number in range(1, 6):
        server.rows("total", [[1.0, 2.0, 3.0]] * number)
    found = scrape(server)
    counts = found["modelwright_stage_seconds_count"]
    assert counts == {("total", stage): 5.0 for stage in ("decode", "queue", "infer", "encode")}
    seconds = found["modelwright_stage_seconds_sum"]
    assert all(value > 0 for value in seconds.values())
    assert sum(seconds.values()) <= found["modelwright_request_seconds_sum"]["total", "200", "1"]
    assert found["modelwright_run_seconds_total"]["total",] == pytest.approx(seconds["total", "infer"])


def test_the_buckets_of_every_histogram_rise_to_its_count(serve, sum_package):
    server = serve(sum_package("total"))
    for _ in range(3):
        server.rows("total", [[1.0, 2.0, 3.0]])
    found = scrape(server)
    for name in [name.removesuffix("_count") for name in found if name.endswith("_count")]:
        for labels, count in found[f"{name}_count"].items():
            buckets = [value for key, value in found[f"{name}_bucket"].items() if key[: len(labels)] == labels]
            assert buckets == sorted(buckets), name
            assert buckets[-1] == count, name


def test_a_batch_counts_once_in_the_bucket_of_its_rows(serve, sum_package):
    server = serve(sum_package("total"))
    for rows in (1, 3, 3, 200):
        server.rows("total", [[1.0, 2.0, 3.0]] * rows)
    found = scrape(server)
    buckets = {float(le): value for (_, le), value in found["modelwright_batch_rows_bucket"].items()}
    assert (buckets[1], buckets[2], buckets[4], buckets[128], buckets[256]) == (1, 1, 3, 3, 4)
    assert found["modelwright_batch_rows_sum"]["total",] == 207


def test_what_waits_and_how_long_is_told_while_a_run_is_under_way(serve, packaged):
    begun, go = threading.Event(), threading.Event()
    signature = Signature((TensorSpec("x", "FP64", (-1, 1)),), (TensorSpec("y", "FP64", (-1, 1)),))
    package = packaged("slow", signature, {"x": [[1.0], [2.0]]}, {"y": [[1.0], [2.0]]})
    probing = True

    def run(inputs):
        if not probing:
            begun.set()
            assert go.wait(20)
        time.sleep(0.01)  # longer than what runs on the plane's own thread
        return {"y": np.asarray(inputs["x"])}

    server = serve(package, loader=FunctionRunners({package.digest: run}), aside=True)
    probing = False
    asking = threading.Thread(target=lambda: server.infer("slow", ("x", "FP64", [1, 1], [1.0])))
    asking.start()
    assert begun.wait(20)
    found = scrape(server)
    go.set()
    asking.join()
    assert found["modelwright_waiting_requests"]["slow",] == 1
    assert found["modelwright_wait_seconds"]["slow",] > 0
    assert scrape(server)["modelwright_waiting_requests"]["slow",] == 0


def test_the_versions_in_force_are_told_with_their_roles(serve, sum_package):
    first, second = sum_package("total"), sum_package("total", bias=1.0)
    arms = (Arm("1", first.digest, 0.9, "champion"), Arm("2", second.digest, 0.1, "canary"))
    table = RoutingTable(1, {"total": Route("total", arms, (Arm("3", first.digest, 0.0, "shadow"),))}, ())
    server = serve(first, second, table=RoutingTable(1, table.routes, (), authenticate=False))
    found = scrape(server)
    assert found["modelwright_version_weight"] == {
        ("total", "champion", "1"): 0.9,
        ("total", "canary", "2"): 0.1,
        ("total", "shadow", "3"): 0.0,
    }
    assert found["modelwright_version_instances"] == {("cpu", "total", version): 1.0 for version in "123"}
    assert found["modelwright_gateways"] == {(): 1.0}


def test_names_that_callers_make_up_become_no_series(serve, sum_package):
    server = serve(sum_package("total"))
    server.rows("total", [[1.0, 2.0, 3.0]])
    before = sum(map(len, scrape(server).values()))
    for number in range(200):
        server.infer(f"no-such-{number}", ("X", "FP32", [1, 3], [1.0, 2.0, 3.0]))
        server.request("GET", f"/nothing/{number}")
        server.infer("total", ("X", "FP32", [1, 3], [1.0, 2.0, 3.0]), version=f"v{number}")
        server.request("POST", "/v2/models/total/infer", {"inputs": [], "id": f"id-{number}"})
    after = sum(map(len, scrape(server).values()))
    assert after - before < 60  # the codes of the errors, and their latency under the model's own name


@given(st.lists(st.text(), min_size=2, max_size=2), st.lists(st.floats(0, 1e15), min_size=5, max_size=5))
def test_whatever_a_label_holds_the_text_is_read_back_as_it_was(values, figures):
    families = [
        Family("h", "A histogram.", "histogram", ("z", "a"), [(tuple(values), figures)], (0.1, 1.0, 10.0)),
        Family("c", "A counter.", "counter", ("z", "a"), [(tuple(values), figures[:1])]),
        Family("g", "A gauge.", "gauge", (), [((), figures[:1])]),
    ]
    text = render(families).decode()
    told = {(one.name, one.labels.get("le")): one for f in text_string_to_metric_families(text) for one in f.samples}
    assert told["c_total", None].labels == dict(zip(("z", "a"), values, strict=True))
    assert told["c_total", None].value == told["g", None].value == figures[0]
    assert told["h_bucket", "1.0"].value == figures[0] + figures[1]
    assert told["h_bucket", "+Inf"].value == told["h_count", None].value == sum(figures[:4])
    assert told["h_sum", None].value == figures[4]


def test_what_is_counted_is_what_is_recorded(serve, sum_package):
    first, second = sum_package("total"), sum_package("total", bias=1.0)
    arms = (Arm("1", first.digest, 0.7, "champion"), Arm("2", second.digest, 0.3, "canary"))
    route = Route("total", arms, (Arm("3", first.digest, 0.0, "shadow"),))
    server = serve(first, second, table=RoutingTable(1, {"total": route}, (), authenticate=False))
    statuses = Counter()
    for number in range(60):
        rows = number % 4
        data = [[1.0, 2.0, 3.0]] * rows if number % 5 else [["wrong"]]
        answer = server.infer("total", ("X", "FP32", [rows, 3], data), id=f"id-{number}")
        statuses[str(answer.status)] += 1
    records = server.records(2 * statuses["200"])
    rows = Counter()
    for record in records:
        rows[record.model, record.role, record.status, record.version] += record.rows
    found = scrape(server)
    assert found["modelwright_predictions_total"] == rows
    answered = Counter()
    for (_, status, _), count in found["modelwright_request_seconds_count"].items():
        answered[status] += count
    assert answered == statuses
    assert found["modelwright_stage_seconds_count"]["total", "infer"] == len(records)
