"""A plane that keeps answers: who is answered from the cache, who waits for an equal request, who runs."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.core.errors import ModelwrightError
from modelwright.core.prediction import PredictionRecord
from modelwright.core.signature import Signature, TensorSpec
from modelwright.core.version import Arm, Route, RoutingTable
from modelwright.serve.cache import EVERY, ResponseCache
from modelwright.serve.call import PredictCall
from modelwright.serve.plane import Plane
from modelwright.testing.record import InMemorySink
from modelwright.testing.runner import FunctionRunners

TWICE = Signature((TensorSpec("x", "FP64", (-1, 1)),), (TensorSpec("y", "FP64", (-1, 1)),))
POISON = -999.0


def twice(inputs):
    if (inputs["x"] == POISON).any():
        raise ValueError("a poisoned row")
    return {"y": inputs["x"] * 2}


def thrice(inputs):
    return {"y": inputs["x"] * 3}


class Asking:
    """A plane with a cache; with ``slow`` its runs wait in ``jobs`` to be made."""

    def __init__(self, packages, *, slow=False, models=(EVERY,), most=10_000):
        self.jobs, self.told = [], {}
        self.loader = FunctionRunners({package.digest: function for package, function in packages})
        self.sink, self.cache = InMemorySink(), ResponseCache(most, models)
        offload = (lambda work, then: self.jobs.append((work, then))) if slow else None
        self.plane = Plane(self.sink, self.loader, cache=self.cache, offload=offload, queue_seconds=1e9)
        self.by_digest = {package.digest: package for package, _ in packages}
        self.serve(packages[0][0], 1)
        if slow:
            for loaded in self.plane._loaded.values():
                loaded.pace.fixed = 1.0

    def serve(self, package, epoch):
        route = Route("twice", (Arm(str(epoch), package.digest, 1.0, "champion"),))
        self.plane.apply(RoutingTable(epoch, {"twice": route}), self.by_digest.__getitem__)
        self.runner = self.loader.runners[package.digest]
        self.runner.calls = 0

    def ask(self, key, x, actor="ada", **more):
        call = PredictCall("twice", {"x": np.array([[x]], np.float64)}, actor, 0.0, **more)
        return self.plane.submit(call, lambda outcome: self.told.__setitem__(key, outcome))

    def work(self):
        jobs, self.jobs[:] = list(self.jobs), []
        for work, then in jobs:
            then(work())

    def all(self):
        while self.plane.run() or self.jobs:
            self.work()

    def answers(self):
        return {
            key: told.code if isinstance(told, ModelwrightError) else float(told.outputs["y"][0, 0])
            for key, told in self.told.items()
        }

    @property
    def in_flight(self):
        return self.plane.routes["twice"].champion.loaded.in_flight


@pytest.fixture(scope="module")
def doubling(packaged):
    return packaged("twice", TWICE, {"x": [[1.0], [3.0]]}, {"y": [[2.0], [6.0]]}), twice


@pytest.fixture(scope="module")
def tripling(packaged):
    return packaged("twice", TWICE, {"x": [[1.0], [3.0]]}, {"y": [[3.0], [9.0]]}), thrice


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.sampled_from([1.0, 2.0, 3.0, POISON]),
                st.sampled_from(["ada", "bob"]),
                st.sampled_from(["", "gone", "late"]),
            ),
            st.sampled_from(["run", "work", "sweep"]),
        ),
        max_size=40,
    )
)
def test_every_request_gets_its_own_answer_and_a_record(doubling, steps):
    asking, expected = Asking([doubling], slow=True), {}
    for key, step in enumerate(steps):
        if step == "run":
            asking.plane.run()
        elif step == "work":
            asking.work()
        elif step == "sweep":
            asking.plane.give_up_late(time.perf_counter())
        else:
            x, actor, fate = step
            ticket = asking.ask(key, x, actor)
            expected[key] = "serve.model-rejected-input" if x == POISON else 2 * x
            if fate == "gone":
                ticket.cancelled = True
            elif fate == "late":
                ticket.limit = time.perf_counter() - 1
    for _ in range(5):
        asking.all()
        asking.plane.give_up_late(time.perf_counter())
    asking.all()
    fates = {key: step[2] for key, step in enumerate(steps) if isinstance(step, tuple)}
    told = asking.answers()
    for key, fate in fates.items():
        if fate == "gone":
            assert told.get(key, expected[key]) == expected[key]
        elif fate == "late":
            assert told[key] in (expected[key], "serve.deadline")
        else:
            assert told[key] == expected[key]
    assert asking.in_flight == 0
    assert asking.cache._asked == {}
    asking.sink.flush()
    assert len([r for r in asking.sink.records if isinstance(r, PredictionRecord)]) == len(told)


def test_an_equal_request_is_answered_without_a_run_and_recorded_like_any(doubling):
    asking = Asking([doubling])
    for key in "abc":
        asking.ask(key, 5.0)
        asking.plane.run()
    assert (asking.answers(), asking.runner.calls) == ({"a": 10.0, "b": 10.0, "c": 10.0}, 1)
    asking.sink.flush()
    records = [record for record in asking.sink.records if isinstance(record, PredictionRecord)]
    assert [float(record.outputs["y"][0, 0]) for record in records] == [10.0] * 3
    assert len({record.prediction_id for record in records}) == 3
    served = asking.plane.tally.statistics.served["twice", "1"]
    assert (served.reused, served.missed, served.total().requests) == (2, 1, 1)


def test_equal_requests_that_come_during_a_run_wait_for_its_answer(doubling):
    asking = Asking([doubling], slow=True)
    asking.ask("a", 5.0)
    asking.plane.run()
    for key in "bcd":
        asking.ask(key, 5.0)
    assert (len(asking.jobs), asking.in_flight) == (1, 4)
    asking.all()
    assert (asking.answers(), asking.runner.calls) == (dict.fromkeys("abcd", 10.0), 1)


def test_another_caller_is_told_nothing_of_it(doubling):
    asking = Asking([doubling])
    for key, actor in enumerate(["ada", "bob", "ada"]):
        asking.ask(key, 5.0, actor)
        asking.plane.run()
    assert asking.runner.calls == 2


def test_a_new_version_answers_by_itself(doubling, tripling):
    asking = Asking([doubling, tripling])
    asking.ask("old", 5.0)
    asking.plane.run()
    asking.serve(tripling[0], 2)
    asking.ask("new", 5.0)
    asking.plane.run()
    assert asking.answers() == {"old": 10.0, "new": 15.0}


def test_an_error_is_not_kept(doubling):
    asking = Asking([doubling])
    for key in "ab":
        asking.ask(key, POISON)
        asking.plane.run()
    assert asking.answers() == dict.fromkeys("ab", "serve.model-rejected-input")
    assert asking.runner.calls == 2


def test_who_waited_for_a_caller_who_left_is_answered_all_the_same(doubling):
    asking = Asking([doubling], slow=True)
    first = asking.ask("a", 5.0)
    asking.plane.run()
    asking.ask("b", 5.0)
    first.cancelled = True
    asking.work()
    assert asking.told == {}
    asking.plane.give_up_late(time.perf_counter())
    asking.all()
    assert asking.answers() == {"b": 10.0}


def test_models_that_are_not_named_run_every_time(doubling):
    asking = Asking([doubling], models={"another"})
    for key in "ab":
        asking.ask(key, 5.0)
        asking.plane.run()
    assert asking.runner.calls == 2
