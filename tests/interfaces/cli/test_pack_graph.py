"""`modelwright pack` and `inspect` of a graph of models."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import modelwright as mw
from modelwright import wiring
from modelwright.adapters.stores.package_files import open_path, write_zip
from modelwright.core import package_codec
from modelwright.core.access import Act
from modelwright.core.graph import GraphError
from modelwright.core.version import Lineage
from modelwright.interfaces.cli import main
from modelwright.interfaces.cli.app import cli
from modelwright.settings import load

GRAPH = """
nodes:
  one: {package: one.mw}
  two: {model: two@champion}
  both: {ensemble: [one, two], weights: [1, 3]}
  sides: {switch: {by: b, cases: [{below: 0, use: one}], default: both}}
"""


@pytest.fixture
def home(tmp_path, linear_package, monkeypatch):
    """A folder with a package and a graph file, and a registry with another package."""
    monkeypatch.setenv("MODELWRIGHT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    write_zip(linear_package("one", ("a",), (1.5,)), tmp_path / "one.mw")
    (tmp_path / "mix.graph.yaml").write_text(GRAPH)
    (tmp_path / "rows.csv").write_text("a,b,late\n" + "".join(f"{n / 10},{n % 5 - 2},{n % 2}\n" for n in range(40)))
    with wiring.platform(load({"home": tmp_path / "home"})) as platform:
        package = linear_package("two", ("a", "b"), (1.0, -2.0))
        digest, act = package_codec.store(package, platform.blobs.put), Act("ada", "first")
        version = platform.versions.register("two", digest, lineage=Lineage(), verdict={"passed": True}, act=act)
        platform.versions.set_alias("two", "champion", version.number, act=act)
    return tmp_path


def _run(*arguments):
    told = CliRunner().invoke(cli, [str(one) for one in arguments])
    return told.exit_code, told.output


def test_a_graph_is_packed_with_the_registered_version_inspected_and_asked(home):
    code, said = _run("pack", "mix.graph.yaml", "--name", "mix", "--data", "rows.csv", "--target", "late", "--json")
    assert code == 0, said
    assert json.loads(said)["graph"]["nodes"]["two"]["model"]["source"] == "two version 1 (champion)"
    code, said = _run("inspect", "mix.mw")
    assert code == 0
    assert "Graph: sides answers" in said
    assert "mean of one (1), two (3)" in said
    assert "by b: below 0 to one; else both" in said
    code, said = _run("predict", "mix.mw", '{"a": 0.5, "b": -1.0}', "--json")
    assert code == 0
    np.testing.assert_allclose(json.loads(said)["probabilities.1"], [1 / (1 + np.exp(-0.75))], rtol=1e-6)
    assert open_path(home / "mix.mw").signature.target == "late"


PROJECT = """
models: {mix: {margin: 0.5}}
graphs:
  mix:
    nodes: {one: {package: one.mw}, two: {model: two@champion}, both: {ensemble: [one, two], weights: [1, 3]}}
  alone: {nodes: {one: {package: one.mw}}}
"""


def test_a_graph_of_the_project_file_is_packed_and_released_by_its_name(home):
    (home / "modelwright.yaml").write_text(PROJECT)
    code, said = _run("pack", "modelwright.yaml", "--name", "mix", "--json")
    assert code == 0, said
    assert list(json.loads(said)["graph"]["nodes"]) == ["both", "one", "two"]
    code, said = _run("pack", "modelwright.yaml", "--name", "other", "--graph", "alone", "--json")
    assert code == 0, said
    assert list(json.loads(said)["graph"]["nodes"]) == ["one"]
    told = ("--name", "mix", "--data", "rows.csv", "--target", "late", "--json")
    code, said = _run("release", "modelwright.yaml", *told)
    assert json.loads(said)["verdict"] is not None, said


def test_a_graph_that_the_project_file_does_not_declare_is_named_with_what_it_does(home, capsys):
    (home / "modelwright.yaml").write_text(PROJECT)
    assert main(["pack", "modelwright.yaml", "--name", "mixx", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "graph.unknown"
    assert "mix" in error["fix"]


def test_packed_models_become_a_graph_in_python(home):
    one, two = mw.open_package("one.mw"), mw.pack_graph("mix.graph.yaml", name="two")
    nodes = {"one": one, "again": {"package": "one.mw"}, "two": {"package": two}}
    nodes["both"] = {"ensemble": ["one", "two", "again"]}
    made = mw.pack_graph(nodes, name="mix")
    assert made.package.graph.nodes["one"].model.digest == one.digest == made.package.graph.nodes["again"].model.digest
    assert made.package.graph.nodes["two"].model.digest == two.digest
    (home / "modelwright.yaml").write_text(PROJECT)
    assert mw.pack_graph("modelwright.yaml", name="alone").package.graph.answer == "one"
    with pytest.raises(GraphError, match="Node 'one' is of type int"):
        mw.pack_graph({"one": 1}, name="mix")


def test_a_graph_of_files_needs_no_registry(home, monkeypatch):
    monkeypatch.setenv("MODELWRIGHT_HOME", str(home / "none"))
    (home / "alone.graph.yaml").write_text("nodes: {one: {package: one.mw}}")
    code, said = _run("pack", "alone.graph.yaml", "--name", "alone")
    assert code == 0, said
    assert not (home / "none").exists()


def test_a_registered_model_that_is_not_there_is_told_with_its_place(home, capsys):
    (home / "bad.graph.yaml").write_text("nodes: {one: {model: tow@champion}}")
    assert main(["pack", "bad.graph.yaml", "--name", "bad", "--json"]) != 0
    said = "".join(capsys.readouterr())
    assert "register.unknown-model" in said
    assert '"place": "nodes.one"' in said


def test_a_mistake_in_the_file_is_one_error_with_its_place(home, capsys):
    (home / "bad.graph.yaml").write_text("nodes: {one: {package: one.mw, inputs: {b: c}}}")
    assert main(["pack", "bad.graph.yaml", "--name", "bad"]) == 2
    said = "".join(capsys.readouterr())
    assert "error [graph.unknown-input]" in said
    assert "at nodes.one.inputs.b" in said
