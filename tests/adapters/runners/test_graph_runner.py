import json
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelwright.adapters.runners.graph import MOST_LATE, GraphRunners
from modelwright.adapters.runners.onnx import OnnxRunners
from modelwright.core import package_codec
from modelwright.core.errors import CorruptError, ModelwrightError
from modelwright.core.graph import Case, Ensemble, Fallback, Node, Sequence, Stack, Switch, Wire
from modelwright.core.package import Golden, Package
from modelwright.core.package_codec import graph_json
from modelwright.core.signature import Signature, TensorSpec
from modelwright.serve.load import prove
from modelwright.testing.errors import error_code
from modelwright.testing.runner import FunctionRunners, RunnerConformance

fast = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _columns(rows, names="ab", seed=0):
    random = np.random.default_rng(seed)
    return {name: random.normal(size=(rows, 1)).astype(np.float32) for name in names}


def _ensemble(*members, method="mean", weights=None):
    return Node(ensemble=Ensemble(members, method, tuple(weights or (1.0,) * len(members))))


def _switch(by, cases, default):
    return Node(switch=Switch(by, tuple(cases), default))


@pytest.fixture(scope="session")
def trio(linear_package):
    return {
        "one": linear_package("one", ("a",), (1.5,)),
        "two": linear_package("two", ("a", "b"), (1.0, -2.0)),
        "three": linear_package("three", ("b",), (0.5,), 0.3),
    }


def _alone(package, tensors):
    wanted = {spec.name for spec in package.signature.inputs}
    return OnnxRunners().load(package).run({name: value for name, value in tensors.items() if name in wanted})


class TestGraphRunner(RunnerConformance):
    @pytest.fixture
    def runners(self):
        return GraphRunners(OnnxRunners())

    @pytest.fixture
    def package(self, graph_package, trio):
        inputs = {"a": [[0.5], [-1.0]], "b": [[0.0], [2.0]]}
        tensors = {name: np.array(value, np.float32) for name, value in inputs.items()}
        nodes = {**trio, "mean": _ensemble("one", "two", "three")}
        plain = GraphRunners(OnnxRunners()).load(graph_package("mix", nodes, "mean")).run(tensors)
        golden = Golden(inputs, {name: value.tolist() for name, value in plain.items()}, 2)
        return graph_package("mix", nodes, "mean", golden=golden)


def test_a_graph_that_answers_otherwise_than_its_golden_rows_is_not_served(graph_package, trio):
    inputs = {"a": [[0.5], [-1.0]], "b": [[0.0], [2.0]]}
    nodes = {**trio, "mean": _ensemble("one", "two", "three")}
    runners = GraphRunners(OnnxRunners())
    tensors = {name: np.array(value, np.float32) for name, value in inputs.items()}
    plain = runners.load(graph_package("mix", nodes, "mean")).run(tensors)
    right = {name: value.tolist() for name, value in plain.items()}
    prove(graph_package("mix", nodes, "mean", golden=Golden(inputs, right, 2)), runners, threads=1).runner.close()
    wrong = {name: (value + 1).tolist() for name, value in plain.items() if value.dtype.kind == "f"}
    package = graph_package("mix", nodes, "mean", golden=Golden(inputs, {**right, **wrong}, 2))
    assert error_code(prove, package, runners, threads=1) == "serve.golden-mismatch"


def test_a_package_of_one_model_goes_to_the_loader_of_models(sum_package):
    runner = GraphRunners(OnnxRunners()).load(sum_package())
    assert runner.run({"X": np.ones((1, 3), np.float32)})["total"].tolist() == [[3.0]]


