import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core.errors import ModelwrightError
from modelwright.core.prediction_id import new_prediction_id
from modelwright.core.signature import Feature, Signature, TensorSpec
from modelwright.core.version import Arm, Route, RoutingTable
from modelwright.serve import Plane, PredictCall
from modelwright.serve.route import hash_point
from modelwright.serve.validate import InputCheck
from modelwright.testing.errors import error_code
from modelwright.testing.record import InMemorySink
from modelwright.testing.runner import FunctionRunners


class World:
    """A plane over functions."""

    def __init__(self, *made):
        self.packages = {package.digest: package for package, _ in made}
        self.digests = [package.digest for package, _ in made]
        self.loader = FunctionRunners({package.digest: function for package, function in made})
        self.sink = InMemorySink()
        self.plane = Plane(self.sink, self.loader)
        self._epoch = 0

    def deploy(self, arms, shadows=()):
        """Arms and shadows as (version, index of the package, weight, role)."""
        self._epoch += 1
        rows = [tuple(Arm(v, self.digests[i], w, r) for v, i, w, r in side) for side in (arms, shadows)]
        self.plane.apply(RoutingTable(self._epoch, {"times": Route("times", *rows)}), self.packages.__getitem__)

    def predict(self, value=2.0, **more):
        call = PredictCall("times", {"x": np.array([[value]])}, "tester", 1000.0, **more)
        return self.plane.predict(call)

    def records(self):
        self.sink.flush()
        return [(r.version, r.role, r.status) for r in self.sink.records]


def test_the_answer_names_who_gave_it_and_is_recorded(function_package):
    world = World(function_package(factor=3.0))
    world.deploy([("7", 0, 1.0, "champion")])
    answer = world.predict(prediction_id="p", event_time=5.0)
    assert (answer.version, answer.role, answer.outputs["y"].tolist()) == ("7", "champion", [[6.0]])
    world.sink.flush()
    record = world.sink.records[0]
    assert (record.prediction_id, record.event_time, record.received_at, record.actor) == ("p", 5.0, 1000.0, "tester")
    assert record.outputs["y"].tolist() == [[6.0]]


def test_a_prediction_id_always_meets_the_same_arm(function_package):
    world = World(function_package(factor=1.0), function_package(factor=2.0))
    world.deploy([("1", 0, 0.7, "champion"), ("2", 1, 0.3, "canary")])
    first = {str(key): world.predict(prediction_id=str(key)).version for key in range(2000)}
    assert first == {key: world.predict(prediction_id=key).version for key in first}
    share = sum(version == "2" for version in first.values()) / len(first)
    assert 0.25 < share < 0.35


def test_a_growing_canary_keeps_the_ids_it_had(function_package):
    world = World(function_package(factor=1.0), function_package(factor=2.0))
    met = []
    for weight in (0.1, 0.5):
        world.deploy([("1", 0, 1 - weight, "champion"), ("2", 1, weight, "canary")])
        met.append({str(key) for key in range(500) if world.predict(prediction_id=str(key)).version == "2"})
    assert met[0] < met[1]


def test_a_failing_canary_costs_its_caller_nothing_and_is_on_record(function_package):
    world = World(function_package(factor=1.0), function_package(fails="broken"))
    world.deploy([("1", 0, 0.0, "champion"), ("2", 1, 1.0, "canary")])
    answer = world.predict()
    assert (answer.version, answer.role) == ("1", "champion")
    assert world.records() == [("2", "canary", "serve.model-rejected-input"), ("1", "champion", "ok")]


def test_a_caller_s_mistake_is_not_the_canarys(function_package):
    world = World(function_package(factor=1.0), function_package(factor=2.0))
    world.deploy([("1", 0, 0.0, "champion"), ("2", 1, 1.0, "canary")])
    call = PredictCall("times", {"x": np.array([["a"]], dtype=object)}, "tester", 0.0)
    assert error_code(world.plane.predict, call) == "serve.wrong-datatype"
    assert world.records() == []


def test_a_canary_that_takes_other_inputs_fails_on_record_while_the_champion_answers(function_package, sum_package):
    total, champion = sum_package("times"), function_package(factor=1.0)
    world = World(champion, (total, lambda inputs: {"total": inputs["X"]}))
    world.loader._functions[total.digest] = lambda inputs: {"total": inputs["X"].sum(axis=1, keepdims=True)}
    world.deploy([("1", 0, 0.0, "champion"), ("2", 1, 1.0, "canary")])
    assert world.predict().version == "1"
    assert world.records() == [("2", "canary", "serve.unknown-input"), ("1", "champion", "ok")]


def test_a_failing_champion_is_an_error_on_record(function_package):
    world = World(function_package(fails="broken"))
    world.deploy([("1", 0, 1.0, "champion")])
    assert error_code(world.predict) == "serve.model-rejected-input"
    assert world.records() == [("1", "champion", "serve.model-rejected-input")]


def test_shadows_run_after_the_answer_and_fail_nobody(function_package):
    world = World(function_package(factor=1.0), function_package(factor=9.0), function_package(fails="broken"))
    world.deploy([("1", 0, 1.0, "champion")], [("2", 1, 0.0, "shadow"), ("3", 2, 0.0, "shadow")])
    assert world.predict().version == "1"
    assert world.records() == [("1", "champion", "ok")]
    assert world.plane.run_shadows() == 2
    assert world.records()[1:] == [("2", "shadow", "ok"), ("3", "shadow", "serve.model-rejected-input")]
    assert world.plane.run_shadows() == 0


