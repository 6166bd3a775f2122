import textwrap

import numpy as np
import pytest

from modelwright.adapters.frameworks.graph import GraphFramework
from modelwright.adapters.runners.graph import GraphRunners
from modelwright.adapters.runners.onnx import OnnxRunners
from modelwright.adapters.stores.package_files import open_path, write_zip
from modelwright.core.errors import BadInputError, ModelwrightError, NotFoundError
from modelwright.core.table import Table
from modelwright.features.columns import feeds
from modelwright.pack import build
from modelwright.serve.load import prove

RUNNERS = GraphRunners(OnnxRunners())
MODELS = """
  one: {package: one.mw}
  two: {package: two.mw}
"""


@pytest.fixture
def folder(tmp_path, linear_package, sum_package):
    write_zip(linear_package("one", ("a",), (1.5,)), tmp_path / "one.mw")
    write_zip(linear_package("two", ("a", "b"), (1.0, -2.0)), tmp_path / "two.mw")
    write_zip(sum_package("meta", width=2), tmp_path / "meta.mw")
    write_zip(sum_package("scale", features=("a", "b", "c")), tmp_path / "scale.mw")
    return tmp_path


@pytest.fixture
def convert(folder):
    """``convert(yaml, examples, registered)``: the conversion of a graph file in the folder of packages."""

    def nowhere(model, version):
        raise NotFoundError("register.unknown-model", f"There is no model {model!r}.")

    def make(text, examples=None, registered=nowhere):
        path = folder / "it.graph.yaml"
        path.write_text(textwrap.dedent(text))
        framework = GraphFramework(RUNNERS, open_path, registered)
        assert framework.owns(path)
        return framework.convert(path, examples)

    return make


def _nodes(text):
    return f"nodes:{MODELS}{textwrap.indent(textwrap.dedent(text), '  ')}"


ROWS = Table({name: np.random.default_rng(3).normal(size=20) for name in "abc"})


def _refused(convert, text):
    with pytest.raises(BadInputError) as refused:
        convert(text)
    error = refused.value
    return error.code, error.details.get("place"), error.what


def test_a_packed_graph_reproduces_its_golden_rows_and_runs_requests_together(convert):
    conversion = convert(_nodes("mean: {ensemble: [one, two], weights: [1, 2]}"), ROWS)
    package = build(conversion, name="mix", examples=ROWS)
    assert package.description.route == "graph"
    assert package.golden.rows == 8
    assert package.reference.rows == 20
    loaded = prove(package, RUNNERS, threads=1)
    assert loaded.batched
    assert [(f.name, f.low == ROWS[f.name].min()) for f in package.signature.features] == [("a", True), ("b", True)]


def test_without_examples_the_golden_rows_are_those_of_a_model_that_takes_all_the_graph_takes(convert):
    conversion = convert(_nodes("mean: {ensemble: [one, two]}"))
    assert len(conversion.inputs["a"]) == 4
    assert len(conversion.outputs["label"]) == 4


def test_a_graph_with_a_fallback_runs_each_request_alone(convert):
    conversion = convert(_nodes("safe: {fallback: {first: one, then: two, deadline_ms: 5}}"))
    assert not conversion.row_independent


def test_a_registered_model_is_packed_as_the_version_that_it_is_now(convert, linear_package):
    asked = []

    def registered(model, version):
        asked.append((model, version))
        return "3", linear_package("flights", ("a",), (9.0,))

    nodes = _nodes("new: {model: flights@champion}\nm: {ensemble: [one, two, new]}")
    member = convert(nodes, registered=registered).graph.nodes["new"].model
    assert asked == [("flights", "champion")]
    assert member.source == "flights version 3 (champion)"
    assert member.digest == linear_package("flights", ("a",), (9.0,)).digest


def test_models_that_name_their_tensors_differently_share_their_features(convert):
    text = """
    answer: both
    nodes:
      one: {package: one.mw}
      scale: {package: scale.mw}
      gate: {switch: {by: c, cases: [{below: 0, use: scale}], default: scale}}
      both: {stack: {members: [one, gate], final: meta}}
      meta: {package: meta.mw}
    """
    conversion = convert(text, ROWS)
    assert [(spec.name, spec.shape) for spec in conversion.signature.inputs] == [(n, (-1, 1)) for n in "abc"]
    one = 1 / (1 + np.exp(-1.5 * ROWS["a"]))
    np.testing.assert_allclose(conversion.outputs["total"][:, 0], one + sum(ROWS[n] for n in "abc"), rtol=1e-5)


def test_columns_of_other_nodes_are_named_by_class_or_place(convert):
    text = _nodes("""
    meta: {package: meta.mw, inputs: {X: [one.probabilities.1, two.probabilities.0]}}
    """)
    conversion = convert(text, ROWS)
    wires = conversion.graph.nodes["meta"].model.inputs["X"]
    assert [(wire.node, wire.column) for wire in wires] == [("one", 1), ("two", 0)]