@fast
@given(
    rows=st.integers(0, 30),
    cut=st.integers(0, 30),
    weights=st.lists(st.floats(0, 5), min_size=3, max_size=3).filter(sum),
    seed=st.integers(0, 2**16),
)
def test_a_weighted_mean_is_the_one_of_numpy_for_every_row_however_a_batch_is_split(
    graph_package, trio, rows, cut, weights, seed
):
    package = graph_package("mix", {**trio, "mean": _ensemble(*trio, weights=weights)}, "mean")
    runner, tensors = GraphRunners(OnnxRunners()).load(package), _columns(rows, seed=seed)
    whole = runner.run(tensors)
    parts = [runner.run({k: v[part] for k, v in tensors.items()}) for part in (slice(cut), slice(cut, None))]
    each = np.stack([_alone(member, tensors)["probabilities"].astype(np.float64) for member in trio.values()])
    expected = np.tensordot(np.array(weights) / sum(weights), each, axes=1)
    np.testing.assert_allclose(whole["probabilities"], expected, rtol=1e-6, atol=1e-7)
    assert (whole["label"] == whole["probabilities"].argmax(axis=1)).all()
    for name, tensor in whole.items():
        np.testing.assert_allclose(np.concatenate([part[name] for part in parts]), tensor, rtol=1e-6)


@fast
@given(
    rows=st.integers(1, 20),
    weights=st.lists(st.integers(0, 3), min_size=3, max_size=3).filter(sum),
    seed=st.integers(0, 999),
)
def test_a_vote_takes_the_label_of_most_weight_then_of_the_higher_score(graph_package, trio, rows, weights, seed):
    vote = _ensemble(*trio, method="vote", weights=[float(weight) for weight in weights])
    answer = (
        GraphRunners(OnnxRunners()).load(graph_package("v", {**trio, "v": vote}, "v")).run(_columns(rows, seed=seed))
    )
    alone = [_alone(member, _columns(rows, seed=seed)) for member in trio.values()]
    for row in range(rows):
        share = [sum(w for w, one in zip(weights, alone, strict=True) if one["label"][row] == k) for k in (0, 1)]
        score = [sum(w * one["probabilities"][row, k] for w, one in zip(weights, alone, strict=True)) for k in (0, 1)]
        best = max((0, 1), key=lambda k: (share[k], score[k], -k))
        if share[0] != share[1] or abs(score[0] - score[1]) > 1e-5:
            assert answer["label"][row] == best
        np.testing.assert_allclose(answer["votes"][row], np.array(share) / sum(weights))


@fast
@given(rows=st.integers(0, 40), seed=st.integers(0, 999), low=st.floats(-2, 0), high=st.floats(0, 2))
def test_a_switch_sends_each_row_its_way_and_puts_the_answers_back_in_order(graph_package, trio, rows, seed, low, high):
    cases = [Case("one", high=low), Case("three", low=high)]
    package = graph_package("s", {**trio, "s": _switch("a", cases, "two")}, "s")
    tensors = _columns(rows, seed=seed)
    answer = GraphRunners(OnnxRunners()).load(package).run(tensors)
    alone = {name: _alone(member, tensors)["probabilities"] for name, member in trio.items()}
    a = tensors["a"][:, 0]
    expected = np.where((a < low)[:, None], alone["one"], np.where((a >= high)[:, None], alone["three"], alone["two"]))
    np.testing.assert_allclose(answer["probabilities"], expected, rtol=1e-5, atol=1e-7)
    assert len(answer["label"]) == rows


def test_a_switch_may_look_at_text_that_no_model_takes_and_at_what_is_missing(graph_package, trio):
    cases = [Case("one", categories=("AA", "B6")), Case("three", missing=True)]
    package = graph_package("s", {**trio, "s": _switch("carrier", cases, "two")}, "s")
    assert package.signature.input("carrier").datatype == "BYTES"
    tensors = _columns(4)
    carrier = np.array([["AA"], [""], ["UA"], ["B6"]], dtype=object)
    answer = GraphRunners(OnnxRunners()).load(package).run(tensors | {"carrier": carrier})["probabilities"]
    alone = {name: _alone(member, tensors)["probabilities"] for name, member in trio.items()}
    expected = [alone[name][row] for row, name in enumerate(("one", "three", "two", "one"))]
    np.testing.assert_allclose(answer, expected, rtol=1e-6)


