"""``modelwright frameworks``: what can be packed, and what is missing for it."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

from modelwright.adapters.frameworks.listing import LISTED, Listed
from modelwright.interfaces.cli import main

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]


def test_every_adapter_is_listed_with_what_it_takes(capsys):
    assert main(["frameworks", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert all(row["takes"] for row in rows)
    assert {point.name for point in entry_points(group="modelwright.frameworks")} <= {row["adapter"] for row in rows}
    assert main(["frameworks"]) == 0
    assert "scikit-learn" in capsys.readouterr().out


def test_every_adapter_of_this_project_has_a_line_of_its_own_and_an_extra_that_exists():
    assert set(PROJECT["entry-points"]["modelwright.frameworks"]) <= {row.adapter for row in LISTED}
    assert {row.extra for row in LISTED if row.extra} <= set(PROJECT["optional-dependencies"])
    assert all(bool(row.modules) == bool(row.extra) for row in LISTED)


def test_what_is_absent_is_named_with_the_command():
    row = Listed("a", "A", "files", ("json", "no_such_module"), "sklearn")
    assert row.missing == "no_such_module"
    assert row.install == "pip install 'modelwright[sklearn]'"


def test_options_of_the_matrix_alone_are_refused_without_it(capsys):
    assert main(["frameworks", "--family", "ONNX"]) == 2
    assert "--matrix" in capsys.readouterr().err


def matrix(*arguments):
    command = [sys.executable, "-m", "modelwright", "frameworks", "--matrix", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_the_matrix_of_one_family_is_json_a_page_and_a_line_for_each_row(tmp_path):
    done = matrix("--family", "onnx", "--rounds", "1", "--output", str(tmp_path / "page.md"), "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert {(row["family"], row["state"], row["route"]) for row in rows} == {("ONNX", "packed", "ONNX")}
    text = (tmp_path / "page.md").read_text()
    assert re.search(r"^\| perceptron in an \.onnx file \| wide \| ONNX \|", text, flags=re.MULTILINE)
    assert len(done.stderr.splitlines()) == len(rows)


def test_an_unknown_family_of_the_matrix_is_an_error_with_those_there_are():
    done = matrix("--family", "nope", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == "matrix.unknown-family"
