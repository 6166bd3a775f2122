import json

import numpy as np
import pytest

from serving import catalog, forms, tables
from serving.tables import Measurement, Start, same_round_ratio

TITLES = {"modelwright": "modelwright", "fastapi-sklearn": "FastAPI + scikit-learn", "fastapi-onnx": "FastAPI + ONNX"}
QUIET = {"p50": 1.0, "p99": 2.0, "errors": 0, "megabytes": 50.0, "server_cpu": 0.99, "generator_cpu": 0.3}


def taken(server, number, rate, *, others=0.0, squeezed=0.0):
    return Measurement(server, "row-64", number, rate=rate, others=others, squeezed=squeezed, **QUIET)


def cells(table, title):
    line = next(line for line in table.splitlines() if line.startswith(f"| {title} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_ratio_is_the_median_over_the_rounds_that_both_have():
    ours = [taken("a", 1, 10.0), taken("a", 2, 60.0), taken("a", 3, 40.0), taken("a", 4, 900.0)]
    theirs = [taken("b", 1, 10.0), taken("b", 2, 20.0), taken("b", 3, 20.0)]
    assert same_round_ratio(ours, theirs) == 2.0


def test_without_a_common_round_there_is_no_ratio():
    assert same_round_ratio([taken("a", 1, 10.0)], [taken("b", 2, 10.0)]) is None


def test_the_fastest_server_comes_first_and_is_compared_with_both_fastapis():
    rows = [taken("fastapi-sklearn", 1, 1000.0), taken("fastapi-onnx", 1, 5000.0), taken("modelwright", 1, 30000.0)]
    table = tables.workload_table("rows", TITLES, rows, {})
    assert table.splitlines()[4].startswith("| modelwright |")
    assert cells(table, "modelwright")[1:4] == ["30,000 [30,000-30,000] (1)", "30.00", "6.00"]


def test_a_noisy_round_is_dropped_from_the_figures_and_from_the_ratios_and_counted():
    rows = [taken("fastapi-onnx", 1, 100.0), taken("fastapi-onnx", 2, 1.0, others=0.2)]
    rows += [taken("modelwright", 1, 200.0), taken("modelwright", 2, 200.0)]
    table = tables.workload_table("rows", TITLES, rows, {})
    assert cells(table, "FastAPI + ONNX")[1] == "100 [100-100] (1)"
    assert cells(table, "modelwright")[3] == "2.00"
    assert "kept 3; dropped for noise 1" in tables.summary(rows)


def test_a_server_without_figures_is_a_row_that_says_why():
    rows = [taken("modelwright", 1, 5.0, others=0.9)]
    table = tables.workload_table("rows", TITLES, rows, {"fastapi-onnx": "not installed"})
    assert cells(table, "modelwright")[1] == "dropped for noise, 1 of 1"
    assert cells(table, "FastAPI + ONNX")[1] == "not installed"
    assert cells(table, "FastAPI + scikit-learn")[1] == "not measured"


def test_a_starved_generator_is_flagged():
    table = tables.workload_table("rows", TITLES, [taken("modelwright", 1, 5.0, squeezed=0.3)], {})
    assert cells(table, "modelwright")[-1] == "0.30 !"


def test_cold_starts_are_sorted_by_their_medians_without_the_noisy_ones():
    starts = [Start("modelwright", number, seconds, 50.0, 0.0) for number, seconds in enumerate((0.2, 0.4, 0.3))]
    starts += [Start("fastapi-onnx", 1, 0.25, 80.0, 0.0), Start("fastapi-onnx", 2, 9.0, 80.0, 0.5)]
    table = tables.start_table(TITLES, starts, {"fastapi-sklearn": "failed in round 1"})
    assert [line.split("|")[1].strip() for line in table.splitlines()[4:]] == [
        "FastAPI + ONNX",
        "modelwright",
        "FastAPI + scikit-learn",
    ]
    assert cells(table, "modelwright")[1:] == ["0.30 [0.20-0.40] (3)", "50"]


def test_every_peer_has_an_app_and_pinned_requirements_and_is_started():
    folders = {path.name: path for path in catalog.PEERS.iterdir() if path.is_dir()}
    assert set(folders) == {server.peer for server in catalog.SERVERS if server.peer}
    for path in folders.values():
        assert (path / "app.py").is_file()
        lines = (path / "requirements.txt").read_text().splitlines()
        assert lines
        assert all("==" in line for line in lines)


def test_no_peer_installs_a_build_for_gpus():
    text = "".join(path.read_text() for path in catalog.PEERS.glob("*/requirements.txt"))
    assert not [word for word in ("torch", "cuda", "nvidia", "gpu") if word in text]


def test_a_peer_stands_for_both_of_its_servers_and_an_unknown_one_is_refused():
    assert [server.name for server in catalog.chosen("ray")] == ["ray-sklearn", "ray-onnx"]
    with pytest.raises(SystemExit, match="No server is named nobody"):
        catalog.chosen("nobody")


@pytest.mark.parametrize("server", catalog.SERVERS, ids=lambda server: server.name)
def test_every_server_is_asked_for_rows_in_json_that_gives_back_the_same_numbers(server):
    rows = np.array([[0.1, -3.25], [2e-7, 1.0]], np.float32)
    text = server.forms["row"].encode(rows).body
    lists = [value for value in _lists(json.loads(text)) if len(value) in (2, 4)]
    assert np.array_equal(np.array(lists, np.float32).ravel(), rows.ravel())


def test_a_binary_request_is_a_head_and_then_the_bytes_of_the_tensor():
    rows = np.ones((2, 30), np.float32)
    request = forms.v2_binary("trees", "probabilities").encode(rows)
    size = int(request.headers["Inference-Header-Content-Length"])
    assert json.loads(request.body[:size])["inputs"][0]["parameters"] == {"binary_data_size": rows.nbytes}
    assert request.body[size:] == rows.tobytes()


def _lists(said):
    """The lists of numbers inside decoded JSON, except shapes."""
    if isinstance(said, dict):
        return [found for key, value in said.items() if key != "shape" for found in _lists(value)]
    if isinstance(said, list) and not all(isinstance(value, float) for value in said):
        return [found for value in said for found in _lists(value)]
    return [said] if isinstance(said, list) else []
