"""Statistics by version, of one process and of several."""

import contextlib
from dataclasses import astuple
from types import SimpleNamespace

import numpy as np
import pytest

from modelwright.adapters.counters.mapped import MappedCounters
from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.core.version import Arm, Route, RoutingTable
from modelwright.serve.call import PredictCall
from modelwright.serve.plane import Plane
from modelwright.serve.statistics import EXACT_ROWS, Statistics
from modelwright.serve.tally import OwnCounters
from modelwright.testing.record import InMemorySink
from modelwright.testing.runner import FunctionRunners

FIRST, OTHER = SimpleNamespace(model="m", version="1"), SimpleNamespace(model="m", version="2")
ANSWER = {}


def ticket(arm=FIRST, *, rows=1, at=10.0, cancelled=False):
    return SimpleNamespace(
        arm=arm,
        rows=rows,
        arrived=1.0,
        queued=1.5,
        started=0.0,
        cancelled=cancelled,
        call=SimpleNamespace(received_at=at),
    )


def run(statistics, *tickets, outcomes=None, rows=None):
    rows = sum(one.rows for one in tickets) if rows is None else rows
    statistics.ran(tickets, outcomes or [ANSWER] * len(tickets), rows, 3.5, 4.0)


def test_each_request_of_a_run_has_its_whole_run_and_the_run_counts_once():
    statistics = Statistics(OwnCounters())
    run(statistics, ticket(), ticket(rows=2, at=11.0))
    served = statistics.read()["m", "1"]
    runs = served.batches[3]
    assert (runs.requests, runs.runs, runs.rows) == (2, 1, 3)
    assert (runs.input_seconds, runs.queue_seconds) == (1.0, 4.0)
    assert (runs.infer_seconds, runs.shared_infer_seconds) == (0.5, 0.5)
    assert served.last == 10.0
    assert astuple(served.total()) == astuple(runs)


def test_who_failed_or_left_is_no_answered_request():
    statistics = Statistics(OwnCounters())
    run(statistics, ticket(cancelled=True), ticket(), ticket(), outcomes=[ANSWER, BadInputError("a.b", "no"), ANSWER])
    run(statistics, ticket(), outcomes=[BadInputError("a.b", "no")])
    served = statistics.read()["m", "1"]
    assert (served.total().requests, served.total().runs, served.failed) == (1, 1, 2)
    assert served.failed_seconds > 0


def test_versions_of_one_package_that_run_together_are_told_apart():
    statistics = Statistics(OwnCounters())
    run(statistics, ticket(), ticket(OTHER), ticket())
    found = {version: served.total() for (_, version), served in statistics.read().items()}
    assert {version: (total.requests, total.runs) for version, total in found.items()} == {"1": (2, 1), "2": (1, 0)}


@pytest.mark.parametrize(("rows", "size"), [(0, 0), (EXACT_ROWS, EXACT_ROWS), (65, 128), (128, 128), (129, 256)])
def test_runs_of_many_rows_are_counted_up_to_a_power_of_two(rows, size):
    statistics = Statistics(OwnCounters())
    run(statistics, ticket(rows=rows))
    assert list(statistics.read()["m", "1"].batches) == [size]


def test_the_figures_of_several_processes_are_summed_and_never_go_back(tmp_path):
    first, other = (Statistics(MappedCounters(tmp_path, name)) for name in ("a", "b"))
    seen = 0
    for at in range(20):
        run(first if at % 3 else other, ticket(at=float(at)))
        reader = other if at % 2 else first
        count = reader.read()["m", "1"].total().requests
        assert count >= seen
        seen = count
    first.publish()
    served = other.read()["m", "1"]
    assert served.total().requests == served.batches[1].runs == 20
    assert served.total().queue_seconds == pytest.approx(40.0)
    assert served.last == 19.0


def test_runs_of_a_release_with_other_figures_are_left_out(tmp_path):
    MappedCounters(tmp_path, "old").slots(("statistics.runs", "m", "1", "1"), (5.0, 5.0))
    statistics = Statistics(MappedCounters(tmp_path, "new"))
    run(statistics, ticket())
    runs = statistics.read()["m", "1"].batches[1]
    assert (runs.requests, runs.runs, runs.rows) == (1, 1, 1)


def test_every_version_counts_what_it_ran_in_whatever_role(function_package):
    (good, function), (bad, fail) = function_package(), function_package(fails="always")
    plane = Plane(InMemorySink(), FunctionRunners({good.digest: function, bad.digest: fail}))
    route = Route("times", (Arm("1", good.digest, 1.0, "champion"),), (Arm("2", bad.digest, 0.0, "shadow"),))
    plane.apply(RoutingTable(1, {"times": route}), {good.digest: good, bad.digest: bad}.__getitem__)
    for rows in (1, 4):
        plane.predict(PredictCall("times", {"x": np.ones((rows, 1))}, "tester", 1000.0))
        plane.run_shadows()
    with contextlib.suppress(ModelwrightError):
        plane.predict(PredictCall("times", {"x": np.ones((1, 1))}, "tester", 1000.0, version="2"))
    champion, shadow = (plane.tally.statistics.read()["times", version] for version in ("1", "2"))
    total = champion.total()
    assert (total.requests, champion.failed, total.rows, total.runs) == (2, 0, 5, 2)
    assert (shadow.total().requests, shadow.failed, shadow.batches) == (0, 3, {})
    assert champion.last == 1000.0
    assert min(total.input_seconds, total.queue_seconds, total.infer_seconds, total.output_seconds) > 0
    assert shadow.failed_seconds > 0
