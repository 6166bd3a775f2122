import json
import re

import joblib
import numpy as np
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


def test_the_card_of_a_registered_version_holds_what_its_check_measured(tmp_path, capsys):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((300, 2))
    truth = (values.sum(axis=1) + rng.standard_normal(300) / 2 > 0).astype(int)
    joblib.dump(LogisticRegression().fit(values, truth), tmp_path / "m.joblib")
    lines = [",".join(map(str, [*row, label])) for row, label in zip(values, truth, strict=True)]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,y", *lines]))
    home = ["--home", str(tmp_path / "home")]
    rows = ["--data", str(tmp_path / "rows.csv"), "--target", "y"]
    assert run([*home, "release", str(tmp_path / "m.joblib"), "--name", "sum", *rows, "--json"]) == 0
    capsys.readouterr()
    assert run([*home, "card", "sum:1"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"\| roc_auc \| 0\.\d+ \| 0\.\d+ to \d\.?\d* \| 300 \|", shown)
    assert "Gates: all passed" in shown
    front = yaml.safe_load(shown.split("---\n")[1])
    assert front["model-index"][0]["results"][0]["task"]["type"] == "tabular-classification"
    assert "roc_auc" in front["metrics"]
    assert "- Version: 1" in shown
    assert run([*home, "card", "nobody"]) == 2
