import time
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.core.errors import UnavailableError
from modelwright.core.version import Arm, Route, RoutingTable
from modelwright.serve import Plane, PredictCall
from modelwright.serve.residence import Budget
from modelwright.testing.errors import error_code
from modelwright.testing.record import InMemorySink
from modelwright.testing.runner import FunctionRunners

SIZE = 1_000_000  # what each model says it holds


class Aside:
    """Loads happen when the test says so."""

    def __init__(self):
        self.work = deque()

    def __call__(self, work, then):
        self.work.append((work, then))

    def finish(self):
        done = 0
        while self.work:
            work, then = self.work.popleft()
            then(work())
            done += 1
        return done


class World:
    """A plane over models ``m0``, ``m1``, ... of one size each, with room for so many of them."""

    def __init__(self, make, models, fits, *, aside=None, pinned=(), **options):
        made = [make(name=f"m{i}", factor=float(i + 1)) for i in range(models)]
        self.make, self.packages = make, {package.digest: package for package, _ in made}
        self.digests = [package.digest for package, _ in made]
        self.loader = FunctionRunners({package.digest: function for package, function in made}, SIZE)
        self.functions = self.loader._functions
        budget = Budget(int(SIZE * fits), frozenset(pinned))
        self.plane = Plane(InMemorySink(), self.loader, budget=budget, aside=aside, **options)
        self.epoch = 0

    def deploy(self, **more):
        """Every model as its only version, but as ``more`` says: (version, index of the package, weight, role)."""
        routes = {f"m{i}": [("1", i, 1.0, "champion")] for i in range(len(self.digests))} | more
        self.epoch += 1
        table = {
            model: Route(model, tuple(Arm(v, self.digests[i], w, r) for v, i, w, r in arms))
            for model, arms in routes.items()
        }
        self.plane.apply(RoutingTable(self.epoch, table), self.packages.__getitem__)

    def call(self, model, value=1.0, **more):
        return PredictCall(f"m{model}", {"x": np.array([[value]])}, "tester", 0.0, **more)

    def predict(self, model, value=1.0, **more):
        return self.plane.predict(self.call(model, value, **more)).outputs["y"].tolist()

    def submit(self, model, count=1, **more):
        outcomes = []
        for _ in range(count):
            self.plane.submit(self.call(model, **more), outcomes.append)
        self.plane.run()
        return outcomes

    def inside(self):
        return {i for i, digest in enumerate(self.digests) if self.is_inside(digest)}

    def is_inside(self, digest):
        return any(arm.loaded.runner for arm in self.arms() if arm.loaded.digest == digest)

    def arms(self):
        return [arm for route in self.plane.routes.values() for arm in route.by_version.values()]


@pytest.fixture
def world(function_package):
    return lambda models, fits, **options: World(function_package, models, fits, **options)


def test_models_beyond_the_budget_stay_out_of_memory_and_answer_all_the_same(world):
    many = world(10, 3)
    many.deploy()
    assert len(many.inside()) == 3
    for model in (*range(10), *range(10)):
        assert many.predict(model, 2.0) == [[2.0 * (model + 1)]]
        assert len(many.inside()) <= 3


def test_without_a_budget_every_model_is_loaded_with_the_table(world):
    many = world(10, 0)
    many.deploy()
    assert len(many.inside()) == 10


def test_the_least_recently_used_model_makes_room(world):
    many = world(4, 3)
    many.deploy()
    (out,) = {0, 1, 2, 3} - many.inside()
    first, second, third = sorted(many.inside())
    for model in (second, first, third):
        many.predict(model)
    many.predict(out)
    assert many.inside() == {first, third, out}
    assert many.loader.runners[many.digests[second]].closed


def test_a_thundering_herd_causes_one_load_and_everybody_is_answered(world):
    aside = Aside()
    many = world(2, 1, aside=aside)
    many.deploy()
    (cold,) = {0, 1} - many.inside()
    loads = many.loader.loads.count(many.digests[cold])
    outcomes = many.submit(cold, 1000)
    assert outcomes == []
    assert aside.finish() == 1
    while many.plane.run():
        pass
    assert len(outcomes) == 1000
    assert all(outcome.outputs["y"].tolist() == [[cold + 1.0]] for outcome in outcomes)
    assert many.loader.loads.count(many.digests[cold]) == loads + 1


def test_others_are_answered_while_a_model_is_loaded(world):
    aside = Aside()
    many = world(3, 2, aside=aside)
    many.deploy()
    (cold,) = {0, 1, 2} - many.inside()
    waiting = many.submit(cold)
    warm = min(many.inside())
    assert many.submit(warm)[0].outputs["y"].tolist() == [[warm + 1.0]]
    assert waiting == []


