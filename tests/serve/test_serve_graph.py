"""A graph behind the plane: one answer, its notes, and what is recorded of its nodes."""

import numpy as np
import pytest

from modelwright.adapters.runners.graph import GraphRunners
from modelwright.core.errors import ModelwrightError
from modelwright.core.graph import Ensemble, Fallback, Node
from modelwright.core.package import Golden
from modelwright.core.signature import Signature, TensorSpec
from modelwright.core.version import Arm, Route, RoutingTable
from modelwright.serve.call import PredictCall
from modelwright.serve.plane import Plane
from modelwright.testing.record import InMemorySink
from modelwright.testing.runner import FunctionRunners

SIGNATURE = Signature((TensorSpec("x", "FP64", (-1, 1)),), (TensorSpec("y", "FP64", (-1, 1)),))


def _times(factor):
    return lambda inputs: {"y": inputs["x"] * factor}


def _broken(inputs):
    raise ValueError("no")


@pytest.fixture
def planes(packaged, graph_package):
    """``planes({node: function}, answer, combining nodes)``: a plane that serves the graph as ``g``, and its sink."""

    def make(functions, answer, nodes, **more):
        packages = {name: packaged(name, SIGNATURE) for name in functions}
        package = graph_package("g", {**packages, **nodes}, answer, **more)
        loader = GraphRunners(FunctionRunners({packages[n].digest: function for n, function in functions.items()}))
        sink = InMemorySink()
        plane = Plane(sink, loader)
        table = RoutingTable(1, {"g": Route("g", (Arm("1", package.digest, 1.0, "champion"),))}, ())
        plane.apply(table, {package.digest: package}.__getitem__)
        return plane, sink

    return make


def _call(*values, identity="p"):
    return PredictCall(
        "g", {"x": np.array(values, dtype=np.float64).reshape(-1, 1)}, "ada", 1.0, prediction_id=identity
    )


def test_the_caller_and_the_metrics_are_told_that_a_fallback_answered(planes):
    plane, sink = planes(
        {"main": _broken, "spare": _times(2)}, "safe", {"safe": Node(fallback=Fallback("main", "spare"))}
    )
    answer = plane.predict(_call(1.0))
    assert answer.outputs["y"].tolist() == [[2.0]]
    assert answer.warnings == ("fallback safe error",)
    assert dict(plane.tally.fallbacks) == {("g", "safe", "error"): 1}
    assert not plane.tally.warnings
    sink.flush()
    assert {record.model: record.status for record in sink.records} == {
        "g": "ok",
        "g/main": "serve.model-rejected-input",
        "g/spare": "ok",
        "g/safe": "ok",
    }


def test_a_failed_request_says_which_node_failed_and_records_it(planes):
    mean = Node(ensemble=Ensemble(("fine", "main"), "mean", (1.0, 1.0)))
    plane, sink = planes({"fine": _times(1), "main": _broken}, "mean", {"mean": mean})
    with pytest.raises(ModelwrightError) as failed:
        plane.predict(_call(1.0))
    assert failed.value.details["node"] == "main"
    sink.flush()
    assert [(record.model, record.status) for record in sink.records] == [
        ("g", "serve.model-rejected-input"),
        ("g/main", "serve.model-rejected-input"),
    ]


def test_requests_that_run_together_get_their_own_records_of_each_node(planes):
    mean = Node(ensemble=Ensemble(("one", "two"), "mean", (1.0, 1.0)))
    golden = Golden({"x": [[1.0], [2.0]]}, {"y": [[2.0], [4.0]]}, 2)
    plane, sink = planes({"one": _times(1), "two": _times(3)}, "mean", {"mean": mean}, golden=golden)
    answers = []
    plane.submit(_call(1.0, 2.0, identity="p1"), answers.append)
    plane.submit(_call(3.0, identity="p2"), answers.append)
    plane.submit(_call(4.0, identity="p3"), answers.append)
    while plane.run():
        pass
    assert [answer.outputs["y"].ravel().tolist() for answer in answers] == [[2.0, 4.0], [6.0], [8.0]]
    assert any(size == "4" for _, size in plane.tally.runs)
    sink.flush()
    told = [(r.prediction_id, r.outputs["y"].ravel().tolist()) for r in sink.records if r.model == "g/two"]
    assert told == [("p1", [3.0, 6.0]), ("p2", [9.0]), ("p3", [12.0])]
    assert {record.role for record in sink.records if record.model != "g"} == {"node"}
