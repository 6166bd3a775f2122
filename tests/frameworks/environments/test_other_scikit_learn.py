"""A model of another scikit-learn and NumPy than the server's is packed and served with those (needs an index)."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.frameworks
TRAIN = """
import csv, joblib, sys
import numpy as np
import sklearn
from sklearn.neighbors import NearestCentroid
random = np.random.default_rng(5)
X = random.normal(size=(80, 2))
y = np.where(X[:, 0] > 0, "a", "b")
model = NearestCentroid().fit(X, y)
joblib.dump(model, "model.joblib")
with open("rows.csv", "w") as file:
    writer = csv.writer(file)
    writer.writerow(["x0", "x1", "y"])
    writer.writerows([*map(float, row), label] for row, label in zip(X, y))
print(sklearn.__version__)
"""


def test_models_of_two_versions_of_scikit_learn_are_served_side_by_side(tmp_path):
    def call(*words):
        command = [sys.executable, "-m", "modelwright", *map(str, words), "--json"]
        env = os.environ | {"MODELWRIGHT_HOME": str(tmp_path / "home")}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    versions = {"1.7.2": "2.2.6", "1.6.1": "2.1.3"}
    for sklearn, numpy in versions.items():
        (tmp_path / f"{sklearn}.txt").write_text(f"scikit-learn=={sklearn}\nnumpy=={numpy}\n")
        (tmp_path / "model.py").write_text("def predict(inputs):\n    return {'y': inputs['x0'][:, 0]}\n")
        (tmp_path / "rows.csv").write_text("x0\n1\n2\n")
        own = ("--requirements", f"{sklearn}.txt")
        call("pack", "model.py", "--name", "plain", "--data", "rows.csv", *own)  # builds the environment
        site = call("environments", "list")[0]["site"]
        env = os.environ | {"PYTHONPATH": site}
        done = subprocess.run(
            [sys.executable, "-S", "-c", TRAIN], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.stdout.strip() == sklearn, done.stderr
        labelled = ("--data", "rows.csv", "--target", "y")
        told = call("pack", "model.joblib", "--name", "m", *labelled, *own, "-o", f"{sklearn}.mw")
        assert told["parity"]["holds"]
        assert {row["name"]: row["version"] for row in told["environment"]}["scikit-learn"] == sklearn
        assert told["description"]["framework_version"] == sklearn
    assert len(call("environments", "list")) == 2
    for sklearn in versions:
        assert call("predict", f"{sklearn}.mw", '{"x0": 1, "x1": 2}')["label"] == ["a"]
