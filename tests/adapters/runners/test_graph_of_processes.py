"""Models that run as code, in processes of their own, as nodes of a graph."""

import numpy as np
import pytest

from modelwright.adapters.runners.graph import GraphRunners
from modelwright.adapters.runners.routed import RoutedRunners
from modelwright.core.graph import Ensemble, Fallback, Node

DOUBLE = """
def predict(inputs):
    return {"total": inputs["X"].sum(axis=1, keepdims=True) * 2}
"""
WAITING = """
import time

def predict(inputs):
    if inputs["X"][0, 0] > 0:
        time.sleep(3600)
    return {"total": inputs["X"].sum(axis=1, keepdims=True) * 2}
"""


@pytest.fixture
def loaded():
    """``loaded(package)``: its runner, closed at the end."""
    held = []

    def load(package):
        held.append(GraphRunners(RoutedRunners()).load(package))
        return held[-1]

    yield load
    for runner in held:
        runner.close()


def test_a_model_in_a_process_and_one_in_this_process_answer_together(loaded, graph_package, code_package, sum_package):
    nodes = {
        "code": code_package(DOUBLE),
        "sum": sum_package(),
        "mean": Node(ensemble=Ensemble(("code", "sum"), "mean", (1.0, 1.0))),
    }
    runner = loaded(graph_package("g", nodes, "mean"))
    assert runner.run_traced({"X": np.ones((2, 3), np.float32)})["total"].tolist() == [[4.5], [4.5]]
    assert runner.unready() == ""
    assert runner.memory_bytes > 0


def test_a_model_in_a_process_that_does_not_answer_in_time_is_answered_for(
    loaded, graph_package, code_package, sum_package
):
    nodes = {
        "code": code_package(WAITING),
        "sum": sum_package(),
        "safe": Node(fallback=Fallback("code", "sum", 2_000.0)),
    }
    runner = loaded(graph_package("g", nodes, "safe", row_independent=False))
    quick = runner.run_traced({"X": np.zeros((1, 3), np.float32)})
    assert (quick["total"].tolist(), quick.notes) == ([[0.0]], ())
    late = runner.run_traced({"X": np.ones((1, 3), np.float32)})
    assert (late["total"].tolist(), late.notes) == ([[3.0]], ("fallback safe deadline",))