def test_a_failed_load_tells_every_waiter_why_is_backed_off_and_fails_nobody_else(world):
    aside = Aside()
    many = world(3, 2, aside=aside)
    many.deploy()
    (cold,) = {0, 1, 2} - many.inside()
    function = many.functions.pop(many.digests[cold])
    outcomes = many.submit(cold, 5)
    aside.finish()
    assert {(error.code, error.details["cause"]) for error in outcomes} == {
        ("serve.load-failed", "serve.graph-unusable")
    }
    assert "There is no function" in str(outcomes[0])
    tried = len(many.loader.loads)
    assert many.submit(cold)[0].code == "serve.load-failed"
    assert len(many.loader.loads) == tried
    assert all(not isinstance(many.submit(model)[0], Exception) for model in many.inside())
    many.functions[many.digests[cold]] = function
    many.plane.residence.warm(many.plane.routes[f"m{cold}"].champion, lambda _: None)  # tried again at once
    later = many.submit(cold)
    aside.finish()
    many.plane.run()
    assert later[0].outputs["y"].tolist() == [[cold + 1.0]]


def test_a_request_gives_up_when_its_time_runs_out_during_the_load(world):
    aside = Aside()
    many = world(2, 1, aside=aside)
    many.deploy()
    (cold,) = {0, 1} - many.inside()
    now = time.perf_counter()
    outcomes = many.submit(cold, limit=now + 5)
    many.plane.give_up_late(now + 6)
    assert outcomes[0].code == "serve.deadline"
    patient = many.submit(cold)
    aside.finish()
    many.plane.run()
    assert (len(outcomes), len(patient)) == (1, 1)


def test_what_is_in_use_is_not_unloaded_and_the_load_waits_for_it(world):
    aside, runs = Aside(), Aside()
    many = world(2, 1, aside=aside, offload=runs)
    many.deploy()
    (warm,) = many.inside()
    arm = many.plane.route(f"m{warm}").champion
    arm.loaded.pace.fixed = 1.0  # so slow that it runs in another thread
    slow = many.submit(warm)
    cold = many.submit(1 - warm)
    assert (many.inside(), slow, cold, len(aside.work)) == ({warm}, [], [], 0)
    runs.finish()
    assert len(slow) == 1
    many.plane.run()
    aside.finish()
    many.plane.run()
    assert len(cold) == 1
    assert many.inside() == {1 - warm}


def test_pinned_models_are_never_unloaded(world):
    many = world(5, 2, pinned=["m3"])
    many.deploy()
    for model in (0, 1, 2, 4, 0, 1):
        many.predict(model)
        assert 3 in many.inside()
    assert many.loader.loads.count(many.digests[3]) == 1


def test_pinned_models_that_do_not_fit_alone_are_refused_clearly(world):
    many = world(4, 2, pinned=["m0", "m1", "m2"])
    assert error_code(many.deploy) == "serve.over-budget"
    assert all(runner.closed for runner in many.loader.runners.values())


def test_a_model_larger_than_the_budget_is_refused_and_the_others_stay(world):
    many = world(3, 0.5)
    many.deploy()
    assert error_code(many.predict, 0) == "serve.over-budget"
    assert many.inside() == set()


def test_a_canary_never_drives_its_own_champion_out(world):
    many = world(2, 1)
    arms = [("1", 0, 0.5, "champion"), ("2", 1, 0.5, "canary")]
    many.deploy(m0=arms)
    many.plane.predict(many.call(0, version="1"))
    assert error_code(many.plane.predict, many.call(0, version="2")) == "serve.over-budget"
    assert many.inside() == {0}


def test_a_canary_that_cannot_be_loaded_costs_its_caller_nothing(world):
    many = world(2, 1)
    many.deploy(m0=[("1", 0, 0.0, "champion"), ("2", 1, 1.0, "canary")])
    answer = many.plane.predict(many.call(0))
    assert (answer.version, answer.role) == ("1", "champion")


def test_the_successor_of_a_model_in_memory_is_loaded_before_it_gets_traffic(world, function_package):
    many = world(6, 2)
    many.deploy()
    warm = min(many.inside())
    package, function = function_package(name=f"m{warm}", factor=50.0)
    many.packages[package.digest], many.functions[package.digest] = package, function
    many.digests.append(package.digest)
    many.deploy(**{f"m{warm}": [("2", 6, 1.0, "champion")]}, m6=[("1", 5, 1.0, "champion")])
    assert many.is_inside(package.digest)
    assert many.predict(warm) == [[50.0]]
    assert len(many.inside()) <= 2


def test_a_new_version_that_fails_its_proof_is_refused_though_there_is_no_room_to_keep_it(world, function_package):
    many = world(3, 1)
    many.deploy()
    package, _ = function_package(name="m2", factor=50.0)
    many.packages[package.digest], many.functions[package.digest] = package, lambda inputs: {"y": inputs["x"]}
    many.digests.append(package.digest)
    assert error_code(many.deploy, m2=[("2", 3, 1.0, "champion")]) == "serve.golden-mismatch"
    assert many.predict(2) == [[3.0]]


def test_a_version_that_leaves_the_table_while_it_is_loaded_answers_who_asked_and_goes(world):
    aside = Aside()
    many = world(2, 1, aside=aside)
    many.deploy()
    (cold,) = {0, 1} - many.inside()
    outcomes = many.submit(cold)
    version = many.plane.route(f"m{cold}").champion.loaded
    other = 1 - cold
    many.deploy(**{f"m{cold}": [("1", other, 1.0, "champion")]})
    aside.finish()
    many.plane.run()
    many.plane.run_shadows()
    aside.finish()
    assert outcomes[0].outputs["y"].tolist() == [[cold + 1.0]]
    assert version.runner is None
    assert many.loader.runners[many.digests[cold]].closed


