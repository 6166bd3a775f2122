import json
import re

import joblib
import numpy as np
import pandas as pd
import pytest
import yaml
from onnx import TensorProto, helper
from sklearn.linear_model import LogisticRegression

from modelwright import wiring
from modelwright.interfaces.cli.app import run

SAID = {"purpose": "Says it again.", "license": "apache-2.0", "limits": "<script>alert(1)</script>"}


@pytest.fixture
def packed(tmp_path, capsys):
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "same",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "same.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "said.yaml").write_text(yaml.safe_dump(SAID))
    path = tmp_path / "same.mw"
    model_file, said = str(tmp_path / "same.onnx"), str(tmp_path / "said.yaml")
    assert run(["pack", model_file, "--name", "same", "--evidence", said, "-o", str(path), "--json"]) == 0
    capsys.readouterr()
    return path


def test_the_card_of_a_package_is_the_one_that_it_holds(packed, capsys):
    assert run(["card", str(packed)]) == 0
    shown = capsys.readouterr().out
    assert shown == wiring.open_package(packed).read("card.md").decode()
    front = yaml.safe_load(shown.split("---\n")[1])
    assert (front["license"], front["library_name"]) == ("apache-2.0", "onnx")
    assert "- Purpose: Says it again." in shown
    assert "- Owner: not provided" in shown
    assert "## Fairness\n\nnot provided" in shown
    assert "## Slices" not in shown, "a model without a task has nothing to be measured by"


def test_a_card_as_a_page_runs_nothing_and_loads_nothing(packed, tmp_path):
    assert run(["card", str(packed), "--format", "html", "-o", str(tmp_path / "card.html")]) == 0
    page = (tmp_path / "card.html").read_text()
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"(?:src|href)=", page)


def test_a_card_as_json_holds_the_same_sections(packed, capsys):
    assert run(["card", str(packed), "--format", "json"]) == 0
    body = json.loads(capsys.readouterr().out)
    titles = [section["title"] for section in body["sections"]]
    assert titles[:2] == ["What it is", "Evaluation"]
    assert {"Data", "Limits", "Fairness", "Lineage", "Environment"} <= set(titles)
    assert body["front"]["model_name"] == "same"


@pytest.mark.parametrize("text", ["purpos: x", "purpose: 3", "[1, 2]", "a: [", "evaluation: {auc: high}"])
def test_evidence_that_is_no_evidence_is_refused(packed, tmp_path, capsys, text):
    (tmp_path / "bad.yaml").write_text(text)
    bad = ["pack", str(tmp_path / "same.onnx"), "--name", "same", "--evidence", str(tmp_path / "bad.yaml"), "--json"]
    assert run(bad) == 2
    shown = capsys.readouterr()
    assert "pack.bad-evidence" in shown.out + shown.err


