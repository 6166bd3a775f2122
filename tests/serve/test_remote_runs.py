"""Runs in other processes: which run together, what becomes of those that are lost, and who waits for whom."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.core.errors import ModelwrightError, UnavailableError
from modelwright.core.signature import Signature, TensorSpec
from modelwright.core.version import Arm, Route, RoutingTable
from modelwright.serve import Plane, PredictCall
from modelwright.testing.errors import error_code
from modelwright.testing.record import InMemorySink
from modelwright.testing.remote import RemoteRunner, SteppedRemote

TWICE = Signature((TensorSpec("x", "FP64", (-1, 1)),), (TensorSpec("y", "FP64", (-1, 1)),))


def twice(inputs):
    if (inputs["x"] == -7).any():
        raise ValueError("a bad row")
    return {"y": inputs["x"] * 2}


class Loader:
    def __init__(self, remote):
        self._remote = remote

    def load(self, package, *, threads=1, instead=""):
        return RemoteRunner(self._remote, twice)


class Asking:
    def __init__(self, package, **options):
        self.remote = SteppedRemote(twice, **options)
        self.sink, self.told = InMemorySink(), {}
        self.plane = Plane(self.sink, Loader(self.remote), watch=object())
        route = Route("twice", (Arm("1", package.digest, 1.0, "champion"),))
        self.plane.apply(RoutingTable(1, {"twice": route}), {package.digest: package}.__getitem__)

    def ask(self, key, *values, **more):
        call = PredictCall("twice", {"x": np.array(values, np.float64).reshape(-1, 1)}, "a", 0.0, **more)
        return self.plane.submit(call, lambda outcome: self.told.__setitem__(key, self.gist(outcome)))

    @staticmethod
    def gist(outcome):
        return outcome.code if isinstance(outcome, ModelwrightError) else outcome.outputs["y"].reshape(-1).tolist()

    def sizes(self):
        return [len(feeds["x"]) for feeds in self.remote.started.values()]


@pytest.fixture(scope="module")
def doubling(packaged):
    return packaged("twice", TWICE, {"x": [[1.0], [2.0]]}, {"y": [[2.0], [4.0]]})


@pytest.fixture
def asking(doubling):
    return Asking(doubling)


def test_what_comes_while_a_run_is_under_way_runs_together_after_it(asking):
    asking.ask("a", 1)
    asking.plane.run()
    asking.ask("b", 2)
    asking.ask("c", 3)
    asking.plane.run()
    assert asking.sizes() == [1]
    asking.remote.finish()
    asking.plane.run()
    assert asking.sizes() == [2]
    asking.remote.finish()
    assert asking.told == {"a": [2.0], "b": [4.0], "c": [6.0]}


def test_as_many_runs_are_made_at_once_as_there_are_processes(doubling):
    asking = Asking(doubling, places=2)
    for key in range(3):
        asking.ask(key, key)
        asking.plane.run()
    assert asking.sizes() == [1, 1]
    asking.remote.finish(2)
    asking.plane.run()
    assert list(asking.remote.started) == [1, 3]


def test_a_run_that_is_lost_runs_again_each_request_alone(asking):
    asking.ask("first", 0)
    asking.plane.run()
    for key in range(3):
        asking.ask(key, key)
    asking.remote.finish()
    asking.plane.run()
    assert asking.sizes() == [3]
    asking.remote.lose()
    for _ in range(3):
        asking.plane.run()
        assert asking.sizes() == [1]
        asking.remote.finish()
    assert asking.told == {"first": [0.0], 0: [0.0], 1: [2.0], 2: [4.0]}


def test_what_was_lost_goes_before_what_came_later(asking):
    asking.ask("lost", 1)
    asking.plane.run()
    asking.ask("later", 2)
    asking.remote.lose()
    asking.plane.run()
    asking.remote.finish()
    assert asking.told == {"lost": [2.0]}


def test_a_request_that_is_lost_alone_twice_fails_and_is_not_taken_again(asking):
    asking.ask("poison", 5)
    for _ in range(2):
        asking.plane.run()
        asking.remote.lose()
    asking.plane.run()
    assert asking.told == {"poison": "serve.poison-request"}
    assert error_code(asking.ask, "again", 5) == "serve.poison-request"
    asking.ask("other", 6)
    asking.plane.run()
    asking.remote.finish()
    assert asking.told["other"] == [12.0]


def test_where_a_run_may_not_be_repeated_every_request_of_it_hears_that_it_is_lost(doubling):
    asking = Asking(doubling, idempotent=False)
    asking.ask("a", 1)
    asking.plane.run()
    asking.ask("b", 2)
    asking.ask("c", 3)
    asking.remote.finish()
    asking.plane.run()
    asking.remote.lose()
    assert asking.told == {"a": [2.0], "b": "serve.runner-lost", "c": "serve.runner-lost"}


def test_a_bad_row_fails_its_own_request_alone(asking):
    asking.ask("first", 0)
    asking.plane.run()
    for key, value in enumerate((1, 2, -7, 4, 5)):
        asking.ask(key, value)
    for _ in range(20):
        if asking.remote.started:
            asking.remote.finish()
        asking.plane.run()
    assert asking.told == {"first": [0.0], 0: [2.0], 1: [4.0], 2: "test.model-failed", 3: [8.0], 4: [10.0]}


def test_while_no_process_can_start_what_waits_and_what_comes_hears_why(asking):
    asking.ask("a", 1)
    asking.plane.run()
    asking.ask("b", 2)
    asking.remote.started.clear()
    asking.remote.fail(UnavailableError("serve.version-failed", "It ends again and again."))
    asking.plane.run()
    assert asking.told == {"b": "serve.version-failed"}
    assert error_code(asking.ask, "c", 3) == "serve.version-failed"
    assert not asking.plane.able
    asking.remote.fail(None)
    assert asking.plane.able


def test_a_run_is_ended_once_all_who_wait_for_it_have_given_up(asking):
    began = time.perf_counter()
    asking.ask("a", 1, limit=began + 10)
    asking.plane.run()
    asking.plane.give_up_late(began + 9)
    assert asking.told == {}
    asking.plane.give_up_late(began + 11)
    assert asking.told == {"a": "serve.deadline"}
    assert asking.remote.abandoned == [1]


def test_who_comes_after_a_run_was_given_up_waits_for_its_process_to_be_replaced(asking):
    asking.ask("hung", 1)
    asking.plane.run()
    (lane,) = asking.plane._driver._remotes
    run = lane.runs[0]
    run.free_at -= 60
    assert error_code(asking.ask, "early", 2) == "serve.overloaded"
    run.ended_at = time.perf_counter()
    assert error_code(asking.ask, "still waited for", 2) == "serve.overloaded"
    run.tickets[0].cancelled = True
    asking.ask("next", 3)
    asking.plane.run()
    asking.remote.lose()
    asking.plane.run()
    asking.remote.finish()
    assert asking.told == {"next": [6.0]}


def test_a_caller_who_allows_hardly_any_time_ends_no_process(asking):
    began = time.perf_counter()
    asking.ask("hasty", 1, limit=began + 0.001)
    asking.plane.run()
    if asking.remote.started:
        asking.plane.give_up_late(began + 0.1)
        assert asking.remote.abandoned == []


def test_a_run_that_nobody_limits_is_ended_too(asking):
    asking.ask("a", 1)
    asking.plane.run()
    asking.plane.give_up_late(time.perf_counter() + 31)
    assert asking.remote.abandoned == [1]


steps = st.lists(
    st.tuples(st.sampled_from(["ask", "ask", "ask", "finish", "lose", "cancel", "run"]), st.integers(0, 3)), max_size=80
)


@settings(deadline=None, max_examples=200)
@given(steps, st.integers(1, 3))
def test_every_request_gets_its_own_answer_or_a_reason_whatever_is_lost(doubling, steps, places):
    asking, tickets = Asking(doubling, places=places), {}
    for number, (what, choice) in enumerate(steps):
        if what == "ask":
            tickets[number] = asking.ask(number, *(10.0 * number + part for part in range(choice + 1)))
        elif what == "cancel" and tickets:
            tickets[list(tickets)[choice % len(tickets)]].cancelled = True
        elif what in ("finish", "lose") and asking.remote.started:
            runs = list(asking.remote.started)
            getattr(asking.remote, what)(runs[choice % len(runs)])
        asking.plane.run()
    while asking.remote.started:
        asking.remote.finish()
        asking.plane.run()
    for number, ticket in tickets.items():
        if number not in asking.told:
            assert ticket.cancelled
            continue
        expected = [2 * (10.0 * number + part) for part in range(steps[number][1] + 1)]
        assert asking.told[number] in (expected, "serve.poison-request")
    (loaded,) = asking.plane._loaded.values()
    assert loaded.in_flight == 0