def test_a_version_that_leaves_the_table_while_nobody_waits_for_its_load_is_closed_when_it_comes(world):
    aside = Aside()
    many = world(2, 1, aside=aside)
    many.deploy()
    (cold,) = {0, 1} - many.inside()
    told = []
    many.plane.residence.warm(many.plane.route(f"m{cold}").champion, told.append)
    many.plane.run()
    assert many.plane.residence.state(many.plane.route(f"m{cold}").champion.loaded) == ("LOADING", "")
    many.deploy(**{f"m{cold}": [("1", 1 - cold, 1.0, "champion")]})
    aside.finish()
    many.plane.run_shadows()
    aside.finish()
    assert told == [None]
    assert many.loader.runners[many.digests[cold]].closed


def test_the_index_says_what_a_version_held_and_what_came_back(world):
    many = world(2, 1)
    many.deploy()
    (cold,) = {0, 1} - many.inside()
    loaded = many.plane.route(f"m{cold}").champion.loaded
    assert many.plane.residence.state(loaded) == ("READY", "not in memory; its next request loads it")
    many.predict(cold)
    assert many.plane.residence.state(loaded) == ("READY", "")
    many.predict(1 - cold)
    loaded.returned_bytes = 900_000  # no more than the test's own process grew and shrank by would be measured
    assert many.plane.residence.state(loaded)[1].startswith("not in memory: it held 1,000,000 bytes")


def test_what_nobody_foresaw_while_loading_is_told_without_its_traceback(world):
    many = world(2, 1)
    many.deploy()
    (cold,) = {0, 1} - many.inside()
    del many.loader._functions  # the loader itself breaks
    with pytest.raises(UnavailableError) as caught:
        many.predict(cold)
    assert (caught.value.code, caught.value.details["cause"]) == ("serve.load-failed", "serve.internal")


def test_threads_are_spread_over_the_models(world, function_package):
    asked = []

    class Loader(FunctionRunners):
        def load(self, package, *, threads=1, instead=""):
            asked.append(threads)
            return super().load(package, threads=threads)

    for models, expected in ((1, 4), (2, 4), (4, 2), (20, 1)):
        many = world(models, 0)
        loader = Loader(many.functions, SIZE)
        plane = Plane(InMemorySink(), loader, budget=Budget(threads=4, cores=8))
        routes = {f"m{i}": Route(f"m{i}", (Arm("1", many.digests[i], 1.0, "champion"),)) for i in range(models)}
        plane.apply(RoutingTable(1, routes), many.packages.__getitem__)
        assert set(asked) == {expected}
        asked.clear()


def test_a_runner_that_cannot_be_closed_stops_no_load(world):
    many = world(3, 1)
    many.deploy()
    (warm,) = many.inside()
    many.loader.runners[many.digests[warm]].close = None  # not callable
    others = {0, 1, 2} - {warm}
    assert [many.predict(model) for model in others] == [[[model + 1.0]] for model in others]


def test_a_larger_successor_stays_in_memory_and_another_model_makes_room_for_it(world, function_package):
    many = world(3, 2)
    many.deploy()
    first, second = sorted(many.inside())
    many.predict(first)
    many.predict(second)
    package, function = function_package(name=f"m{first}", factor=50.0)
    many.packages[package.digest], many.functions[package.digest] = package, function
    many.digests.append(package.digest)
    many.loader._memory_bytes = int(1.5 * SIZE)
    many.deploy(**{f"m{first}": [("2", 3, 1.0, "champion")]}, m3=[("1", first, 1.0, "champion")])
    assert many.is_inside(package.digest)
    assert not many.is_inside(many.digests[second])


@settings(max_examples=60, deadline=None)
@given(
    asked=st.lists(st.tuples(st.integers(0, 7), st.integers(1, 4), st.booleans()), max_size=40),
    fits=st.integers(1, 8),
    pinned=st.sets(st.integers(0, 7), max_size=1),
)
def test_whatever_is_asked_for_the_budget_holds_and_every_answer_is_right(function_package, asked, fits, pinned):
    aside = Aside()
    many = World(function_package, 8, fits, aside=aside, pinned=[f"m{i}" for i in pinned])
    many.deploy()
    waiting = []
    for model, count, finish in asked:
        if pinned and fits == 1 and model not in pinned:
            continue
        waiting.append((model, count, many.submit(model, count)))
        if finish:
            aside.finish()
        many.plane.run()
        assert many.plane.residence.figures()[1] <= fits * SIZE
        assert pinned <= many.inside()
    for _ in range(len(asked) + 1):
        aside.finish()
        many.plane.run()
    for model, count, outcomes in waiting:
        assert [outcome.outputs["y"].tolist() for outcome in outcomes] == [[[model + 1.0]]] * count
