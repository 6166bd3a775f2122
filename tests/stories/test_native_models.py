"""A model that runs as code, through its whole life: nothing opens it outside a jailed process."""

import json
import subprocess
import sys

import httpx
import joblib
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

import modelwright as mw
from modelwright.interfaces.cli.app import cli

RANDOM = np.random.default_rng(5)
ROWS = pd.DataFrame({"age": RANDOM.integers(18, 80, 80), "spend": RANDOM.normal(50, 9, 80).round(2)})
LATE = np.where(ROWS["age"] > 45, "late", "ontime")


class Canary:
    """Leaves a mark when it is unpickled by a process that may write there."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return exec, (f"try: open({str(self.mark)!r}, 'a').close()\nexcept OSError: pass", {})


@pytest.fixture
def marked(tmp_path):
    """``model.joblib``, which leaves ``mark`` where it is opened without a jail; ``rows.csv``; ``invoke(*words)``."""
    mark = tmp_path / "mark"
    model = NearestCentroid().fit(ROWS, LATE)
    model.note = Canary(mark)
    joblib.dump(model, tmp_path / "model.joblib")
    ROWS.assign(y=LATE).to_csv(tmp_path / "rows.csv", index=False)

    def invoke(*words):
        words = [str(word) for word in words]
        done = CliRunner().invoke(cli, [*words, "--json"], env={"MODELWRIGHT_HOME": str(tmp_path / "home")})
        assert not mark.exists(), words
        return done

    return invoke


def test_no_command_opens_the_model_outside_a_jail(tmp_path, marked):
    joblib.load(tmp_path / "model.joblib")
    mark = tmp_path / "mark"
    assert mark.exists()  # the canary is alive
    mark.unlink()
    data, package = tmp_path / "rows.csv", tmp_path / "m.mw"
    labelled = ("--data", data, "--target", "y")
    packed = json.loads(marked("pack", tmp_path / "model.joblib", "--name", "m", *labelled, "-o", package).output)
    assert packed["native"]["isolation"] == "strict"
    assert "NearestCentroid has no conversion" in packed["description"]["notes"]["route"]
    assert marked("inspect", package).exit_code == 0
    verdict = marked("check", package, *labelled)
    assert json.loads(verdict.output)["rows"] == 80, verdict.output
    answers = marked("predict", package, data)
    assert json.loads(answers.output)["label"] == NearestCentroid().fit(ROWS, LATE).predict(ROWS).tolist()
    released = marked("release", tmp_path / "model.joblib", "--name", "m", *labelled)
    assert json.loads(released.output)["outcome"] == "promoted", released.output
    mw.open_package(package)
    assert not mark.exists()


def test_a_server_of_the_package_opens_it_in_its_jailed_process_only_and_answers_as_the_model(tmp_path, marked):
    package = tmp_path / "m.mw"
    words = ("pack", tmp_path / "model.joblib", "--name", "m", "--data", tmp_path / "rows.csv", "--target", "y")
    assert marked(*words, "-o", package).exit_code == 0
    command = [sys.executable, "-m", "modelwright.processes.gateway", "--home", str(tmp_path / "home")]
    with subprocess.Popen(
        [*command, "--http", "127.0.0.1:0", "--package", str(package), "--no-auth"], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            ready = next(line for line in server.stdout if line.startswith("ready http://"))
            tensors = [
                {"name": name, "datatype": "FP64", "shape": [80, 1], "data": ROWS[name].tolist()} for name in ROWS
            ]
            url = f"{ready.split()[1]}/v2/models/m/infer"
            answer = httpx.post(url, json={"inputs": tensors}, timeout=60).raise_for_status().json()
        finally:
            server.terminate()
            server.wait(60)
    label = next(output["data"] for output in answer["outputs"] if output["name"] == "label")
    assert label == NearestCentroid().fit(ROWS, LATE).predict(ROWS).tolist()
    assert not (tmp_path / "mark").exists()


def test_a_dry_run_says_the_route_and_writes_nothing(tmp_path, marked):
    words = ("pack", tmp_path / "model.joblib", "--name", "m", "--data", tmp_path / "rows.csv", "--target", "y")
    told = json.loads(marked(*words, "--explain", "-o", tmp_path / "m.mw").output)
    assert told["path"] is None
    assert told["description"]["route"] == "native"
    assert not (tmp_path / "m.mw").exists()
    refused = marked(*words, "--onnx")
    assert refused.exception.code == "pack.unconvertible"


def test_what_a_person_is_shown_says_route_reason_jail_and_environment(tmp_path):
    package = tmp_path / "m.mw"
    mw.pack(NearestCentroid().fit(ROWS, LATE), name="m", examples=ROWS, isolation="standard", idempotent=False).save(
        package
    )
    shown = CliRunner().invoke(cli, ["inspect", str(package)]).output
    for words in ("route native", "NearestCentroid has no conversion", "loader sklearn", "standard", "never again"):
        assert words in shown
    assert "scikit-learn" in shown


def test_a_folder_with_a_python_model_is_packed_asked_and_moved(tmp_path):
    folder = tmp_path / "rule"
    folder.mkdir()
    (folder / "limit.txt").write_text("45")
    (folder / "model.py").write_text(
        "import numpy as np\n"
        "CLASSES = ('ontime', 'late')\n"
        "class Model:\n"
        "    def __init__(self, folder): self.limit = float((folder / 'limit.txt').read_text())\n"
        "    def predict(self, inputs):\n"
        "        late = inputs['age'][:, 0] > self.limit\n"
        "        label = np.where(late, 'late', 'ontime')\n"
        "        return {'label': label, 'probabilities': np.stack([~late, late], axis=1) * 1.0}\n"
    )
    package = tmp_path / "rule.mw"
    mw.pack(folder, name="rule", examples=ROWS, labels=LATE, target="y").save(package)
    for path in folder.iterdir():
        path.unlink()
    opened = mw.open_package(package)
    assert opened.predict(ROWS)["label"].tolist() == LATE.tolist()
    assert "limit.txt" in opened.package.manifest.files


def test_nobody_can_declare_rows_independent_of_which_the_model_says_otherwise(tmp_path, marked):
    (tmp_path / "model.py").write_text("def predict(i): return {'prediction': (i['age'] - i['age'].mean())[:, 0]}")
    words = ("pack", tmp_path / "model.py", "--name", "m", "--data", tmp_path / "rows.csv", "--target", "y")
    told = json.loads(marked(*words, "--row-independent", "--explain").output)
    assert not told["description"]["row_independent"]
    assert "do not stand alone" in told["description"]["notes"]["rows"]


def test_python_packs_and_asks_a_model_as_it_is_and_the_card_says_so():
    model = KNeighborsClassifier(3).fit(ROWS, LATE)
    packed = mw.pack(model, name="near", examples=ROWS, labels=LATE, native=True)
    assert packed.package.native is not None
    answers = packed.predict(ROWS)
    assert answers["label"].tolist() == model.predict(ROWS).tolist()
    np.testing.assert_allclose(answers["probabilities"], model.predict_proba(ROWS))
    card = packed.package.read("card.md").decode()
    assert "It runs as its own code" in card
    assert "Why this route: It was asked for." in card
    assert "- native" in card