def test_a_named_version_is_pinned_and_meets_no_shadow(function_package):
    world = World(function_package(factor=1.0), function_package(factor=9.0))
    world.deploy([("1", 0, 1.0, "champion")], [("2", 1, 0.0, "shadow")])
    assert world.predict(version="2").outputs["y"].tolist() == [[18.0]]
    assert world.plane.run_shadows() == 0
    assert world.records() == [("2", "pinned", "ok")]
    assert error_code(world.predict, version="3") == "serve.unknown-version"


def test_a_package_that_does_not_reproduce_its_golden_answers_gets_no_traffic(function_package):
    good, (package, _) = function_package(factor=1.0), function_package(factor=2.0)
    world = World(good, (package, lambda inputs: {"y": inputs["x"] * 2.01}))
    world.deploy([("1", 0, 1.0, "champion")])
    assert error_code(world.deploy, [("2", 1, 1.0, "champion")]) == "serve.golden-mismatch"
    assert world.predict().version == "1"
    assert world.plane.table.epoch == 1
    assert world.loader.runners[package.digest].closed


def test_a_table_with_one_bad_package_changes_nothing_and_leaves_nothing_open(function_package):
    good, other, bad = function_package(factor=1.0), function_package(factor=2.0), function_package(factor=3.0)
    world = World(good, other, bad)
    del world.loader._functions[bad[0].digest]
    world.deploy([("1", 0, 1.0, "champion")])
    code = error_code(world.deploy, [("2", 1, 0.5, "champion"), ("3", 2, 0.5, "canary")])
    assert code == "serve.graph-unusable"
    assert world.loader.runners[other[0].digest].closed
    assert world.predict().version == "1"


def test_runners_nobody_needs_are_closed_and_shared_ones_are_kept(function_package):
    world = World(function_package(factor=1.0), function_package(factor=2.0))
    world.deploy([("1", 0, 1.0, "champion")], [("2", 1, 0.0, "shadow")])
    first, second = (world.loader.runners[digest] for digest in world.digests)
    world.predict()
    world.deploy([("1", 0, 1.0, "champion")])
    assert not first.closed
    assert not second.closed  # a shadow run still waits for it
    world.plane.run_shadows()
    assert second.closed
    assert world.loader.runners[world.digests[0]] is first
    assert world.records() == [("1", "champion", "ok"), ("2", "shadow", "ok")]


def test_a_closed_plane_serves_nothing(function_package):
    world = World(function_package())
    world.deploy([("1", 0, 1.0, "champion")])
    world.plane.close()
    assert error_code(world.predict) == "serve.unknown-model"
    assert all(runner.closed for runner in world.loader.runners.values())


def test_new_ids_are_unique_hex_and_sort_by_time():
    ids = [new_prediction_id() for _ in range(5000)]
    assert len(set(ids)) == 5000
    assert all(len(one) == 32 and one[12] == "7" and one[16] in "89ab" for one in ids)
    assert [one[:12] for one in ids] == sorted(one[:12] for one in ids)


@given(st.text(max_size=200))
def test_the_point_of_an_id_is_its_sha1_in_the_unit_interval(identity):
    point = hash_point(identity)
    assert 0.0 <= point < 1.0
    whole = hashlib.sha1(identity.encode(errors="surrogatepass")).hexdigest()[:16]
    assert point == (int(whole, 16) >> 11) / 2**53


NULLABLE = Signature(
    (TensorSpec("n", "FP32", (-1, 2), ("age", "fare")), TensorSpec("c", "BYTES", (-1, 1), ("deck",))),
    (),
    (
        Feature("age", "number", nullable=True),
        Feature("fare", "number"),
        Feature("deck", "category", nullable=True, null_as="missing"),
    ),
)


def check(numbers, decks):
    tensors = {"n": np.array(numbers, np.float32), "c": np.array(decks, object)}
    nulls = {
        name: np.array([[v is None for v in row] for row in values]) for name, values in (("n", numbers), ("c", decks))
    }
    return InputCheck("m", NULLABLE).check(tensors, nulls)


def test_a_null_is_taken_where_the_signature_says_so():
    feeds, rows = check([[None, 1.0], [2.0, 3.0]], [[None], ["B"]])
    assert rows == 2
    assert np.isnan(feeds["n"][0, 0])
    assert feeds["c"].tolist() == [["missing"], ["B"]]


def test_a_null_where_the_model_takes_none_is_refused():
    with pytest.raises(ModelwrightError) as refused:
        check([[1.0, None]], [["A"]])
    assert refused.value.code == "serve.missing-value"


DIMENSIONS = st.lists(st.integers(0, 4), max_size=3).map(tuple)


@given(DIMENSIONS.flatmap(lambda shape: st.tuples(st.just(shape), DIMENSIONS)), st.data())
def test_a_shape_fits_exactly_when_every_fixed_dimension_agrees(shapes, data):
    given_shape, expected = shapes
    expected = tuple(-1 if data.draw(st.booleans()) else size for size in expected)
    tensor = np.zeros(given_shape, np.float32)
    check_one = InputCheck("m", Signature((TensorSpec("x", "FP32", expected),), ()))
    fits = len(expected) == len(given_shape) and all(e in (-1, g) for e, g in zip(expected, given_shape, strict=True))
    column = expected == (-1, 1) and len(given_shape) == 1
    code = error_code(check_one.check, {"x": tensor}, {})
    assert code == ("" if fits or column else "serve.wrong-shape")
