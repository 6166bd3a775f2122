"""Requests that run together get the answers they would have got alone."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.core.device import Placement
from modelwright.core.errors import ModelwrightError
from modelwright.core.signature import Signature, TensorSpec
from modelwright.core.version import Arm, Route, RoutingTable
from modelwright.serve import Plane, PredictCall
from modelwright.serve.lane import QUANTUM_SECONDS, Lane, Ticket
from modelwright.serve.pace import Pace
from modelwright.testing.errors import error_code
from modelwright.testing.record import InMemorySink
from modelwright.testing.runner import FunctionRunners

TWICE = Signature((TensorSpec("x", "FP64", (-1, -1)),), (TensorSpec("y", "FP64", (-1, -1)),))
POISON = -999.0


def twice(inputs):
    """Refuses a poisoned row, as a model refuses what its operators cannot take."""
    if (inputs["x"] == POISON).any():
        raise ValueError("a poisoned row")
    return {"y": inputs["x"] * 2}


class Asking:
    """A plane with one model, and what its callers were told."""

    def __init__(self, package, function, runners=FunctionRunners, **options):
        self.loader = runners({package.digest: function})
        self.sink = InMemorySink()
        self.plane = Plane(self.sink, self.loader, **options)
        route = Route(package.name, (Arm("1", package.digest, 1.0, "champion"),))
        self.plane.apply(RoutingTable(1, {package.name: route}), {package.digest: package}.__getitem__)
        self.runner, self.model = self.loader.runners[package.digest], package.name
        self.runner.calls = 0
        self.told = {}

    def ask(self, key, x, **more):
        call = PredictCall(self.model, {"x": np.asarray(x, np.float64)}, more.pop("actor", "a"), 0.0, **more)
        return self.plane.submit(call, lambda outcome: self.told.__setitem__(key, outcome))


class OnTwoDevices(FunctionRunners):
    """As if each version ran on two devices at once."""

    def load(self, package, **how):
        runner = super().load(package, **how)
        runner.placement = Placement("cuda", (0, 1), 2)
        return runner


def later(jobs):
    """An ``offload`` that keeps the work for the test to do."""
    return lambda work, then: jobs.append((work, then))


@pytest.fixture(scope="module")
def doubling(packaged):
    return packaged("twice", TWICE, {"x": [[1.0, 2.0], [3.0, 4.0]]}, {"y": [[2.0, 4.0], [6.0, 8.0]]})


asked = st.lists(
    st.tuples(
        st.integers(1, 4),  # rows
        st.integers(1, 3),  # width
        st.sampled_from(["ada", "bob", "cy"]),
        st.sampled_from(["good"] * 6 + ["poison", "cancelled", "late"]),
        st.integers(1, 10),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=150)
@given(asked)
def test_every_request_gets_its_own_answer_whatever_runs_beside_it(doubling, requests):
    asking, expected = Asking(doubling, twice), {}
    for key, (rows, width, actor, fate, priority) in enumerate(requests):
        x = np.arange(rows * width, dtype=np.float64).reshape(rows, width) + 1000 * key
        if fate == "poison":
            x[-1, -1] = POISON
        limit = time.perf_counter() - 1 if fate == "late" else np.inf
        # submitted as a queue has it: nobody is refused for a wait before the first run
        ticket = asking.ask(key, x, actor=actor, priority=priority)
        ticket.limit, ticket.cancelled = limit, fate == "cancelled"
        if fate != "cancelled":
            expected[key] = {"poison": "serve.model-rejected-input", "late": "serve.deadline"}.get(fate, x * 2)
    while asking.plane.run():
        pass
    assert asking.told.keys() == expected.keys()
    for key, outcome in asking.told.items():
        if isinstance(outcome, ModelwrightError):
            assert outcome.code == expected[key]
        else:
            np.testing.assert_array_equal(outcome.outputs["y"], expected[key])
    asking.sink.flush()
    assert sum(record.rows for record in asking.sink.records) == sum(requests[key][0] for key in expected)
    assert asking.plane.routes["twice"].champion.loaded.in_flight == 0


def test_what_arrives_together_runs_together(doubling):
    asking = Asking(doubling, twice)
    for key in range(50):
        asking.ask(key, [[key]])
    asking.plane.run()
    assert asking.runner.calls == 1
    assert asking.plane.tally.runs["twice", "64"] == 1


def test_what_arrives_during_a_run_runs_together_after_it(doubling):
    jobs = []
    asking = Asking(doubling, twice, offload=later(jobs))
    asking.plane.routes["twice"].champion.loaded.pace.fixed = 1e-2  # known to be slow: it runs aside
    asking.ask("first", [[1.0]])
    asking.plane.run()
    for key in range(10):
        asking.ask(key, [[key]])
    asking.plane.run()
    assert len(jobs) == 1
    while jobs:
        work, then = jobs.pop()
        then(work())
        asking.plane.run()
    assert asking.runner.calls == 2
    assert len(asking.told) == 11


def test_different_widths_never_share_a_run(doubling):
    asking = Asking(doubling, twice)
    asking.ask("narrow", [[1.0]])
    asking.ask("wide", [[1.0, 2.0]])
    asking.plane.run()
    assert asking.runner.calls == 2
    assert asking.told["narrow"].outputs["y"].shape == (1, 1)


def test_a_model_whose_rows_are_not_declared_independent_runs_each_request_alone(packaged):
    package = packaged("twice", TWICE, {"x": [[1.0]]}, {"y": [[2.0]]}, row_independent=False)
    asking = Asking(package, twice)
    for key in range(5):
        asking.ask(key, [[key]])
    asking.plane.run()
    assert asking.runner.calls == 5


def test_a_model_that_mixes_rows_against_its_declaration_is_found_out_when_it_is_loaded(packaged):
    def centred(inputs):
        return {"y": inputs["x"] - inputs["x"].mean()}

    package = packaged("centred", TWICE, {"x": [[1.0], [3.0]]}, {"y": [[-1.0], [1.0]]})
    asking = Asking(package, centred)
    for key in range(5):
        asking.ask(key, [[float(key)], [key + 2.0]])
    asking.plane.run()
    assert asking.runner.calls == 5
    assert all(outcome.outputs["y"].tolist() == [[-1.0], [1.0]] for outcome in asking.told.values())


def test_without_golden_rows_nothing_is_proved_and_requests_run_alone(packaged):
    asking = Asking(packaged("twice", TWICE), twice)
    for key in range(3):
        asking.ask(key, [[key]])
    asking.plane.run()
    assert asking.runner.calls == 3


def lane_of(*, batched=True, per_row=0.0):
    pace = Pace()
    pace.per_row = per_row
    return Lane(SimpleNamespace(pace=pace, batched=batched, in_flight=0))


def ticket(actor, rows=1, priority=5):
    call = PredictCall("m", {}, actor, 0.0, priority=priority)
    return Ticket(SimpleNamespace(model="m", version="1"), call, {}, rows, print, actor=actor)


def test_a_caller_with_a_long_queue_keeps_nobody_else_waiting():
    lane = lane_of(batched=False, per_row=0.001)
    for _ in range(1000):
        lane.put(ticket("greedy"))
    lane.put(ticket("modest"))
    share = round(QUANTUM_SECONDS / 0.001)
    assert "modest" in [lane.take()[0].actor for _ in range(share + 1)]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 300)), min_size=1, max_size=60), st.booleans())
def test_every_ticket_is_taken_once_and_a_callers_own_order_is_kept(given_tickets, batched):
    lane = lane_of(batched=batched, per_row=1e-4)
    tickets = [ticket(actor, rows) for actor, rows in given_tickets]
    for one in tickets:
        lane.put(one)
    taken = []
    while lane.tickets:
        run = lane.take()
        assert batched or len(run) == 1
        taken += run
    assert lane.take() == []
    assert len(taken) == len(tickets)
    assert lane.loaded.in_flight == len(tickets)  # taken, and not yet settled
    for actor in "abc":
        assert [t for t in taken if t.actor == actor] == [t for t in tickets if t.actor == actor]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 200)), min_size=2, max_size=80))
def test_while_both_wait_neither_gets_much_more_than_the_other(given_tickets):
    lane = lane_of(batched=False, per_row=1e-4)
    left = {"a": 0, "b": 0}
    for actor, rows in given_tickets:
        lane.put(ticket(actor, rows))
        left[actor] += rows
    served = {"a": 0, "b": 0}
    while all(left.values()):
        one = lane.take()[0]
        served[one.actor] += one.rows
        left[one.actor] -= one.rows
    if all(actor in dict(given_tickets) for actor in "ab"):
        assert abs(served["a"] - served["b"]) <= 2 * (QUANTUM_SECONDS / 1e-4 + 200)


def test_the_more_urgent_of_a_callers_requests_runs_first():
    lane = lane_of(batched=False)
    for priority in (5, 9, 1, 5):
        lane.put(ticket("a", priority=priority))
    assert [lane.take()[0].call.priority for _ in range(4)] == [1, 5, 5, 9]


def test_a_run_of_many_is_kept_short():
    lane = lane_of(per_row=0.01)
    for _ in range(100):
        lane.put(ticket("a"))
    assert len(lane.take()) == 3


def test_a_model_whose_runs_are_long_whatever_they_hold_still_runs_many_requests_together():
    lane = lane_of(per_row=0.001)
    lane.loaded.pace.fixed = 0.1
    for _ in range(500):
        lane.put(ticket("a"))
    assert len(lane.take()) == 100


def slow_plane(doubling, jobs, **options):
    asking = Asking(doubling, twice, offload=later(jobs), **options)
    pace = asking.plane.routes["twice"].champion.loaded.pace
    pace.fixed, pace.per_row = 0.0, 0.1
    return asking


def test_a_request_that_would_wait_too_long_is_refused_at_once(doubling):
    jobs = []
    asking = slow_plane(doubling, jobs, queue_seconds=0.35)
    asking.ask("running", [[1.0]])
    asking.plane.run()
    for key in range(3):
        asking.ask(key, [[1.0]])
    assert error_code(asking.ask, "fifth", [[1.0]]) == "serve.overloaded"
    assert asking.plane.tally.shed[("twice", "queue")] == 1


def test_a_retry_is_refused_sooner_and_a_deadline_that_cannot_be_met_at_once(doubling):
    asking = slow_plane(doubling, [], queue_seconds=0.35)
    asking.ask("running", [[1.0]])
    asking.plane.run()
    asking.ask("second", [[1.0]])
    assert error_code(asking.ask, "retry", [[1.0]], retry=True) == "serve.overloaded"
    assert error_code(asking.ask, "hurry", [[1.0]], limit=time.perf_counter() + 0.05) == "serve.overloaded"
    assert asking.plane.tally.shed[("twice", "deadline")] == 1
    asking.ask("patient", [[1.0]])


def test_one_callers_backlog_is_not_another_callers_wait(doubling):
    asking = slow_plane(doubling, [], queue_seconds=0.35)
    asking.plane.routes["twice"].champion.loaded.pace.per_row = 0.01
    asking.ask("running", [[1.0]])
    asking.plane.run()
    for key in range(30):
        asking.ask(key, [[1.0]], actor="greedy")
    while error_code(asking.ask, "more", [[1.0]], actor="greedy") == "":
        pass
    asking.ask("modest", [[1.0]], actor="modest")


def test_an_answer_that_comes_too_late_is_thrown_away(doubling):
    jobs = []
    asking = slow_plane(doubling, jobs)
    asking.ask("late", [[1.0]], limit=time.perf_counter() + 60)
    asking.plane.run()
    asking.plane.give_up_late(time.perf_counter() + 61)
    assert asking.told["late"].code == "serve.deadline"
    work, then = jobs.pop()
    then(work())
    assert asking.told["late"].code == "serve.deadline"
    asking.sink.flush()
    assert [record.status for record in asking.sink.records] == ["serve.deadline"]


def test_a_run_that_does_not_come_back_holds_nobody_longer_than_they_wait(doubling):
    jobs = []
    asking = slow_plane(doubling, jobs, queue_seconds=5.0)
    limit = time.perf_counter() + 60
    asking.ask("stuck", [[1.0]], limit=limit)
    asking.plane.run()
    for key in ("lone", "second", "third"):
        asking.ask(key, [[1.0]], limit=limit)
        asking.plane.give_up_late(limit - 1)
    asking.plane.give_up_late(limit + 1)
    assert {key: outcome.code for key, outcome in asking.told.items()} == dict.fromkeys(
        ("stuck", "lone", "second", "third"), "serve.deadline"
    )
    work, then = jobs.pop()
    then(work())
    while asking.plane.run():
        pass
    assert asking.runner.calls == 1
    assert asking.plane.routes["twice"].champion.loaded.in_flight == 0


def test_while_a_run_is_late_newcomers_are_refused(doubling):
    asking = slow_plane(doubling, [], queue_seconds=0.35)
    asking.ask("stuck", [[1.0]])
    asking.plane.run()
    (lane,) = asking.plane._driver._running
    lane.runs[0].free_at -= 60
    assert error_code(asking.ask, "newcomer", [[1.0]]) == "serve.overloaded"


def test_a_version_is_closed_only_when_what_it_runs_has_come_back(doubling):
    jobs = []
    asking = slow_plane(doubling, jobs)
    asking.ask("last", [[1.0]])
    asking.plane.run()
    asking.plane.apply(RoutingTable(2, {}), {}.__getitem__)
    asking.plane.run_shadows()
    assert not asking.runner.closed
    work, then = jobs.pop()
    then(work())
    assert asking.told["last"].outputs["y"].tolist() == [[2.0]]
    asking.plane.run_shadows()
    assert asking.runner.closed


def test_a_version_on_two_devices_makes_two_runs_at_once_and_no_third(doubling):
    jobs = []
    asking = Asking(doubling, twice, OnTwoDevices, offload=later(jobs), queue_seconds=100.0)
    for _ in range(50):  # long enough to leave the plane's thread
        asking.plane.routes[asking.model].champion.loaded.pace.learn(1, 1.0)
    for key in range(4):
        asking.ask(key, [[float(key)]])
        asking.plane.run()
    assert len(jobs) == 2
    for number in (1, 0):  # they come back in any order
        work, then = jobs[number]
        then(work())
    asking.plane.run()
    while len(jobs) > 2:
        work, then = jobs.pop()
        then(work())
        asking.plane.run()
    assert {key: answer.outputs["y"].tolist() for key, answer in asking.told.items()} == {
        key: [[2.0 * key]] for key in range(4)
    }