def test_a_sequence_hands_on_by_name_or_as_it_is_told(graph_package, sum_package, echo_package):
    scale = sum_package("scale", 1.0)
    head = sum_package("head", 0.5, width=1)
    package = graph_package(
        "chain",
        {
            "scale": scale,
            "head": (head, {"X": (Wire("total", "scale"),)}),
            "echo": echo_package("echo", {"total": ("FP32", (-1, 1))}),
            "all": Node(sequence=Sequence(("scale", "head", "echo"))),
        },
        "all",
    )
    assert [spec.name for spec in package.signature.inputs] == ["X"]
    answer = GraphRunners(OnnxRunners()).load(package).run({"X": np.ones((2, 3), np.float32)})
    assert answer["total_out"].tolist() == [[4.5], [4.5]]


def test_a_stack_gives_the_final_model_the_members_scores_side_by_side(graph_package, trio, sum_package):
    final = sum_package("final", 10.0, width=2)
    members = {name: trio[name] for name in ("one", "two")}
    package = graph_package(
        "top", {**members, "final": final, "top": Node(stack=Stack(("one", "two"), "final"))}, "top"
    )
    tensors = _columns(5)
    answer = GraphRunners(OnnxRunners()).load(package).run(tensors)["total"]
    expected = 10 + sum(_alone(trio[name], tensors)["probabilities"][:, 1:] for name in ("one", "two"))
    np.testing.assert_allclose(answer, expected, rtol=1e-6)


def test_a_graph_may_be_a_node_of_a_graph(graph_package, trio):
    inner = graph_package("inner", {**trio, "m": _ensemble("one", "two", "three")}, "m")
    outer = graph_package("outer", {"inner": inner, "one": trio["one"], "m": _ensemble("inner", "one")}, "m")
    tensors = _columns(3)
    answer = GraphRunners(OnnxRunners()).load(outer).run_traced(tensors)
    assert {trace.node for trace in answer.traces} == {"one", "m", "inner", *(f"inner/{name}" for name in (*trio, "m"))}
    alone = {name: _alone(member, tensors)["probabilities"] for name, member in trio.items()}
    np.testing.assert_allclose(answer["probabilities"], (sum(alone.values()) / 3 + alone["one"]) / 2, rtol=1e-5)


def test_a_node_that_two_others_use_runs_once(graph_package, trio):
    nodes = {**trio, "x": _ensemble("one", "two"), "y": _ensemble("one", "three"), "m": _ensemble("x", "y")}
    traced = GraphRunners(OnnxRunners()).load(graph_package("g", nodes, "m")).run_traced(_columns(2))
    assert sorted(trace.node for trace in traced.traces) == ["m", "one", "three", "two", "x", "y"]


def test_traces_say_which_rows_a_node_answered_and_can_be_parted(graph_package, trio):
    package = graph_package(
        "s", {**trio, "s": _switch("a", [Case("one", high=0.0)], "two"), "m": _ensemble("s", "three")}, "m"
    )
    tensors = {"a": np.array([[-1], [1], [-1], [1]], np.float32), "b": np.zeros((4, 1), np.float32)}
    traced = GraphRunners(OnnxRunners()).load(package).run_traced(tensors)
    by_node = {trace.node: trace for trace in traced.traces}
    assert by_node["one"].rows.tolist() == [0, 2]
    assert by_node["two"].rows.tolist() == [1, 3]
    assert by_node["m"].rows is None
    part = {trace.node: trace for trace in traced.part(1, 3).traces}
    assert (part["one"].rows.tolist(), part["two"].rows.tolist(), part["m"].count) == ([1], [0], 2)
    np.testing.assert_array_equal(part["one"].outputs["label"], by_node["one"].outputs["label"][1:])
    assert "one" not in {trace.node for trace in traced.part(1, 2).traces}


# Fallbacks: models made of functions, so that they can fail and wait.