def test_a_card_that_cannot_be_written_is_a_clear_error(packed, tmp_path):
    assert run(["card", str(packed), "-o", str(tmp_path / "no" / "card.md")]) == 2


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A package, its rows with a column that it does not use, and the verdict on them."""
    where = tmp_path_factory.mktemp("measured")
    rng = np.random.default_rng(0)
    values = rng.standard_normal((600, 2))
    place = np.where(np.arange(600) < 20, "few", np.where(np.arange(600) % 3 == 0, "<b>north|</b>", "south"))
    noisy, coin = values.sum(axis=1) + rng.standard_normal(600) > 0, rng.random(600) < 0.5
    truth = np.where(place == "south", noisy, coin).astype(int)
    frame = pd.DataFrame(values, columns=["a", "b"])
    joblib.dump(LogisticRegression().fit(frame, noisy.astype(int)), where / "m.joblib")
    lines = [",".join(map(str, row)) for row in zip(*values.T, place, truth, strict=True)]
    (where / "rows.csv").write_text("\n".join(["a,b,place,y", *lines]))
    data = ["--data", str(where / "rows.csv"), "--target", "y"]
    assert run(["pack", str(where / "m.joblib"), "--name", "sum", *data, "-o", str(where / "sum.mw")]) == 0
    return where / "sum.mw", data


@pytest.fixture
def verdict(measured, tmp_path, capsys):
    package, data = measured
    assert run(["check", str(package), *data, "--slice", "place", "--json"]) == 0
    path = tmp_path / "verdict.json"
    path.write_text(capsys.readouterr().out)
    return path


def test_a_check_with_slices_shows_groups_gaps_and_rates(measured, capsys):
    package, data = measured
    assert run(["check", str(package), *data, "--slice", "place"]) == 0
    shown = capsys.readouterr().out
    assert "By place (log_loss;" in shown
    assert re.search(r"few +20 +- +- +-", shown)
    assert "1 of 3 groups have fewer than 30 rows: too few to tell." in shown
    assert re.search(r"worse in <b>north\|</b>: accuracy -0\.\d+ \[-0", shown)
    assert re.search(r"selection rate +(south|<b>north)", shown)


def test_a_gap_that_is_not_allowed_ends_with_exit_code_3(measured, capsys):
    package, data = measured
    assert run(["check", str(package), *data, "--slice", "place", "--max-slice-gap", "accuracy=0.1"]) == 3
    assert "refused by slice-gap-accuracy: accuracy is worse" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        ["--slice", "plac"],
        ["--slice", "place", "--max-slice-gap", "accuracy"],
        ["--slice", "place", "--max-slice-gap", "accuracy=much"],
        ["--slice", "place", "--max-slice-gap", "acuracy=0.1"],
        ["--max-slice-gap", "accuracy=0.1"],
    ],
)
def test_slices_that_cannot_be_are_refused(measured, options):
    package, data = measured
    assert run(["check", str(package), *data, *options]) == 2


def test_a_card_without_measurements_says_how_to_measure_them(measured, capsys):
    assert run(["card", str(measured[0])]) == 0
    shown = capsys.readouterr().out
    assert "## Evaluation\n\nnot provided" in shown
    assert "## Slices\n\nnot measured. `modelwright check sum.mw --data ROWS" in shown
    assert "Rates by group: not measured." in shown


def test_a_card_shows_the_slices_and_the_fairness_of_a_verdict(measured, verdict, capsys):
    assert run(["card", str(measured[0]), "--verdict", str(verdict)]) == 0
    shown = capsys.readouterr().out
    assert "## Slices by place" in shown
    assert "| few | 20 | fewer than 30 rows |" in shown
    assert re.search(r"\| <b>north\\\|</b> \| \d+ \| \S+ \| \S+ to \S+ \| \+\S+ \| \+\S+ to \+\S+ \| worse \(q ", shown)
    assert "Worse than in the other rows beyond chance, in other metrics: " in shown
    assert re.search(r"\| place \| selection rate \| .* \| 0\.\d+ \(0", shown)
    assert "not measured" not in shown


def test_the_page_of_a_card_draws_intervals_and_the_json_holds_the_verdict(measured, verdict, tmp_path, capsys):
    card = ["card", str(measured[0]), "--verdict", str(verdict)]
    assert run([*card, "--format", "html"]) == 0
    page = capsys.readouterr().out
    assert page.count("<svg") == 2
    assert "<script" not in page
    assert "style=" not in page, "its own policy would refuse it"
    assert "<b>north" not in page
    assert not re.search(r"(?:src|href)=", page)
    assert run([*card, "--format", "json"]) == 0
    body = json.loads(capsys.readouterr().out)
    (section,) = (one for one in body["sections"] if one["title"] == "Slices by place")
    assert [mark["name"] for mark in section["charts"][0]["marks"]] == ["<b>north|</b> (193)", "south (387)"]
    assert body["verdict"]["slices"][0]["column"] == "place"


def test_a_card_takes_no_verdict_on_another_package_nor_what_is_none(packed, verdict, tmp_path, capsys):
    (tmp_path / "none.json").write_text("[1]")
    for path in (verdict, tmp_path / "none.json", tmp_path / "nowhere.json"):
        assert run(["card", str(packed), "--verdict", str(path)]) == 2


def test_without_the_extra_a_page_has_its_tables_and_says_what_is_missing(measured, verdict, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(["card", str(measured[0]), "--verdict", str(verdict), "--format", "html"]) == 0
    shown = capsys.readouterr()
    assert "<svg" not in shown.out
    assert "modelwright[console]" in shown.err


def test_the_card_of_a_registered_version_holds_what_its_check_measured_by_the_slices_of_the_project(
    measured, tmp_path, monkeypatch, capsys
):
    package, data = measured
    (tmp_path / "modelwright.yaml").write_text("models: {sum: {slices: [place, gone]}}")
    monkeypatch.chdir(tmp_path)
    home = ["--home", str(tmp_path / "home")]
    assert run([*home, "release", str(package), "--name", "sum", *data, "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)["verdict"]
    assert [one["column"] for one in verdict["slices"]] == ["place"]
    assert verdict["notes"]["slices"].startswith("The rows have no column gone")
    assert run([*home, "card", "sum:1"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"\| roc_auc \| 0\.\d+ \| 0\.\d+ to \d\.?\d* \| 600 \|", shown)
    assert "Gates: all passed" in shown
    assert "## Slices by place" in shown
    front = yaml.safe_load(shown.split("---\n")[1])
    assert front["model-index"][0]["results"][0]["task"]["type"] == "tabular-classification"
    assert "roc_auc" in front["metrics"]
    assert "- Version: 1" in shown
    assert run([*home, "card", "nobody"]) == 2
