"""What `modelwright pack` may be told about a model."""

import json
import shutil

import joblib
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.linear_model import LogisticRegression

from modelwright.adapters.runners.trees.kernel import COMPILERS
from modelwright.adapters.stores.package_files import open_path
from modelwright.core.signature import InputPolicy
from modelwright.interfaces.cli.app import cli


@pytest.fixture
def pack(tmp_path, sum_package):
    """``pack(*options)``: the package of a small ONNX file."""
    (tmp_path / "sum.onnx").write_bytes(sum_package().read("model.onnx"))

    def run(*options):
        to = tmp_path / "sum.mw"
        told = CliRunner().invoke(
            cli, ["pack", str(tmp_path / "sum.onnx"), "--name", "sum", "-o", str(to), "--json", *options]
        )
        assert told.exit_code == 0, told.output
        assert json.loads(told.output)["path"] == str(to)
        return open_path(to)

    return run


def test_the_rows_of_an_onnx_file_are_not_taken_to_stand_alone_unless_somebody_says_so(pack):
    assert not pack().description.row_independent
    assert pack("--row-independent").description.row_independent


def test_labels_of_yes_and_no_in_a_csv_are_those_of_the_model(tmp_path):
    random = np.random.default_rng(3)
    rows = pd.DataFrame({"age": random.normal(size=120), "spend": random.normal(size=120)})
    labels = np.where(rows["age"] + rows["spend"] > 0, "yes", "no")
    joblib.dump(LogisticRegression().fit(rows, labels), tmp_path / "model.joblib")
    rows.assign(churned=labels).to_csv(tmp_path / "rows.csv", index=False)
    labelled = ["--data", str(tmp_path / "rows.csv"), "--target", "churned", "--json"]
    made = str(tmp_path / "made.mw")
    packed = CliRunner().invoke(cli, ["pack", str(tmp_path / "model.joblib"), "--name", "churn", "-o", made, *labelled])
    assert packed.exit_code == 0, packed.output
    checked = CliRunner().invoke(cli, ["check", made, *labelled])
    assert json.loads(checked.output)["rows"] == 120, checked.output


def test_the_input_policy_travels_in_the_package(pack):
    assert pack().signature.policy == InputPolicy()
    assert pack("--out-of-range", "warn", "--unseen-category", "reject").signature.policy == InputPolicy(
        "warn", "reject"
    )


@pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="needs a C compiler")
def test_what_was_measured_to_run_a_model_fastest_travels_in_the_package_and_inspect_shows_it(pack, tmp_path):
    assert pack().kernels is None
    assert pack("--kernels").kernels.chosen == "onnxruntime"
    told = CliRunner().invoke(cli, ["inspect", str(tmp_path / "sum.mw")]).output
    assert "kernel   ONNX Runtime: it is not one ensemble over its only input" in told