@pytest.fixture
def functions(packaged, graph_package):
    """``functions(first, then, deadline_ms)``: a loaded graph of a fallback between two functions of x [n, 1]."""

    def make(first, then, deadline_ms=0.0):
        signature = Signature((TensorSpec("x", "FP64", (-1, 1)),), (TensorSpec("y", "FP64", (-1, 1)),))
        packages = [packaged(name, signature) for name in ("first", "then")]
        nodes = {
            "first": packages[0],
            "then": packages[1],
            "safe": Node(fallback=Fallback("first", "then", deadline_ms)),
        }
        package = graph_package("g", nodes, "safe", row_independent=False)
        held = {packages[0].digest: first, packages[1].digest: then}
        return GraphRunners(FunctionRunners(held)).load(package)

    return make


ONE = {"x": np.ones((1, 1))}


def _times(factor):
    return lambda inputs: {"y": inputs["x"] * factor}


def test_a_fallback_answers_when_the_first_fails_and_says_so(functions):
    def broken(inputs):
        raise ValueError("no")

    traced = functions(broken, _times(2.0)).run_traced(ONE)
    assert traced["y"].tolist() == [[2.0]]
    assert traced.notes == ("fallback safe error",)
    assert {t.node: t.status for t in traced.traces} == {
        "first": "serve.model-rejected-input",
        "then": "ok",
        "safe": "ok",
    }


def test_a_fallback_is_not_asked_when_the_first_answers_in_time(functions):
    traced = functions(_times(3.0), _times(2.0), 60_000.0).run_traced(ONE)
    assert traced["y"].tolist() == [[3.0]]
    assert traced.notes == ()
    assert [trace.node for trace in traced.traces] == ["first", "safe"]


def test_a_fallback_answers_when_the_first_is_late_and_while_it_hangs_nobody_waits_for_it_again(functions):
    go = threading.Event()

    def slow(inputs):
        go.wait(60)
        return {"y": inputs["x"] * 3}

    runner = functions(slow, _times(2.0), 1.0)
    try:
        for _ in range(MOST_LATE):
            traced = runner.run_traced(ONE)
            assert (traced["y"].tolist(), traced.notes) == ([[2.0]], ("fallback safe deadline",))
            assert [t.status for t in traced.traces if t.node == "first"] == ["graph.deadline"]
        busy = runner.run_traced(ONE)
        assert busy.notes == ("fallback safe busy",)
        assert [t.status for t in busy.traces if t.node == "first"] == ["graph.busy"]
    finally:
        go.set()


def test_deadlines_hold_for_requests_only_so_that_a_slow_start_proves_the_same_answers(functions):
    released = threading.Event()

    def slow(inputs):
        released.wait(0.2)
        return {"y": inputs["x"] * 3}

    assert functions(slow, _times(2.0), 1.0).run(ONE)["y"].tolist() == [[3.0]]


def test_where_both_fail_the_error_names_the_node(functions):
    def broken(inputs):
        raise ValueError("no")

    with pytest.raises(ModelwrightError) as failed:
        functions(broken, broken).run(ONE)
    assert failed.value.details["node"] == "then"
    assert "Node 'then' of 'g'" in failed.value.what


# Integrity: the graph's identity names its models' identities.


def _damaged(package: Package, name: str, content: bytes) -> Package:
    def read(path):
        return content if path == name else package.read(path)

    return Package(
        package.manifest, package.description, package.signature, package.golden, None, None, read, graph=package.graph
    )


def test_a_changed_byte_of_a_model_inside_is_found_when_the_graph_is_loaded(graph_package, trio):
    package = graph_package("mix", {**trio, "m": _ensemble(*trio)}, "m")
    code = error_code(GraphRunners(OnnxRunners()).load, _damaged(package, "nodes/two/model.onnx", b"other"))
    assert code == "package.corrupt"


