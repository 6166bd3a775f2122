"""Functions and classes packed by their source, and a folder's own requirements."""

import importlib

import numpy as np
import pandas as pd
import pytest

from modelwright.adapters.frameworks.python_file import PythonFramework
from modelwright.adapters.frameworks.requirements import pinned
from modelwright.core.errors import BadInputError
from modelwright.features.tabular import table
from modelwright.testing.errors import error_code

ROWS = pd.DataFrame({"age": [20.0, 50.0, 70.0]})
SOURCE = """
FACTOR = 2
def double(inputs):
    return {"y": inputs["age"] * FACTOR}
class Rule:
    def __init__(self, folder): self.bias = 1
    def predict(self, inputs): return {"y": inputs["age"] + self.bias}
def made():
    def inner(inputs): return inputs
    return inner
"""


@pytest.fixture
def rules(tmp_path, monkeypatch):
    (tmp_path / "rules_of_this_test.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    module = importlib.import_module("rules_of_this_test")
    yield module
    monkeypatch.delitem(importlib.sys.modules, "rules_of_this_test")


def test_a_function_and_a_class_of_a_module_are_packed_as_its_file_and_answer_there(rules):
    framework = PythonFramework()
    for model, answer in ((rules.double, ROWS["age"] * 2), (rules.Rule, ROWS["age"] + 1)):
        assert framework.owns(model)
        made = framework.convert(model, table(ROWS))
        assert SOURCE in made.files["model.py"].decode()
        np.testing.assert_array_equal(made.outputs["y"][:, 0], answer)


def test_what_its_file_alone_does_not_make_is_refused_with_the_nearest_way(rules, monkeypatch):
    framework = PythonFramework()
    for model in (lambda inputs: inputs, rules.made(), framework.convert.__func__):
        with pytest.raises(BadInputError) as caught:
            framework.convert(model, table(ROWS))
        assert caught.value.code == "pack.no-source"
        assert "model.py" in caught.value.fix
    monkeypatch.setattr(rules.double, "__module__", "__main__")
    assert error_code(framework.convert, rules.double, table(ROWS)) == "pack.no-source"
    assert not framework.owns(3)
    assert not framework.owns(rules.Rule("."))


def folder_with(tmp_path, lines):
    (tmp_path / "model.py").write_text("def predict(inputs): return {'y': inputs['age']}\n")
    (tmp_path / "requirements.txt").write_text(lines)
    return tmp_path


def test_a_folders_requirements_go_into_the_lock_with_their_hashes(tmp_path):
    digest = "a" * 64
    folder = folder_with(
        tmp_path, f"# ours\nNumPy=={np.__version__} \\\n  --hash=sha256:{digest}\nnot-here-at-all==1.0  # later\n"
    )
    made = PythonFramework().convert(folder, table(ROWS))
    lock = {row["name"]: row for row in made.environment}
    assert lock["numpy"]["wheel_sha256"] == digest
    assert lock["numpy"]["record_sha256"]
    assert lock["not-here-at-all"]["version"] == "1.0"
    assert "requirements.txt" not in made.files


@pytest.mark.parametrize("line", ["numpy", "numpy>=1", "numpy==0.0.1", "-r other.txt", "git+https://example.org/x"])
def test_a_requirement_that_is_not_the_exact_version_in_use_is_refused(tmp_path, line):
    folder = folder_with(tmp_path, f"{line}\n")
    assert error_code(pinned, folder / "requirements.txt") == "pack.bad-requirements"
