"""What the nodes of a graph did is on record beside the graph's own answers, and changes nothing about these."""

import numpy as np
import pytest

from modelwright.adapters.runners.graph import GraphRunners
from modelwright.adapters.runners.onnx import OnnxRunners
from modelwright.core.graph import Case, Ensemble, Node, Switch
from modelwright.core.graph_nodes import node_signature
from modelwright.core.prediction import TruthRecord
from modelwright.core.version import Arm, Route, RoutingTable
from modelwright.record.compact import compact
from modelwright.record.log import DuckLog
from modelwright.record.query import query
from modelwright.record.writer import SegmentWriter
from modelwright.serve.call import PredictCall
from modelwright.serve.plane import Plane
from modelwright.testing.errors import error_code


@pytest.fixture
def package(graph_package, linear_package):
    nodes = {
        "small": linear_package("small", ("a",), (1.0,)),
        "large": linear_package("large", ("a", "b"), (1.0, 2.0)),
        "both": Node(ensemble=Ensemble(("small", "large"), "mean", (1.0, 1.0))),
        "sides": Node(switch=Switch("b", (Case("small", high=0.0),), "both")),
    }
    return graph_package("flights", nodes, "sides")


@pytest.fixture(params=["as written", "compacted"])
def log(request, tmp_path, package):
    """The log of one request of three rows and its truth, answered by a plane."""
    sink = SegmentWriter(tmp_path / "log", writer_id="gw")
    plane = Plane(sink, GraphRunners(OnnxRunners()))
    route = Route("flights", (Arm("1", package.digest, 1.0, "champion"),))
    plane.apply(RoutingTable(1, {"flights": route}, ()), {package.digest: package}.__getitem__)
    feeds = {
        "a": np.array([[0.1], [0.2], [0.3]], np.float32),
        "b": np.array([[1.0], [-1.0], [1.0]], np.float32),
    }
    plane.predict(PredictCall("flights", feeds, "ada", 100.0, prediction_id="p1"))
    sink.append(TruthRecord("flights", "p1", (1, 0, 1), 100.0, 101.0, "ada"))
    sink.flush()
    plane.close()
    sink.close()
    if request.param == "compacted":
        compact(tmp_path / "log")
    return DuckLog(tmp_path / "log")


def _rows(log, package, node):
    rows = log.joined(f"flights/{node}", signature=node_signature(package, node))
    return sorted(zip(rows["row"].tolist(), rows["truth"].tolist(), rows["output.label"].tolist(), strict=True))


def test_each_row_of_a_node_stands_at_its_place_in_the_request_with_its_own_truth(log, package):
    assert [row[:2] for row in _rows(log, package, "sides")] == [(0, 1), (1, 0), (2, 1)]
    assert [row[:2] for row in _rows(log, package, "both")] == [(0, 1), (2, 1)]
    assert [row[:2] for row in _rows(log, package, "large")] == [(0, 1), (2, 1)]
    assert sorted(row[:2] for row in _rows(log, package, "small")) == [(0, 1), (1, 0), (2, 1)]


def test_the_graphs_own_rows_and_counts_are_as_if_it_were_one_model(log, package):
    own = log.joined("flights", signature=package.signature)
    assert own["row"].tolist() == [0, 1, 2]
    assert set(own["role"]) == {"champion"}
    counts = log.counts()
    assert (counts["requests"], counts["predictions"], counts["truths"], counts["unknown_truths"]) == (1, 3, 1, 0)
    assert [(arm.role, arm.ok) for arm in log.arms("flights", since=0.0)] == [("champion", 1)]


def test_the_nodes_can_be_compared_in_sql(log, package):
    rows = log.joined("flights/small", signature=node_signature(package, "small"))
    names, found = query(rows, 'select count(*) as n, avg("output.probabilities.1") as p from predictions')
    assert (names, found[0][0]) == (["n", "p"], 3)
    assert 0.5 < found[0][1] < 0.6


def test_a_node_that_is_not_there_is_named(package):
    assert error_code(node_signature, package, "other") == "graph.no-such-node"