@pytest.mark.parametrize("whole", [False, True], ids=["a file of it", "all of it"])
def test_another_model_under_a_node_is_not_the_graph_s_even_where_the_manifest_is_made_anew(
    graph_package, trio, linear_package, whole
):
    package = graph_package("mix", {**trio, "m": _ensemble(*trio)}, "m")
    other = linear_package("two", ("a", "b"), (9.0, 9.0))
    files = {name: package.read(name) for name in package.manifest.files}
    files["nodes/two/model.onnx"] = other.read("model.onnx")
    if whole:
        files |= {f"nodes/two/{name}": other.read(name) for name in other.manifest.files}
        files["nodes/two/manifest.json"] = package_codec.canonical_json(other.manifest.to_json())
        with pytest.raises(CorruptError):
            package_codec.assemble("mix", files)
        return
    changed = package_codec.assemble("mix", files)
    assert changed.digest != package.digest
    assert error_code(GraphRunners(OnnxRunners()).load, changed) == "package.corrupt"


def test_a_graph_that_does_not_fit_its_models_is_not_loaded(graph_package, trio):
    package = graph_package("mix", {**trio, "m": _ensemble(*trio)}, "m")
    files = {name: package.read(name) for name in package.manifest.files}
    files["graph.json"] = graph_json(package.graph).replace(b'"tensor":"b"', b'"tensor":"zz"')
    assert error_code(GraphRunners(OnnxRunners()).load, package_codec.assemble("mix", files)) == "package.malformed"


@pytest.fixture(scope="session")
def every_kind(graph_package, trio, sum_package):
    nodes = {
        **trio,
        "meta": sum_package("meta", width=2),
        "mean": _ensemble("one", "two"),
        "vote": _ensemble("one", "two", "three", method="vote"),
        "sides": _switch("a", [Case("one", high=0.0)], "two"),
        "safe": Node(fallback=Fallback("sides", "three")),
        "top": Node(stack=Stack(("mean", "safe"), "meta")),
        "each": Node(sequence=Sequence(("vote",))),
        "all": Node(sequence=Sequence(("top", "end"))),
        "end": (sum_package("end", width=3), {"X": (Wire("total", "top"), Wire("votes", "each", 1), Wire("a"))}),
    }
    return graph_package("every", nodes, "all")


def _places(value, way=()):
    """Every place in a JSON value."""
    yield way
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from _places(inner, (*way, key))


def _changed(value, way, new):
    if not way:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[way[0]] = _changed(value[way[0]], way[1:], new)
    return copied


NAMES = (
    "one",
    "two",
    "meta",
    "mean",
    "vote",
    "sides",
    "safe",
    "top",
    "all",
    "end",
    "a",
    "b",
    "X",
    "total",
    "votes",
    "",
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 9),
    st.floats(allow_nan=False),
    st.sampled_from(NAMES),
    st.just([]),
    st.just({}),
)


def test_a_graph_of_every_kind_answers(every_kind):
    answer = GraphRunners(OnnxRunners()).load(every_kind).run_traced(_columns(5))
    assert answer["total"].shape == (5, 1)
    assert {trace.status for trace in answer.traces} == {"ok"}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_a_graph_file_says_it_is_refused_or_answers_and_never_breaks(every_kind, data):
    body = json.loads(every_kind.read("graph.json"))
    places = sorted(_places(body), key=str)
    for _ in range(data.draw(st.integers(1, 2))):
        way = data.draw(st.sampled_from(places))
        body = _changed(body, way, data.draw(VALUES))
        places = sorted(_places(body), key=str)
    files = {name: every_kind.read(name) for name in every_kind.manifest.files}
    files["graph.json"] = json.dumps(body).encode()
    try:
        runner = GraphRunners(OnnxRunners()).load(package_codec.assemble("every", files))
    except CorruptError:
        return
    try:
        assert len(runner.run_traced(_columns(4))["total"]) == 4
    except ModelwrightError as error:
        assert error.kind != "internal", error  # noqa: PT017 - a refusal by a model is one of two right outcomes