@pytest.mark.parametrize(
    ("nodes", "code", "place"),
    [
        ("m: {ensemble: [one, too]}", "graph.unknown-node", "nodes.m"),
        ("m: {ensemble: [one, two, m]}", "graph.cycle", "nodes.m"),
        ("m: {ensemble: [one, two, n]}\nn: {ensemble: [m]}\ntop: {ensemble: [m]}", "graph.cycle", "nodes.m"),
        ("m: {ensemble: [one, two], weights: [1]}", "graph.invalid", "nodes.m.weights"),
        ("m: {ensemble: [one, two], weights: [0, 0]}", "graph.invalid", "nodes.m.weights"),
        ("m: {ensemble: [one, two], method: median}", "graph.invalid", "nodes.m.method"),
        ("m: {ensembles: [one, two]}", "graph.invalid", "nodes.m.ensembles"),
        ("m: {ensemble: [one, two], stack: {members: [one], final: two}}", "graph.invalid", "nodes.m"),
        ("m: {ensemble: [one, two], inputs: {a: b}}", "graph.invalid", "nodes.m.inputs"),
        ("M: {ensemble: [one, two]}", "graph.bad-name", "nodes.M"),
        ("s: {sequence: [one, two]}", "graph.unconnected", "nodes.s"),
        ("s: {switch: {by: a, cases: [{use: one}], default: two}}", "graph.invalid", "nodes.s.switch.cases[0]"),
        ("s: {switch: {by: a, cases: [{values: [x], use: one}], default: two}}", "graph.type-mismatch",
         "nodes.s.switch"),
        ("t: {package: meta.mw}\nf: {fallback: {first: one, then: t}}\ng: {fallback: {first: f, then: two}}",
         "graph.type-mismatch", "nodes.f"),
        ("t: {package: meta.mw, inputs: {X: one.probability}}\nv: {stack: {members: [two], final: t}}",
         "graph.missing-output", "nodes.t.inputs.X"),
        ("t: {package: meta.mw, inputs: {Y: [one.label, two.label]}}", "graph.unknown-input", "nodes.t.inputs.Y"),
        ("t: {package: meta.mw, inputs: {X: [one.label, two.probabilities]}}", "graph.type-mismatch",
         "nodes.t.inputs.X"),
        ("x: {model: flights}\nm: {ensemble: [one, two, x]}", "graph.invalid", "nodes.x.model"),
        ("m: {ensemble: [one]}\nn: {ensemble: [two]}", "graph.invalid", "answer"),
    ],
)  # fmt: skip
def test_what_is_wrong_has_a_code_and_its_place_in_the_file(convert, nodes, code, place):
    found, where, what = _refused(convert, _nodes(nodes))
    assert (found, where) == (code, place)
    assert place in what


def test_a_type_error_names_the_two_ends(convert):
    text = """
    nodes:
      one: {package: one.mw}
      t: {package: meta.mw, inputs: {X: one.probabilities}}
      u: {package: meta.mw, inputs: {X: t.total}}
    """
    code, _, what = _refused(convert, text)
    assert code == "graph.type-mismatch"
    assert "t.total" in what
    assert "u.X" in what


def test_a_node_that_nothing_needs_is_refused(convert):
    code, place, _ = _refused(convert, "answer: one\n" + _nodes(""))
    assert (code, place) == ("graph.unused-node", "nodes.two")


def test_a_package_that_is_not_there_is_named_with_its_node(convert):
    with pytest.raises(ModelwrightError) as refused:
        convert("nodes: {lost: {package: lost.mw}}")
    assert (refused.value.code, refused.value.details["place"]) == ("package.not-found", "nodes.lost")


@pytest.mark.parametrize(
    "text", ["nodes: [", "- a", "nodes: {}", "{}", "nodes: {one: }", "nodes: {1: {package: one.mw}, x: 3}"]
)
def test_a_file_that_is_no_graph_says_what_is_wrong_with_it(convert, text):
    assert _refused(convert, text)[0] in {"graph.invalid", "graph.too-many-nodes"}


def test_more_than_thirty_two_nodes_are_too_many(convert):
    nodes = "".join(f"  n{index}: {{package: one.mw}}\n" for index in range(32))
    members = ", ".join(f"n{index}" for index in range(32))
    assert _refused(convert, f"nodes:\n{nodes}  m: {{ensemble: [{members}]}}")[0] == "graph.too-many-nodes"


def test_rows_that_lack_a_column_are_refused_as_for_any_model(convert):
    with pytest.raises(BadInputError, match="no column 'b'"):
        convert(_nodes("m: {ensemble: [one, two]}"), ROWS.select(["a"]))


def test_the_graph_takes_rows_as_any_model_does(convert):
    conversion = convert(_nodes("m: {ensemble: [one, two]}"), ROWS)
    assert set(feeds(conversion.signature, ROWS)) == {"a", "b"}
