"""``pip install modelwright`` alone: it serves and packs graphs, and says of every extra how to install it."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
import urllib.request
import venv

import pytest

from modelwright.adapters.frameworks.listing import LISTED
from modelwright.adapters.stores.package_files import write_zip

pytestmark = pytest.mark.clients
HEAVY = {"catboost", "lightgbm", "onnx", "pandas", "pyarrow", "scikit-learn", "tensorflow", "torch", "xgboost-cpu"}
# A file that the adapter knows as one of its own, by the title of what it takes.
FILES = {
    "scikit-learn": ("model.joblib", b"\x80\x05N."),
    "XGBoost": ("model.ubj", b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner"),
    "LightGBM": ("model.txt", b"tree\nversion=v4\nnum_class=1\n"),
    "CatBoost": ("model.cbm", b"CBM1"),
    "PyTorch": ("model.pt", b"PK\x03\x04"),
    "transformers": ("model/config.json", b'{"architectures": ["BertModel"], "model_type": "bert"}'),
    "TensorFlow, Keras": ("model.keras", b"PK\x03\x04"),
    "MLflow": ("model/MLmodel", b"flavors:\n  python_function:\n    loader_module: mlflow.pyfunc.model\n"),
}
OBJECTS = {"statsmodels", "river"}  # taken in memory, or out of pickles, which are opened as those of scikit-learn
EXTRAS = [row for row in LISTED if row.extra and row.title not in OBJECTS]


@pytest.fixture(scope="session")
def bare(request):
    """The Python of an environment that holds this project as its wheel would be, and nothing else; as locked."""
    root = request.config.rootpath
    home, lock = root / "build" / "clients" / "bare", root / "requirements.lock"
    pins = re.findall(r"^([\w.-]+==[^\s;\\]+)", lock.read_text(), flags=re.MULTILINE)
    project = (root / "pyproject.toml").read_bytes()
    mark = hashlib.sha256(lock.read_bytes() + project + sys.version.encode()).hexdigest()
    stamp, python = home / "installed", home / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not (stamp.exists() and stamp.read_text() == mark):
        venv.create(home, clear=True, with_pip=True)
        (home / "constraints.txt").write_text("\n".join(pins))
        subprocess.run([*pip, "--constraint", home / "constraints.txt", root], check=True, timeout=600)
        stamp.write_text(mark)
    else:
        subprocess.run([*pip, "--no-deps", "--force-reinstall", root], check=True, timeout=600)
    return python


@pytest.fixture
def said(bare, tmp_path):
    """``said(*arguments)``: exit code and JSON of a command of the bare core."""
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n3,4\n")

    def run(*arguments):
        command = [bare, "-m", "modelwright", *arguments, "--json"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
        assert "Traceback" not in done.stderr
        return done.returncode, json.loads(done.stdout)

    return run


def test_the_core_brings_no_heavy_library(bare):
    done = subprocess.run([bare, "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(row["name"].lower() for row in json.loads(done.stdout))


def test_the_list_says_what_is_not_installed_and_the_command_for_it(said):
    code, rows = said("frameworks")
    assert code == 0
    found = {row["title"]: row for row in rows}
    for row in EXTRAS:
        assert not found[row.title]["installed"]
        assert found[row.title]["install"] == f"pip install 'modelwright[{row.extra}]'"
    assert found["ONNX"]["installed"]


@pytest.mark.parametrize("row", EXTRAS, ids=lambda row: row.title)
def test_packing_a_model_whose_extra_is_absent_names_the_command(row, said, tmp_path):
    name, content = FILES[row.title]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    code, body = said("pack", name.partition("/")[0], "--name", "m", "--data", "rows.csv")
    assert (code, body["error"]["code"]) == (2, "pack.missing-extra")
    assert row.install in body["error"]["fix"]


def test_a_graph_is_packed_without_any_extra(said, tmp_path, sum_package):
    (tmp_path / "sum.onnx").write_bytes(sum_package().read("model.onnx"))
    code, body = said("pack", "sum.onnx", "--name", "sum")
    assert (code, body.get("name")) == (0, "sum"), body
    code, body = said("inspect", "sum.mw")
    assert (code, body["description"]["route"]) == (0, "onnx")


def test_a_graph_is_served_without_any_extra(bare, tmp_path, sum_package):
    write_zip(sum_package(), tmp_path / "total.mw")
    command = [bare, "-m", "modelwright", "--home", tmp_path / "home", "serve", "--package", tmp_path / "total.mw"]
    command += ["--http", "127.0.0.1:0", "--no-auth"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            address = next(match[1] for line in server.stdout if (match := re.match(r"ready (http://\S+)", line)))
            tensor = {"name": "X", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
            asked = json.dumps({"inputs": [tensor]}).encode()
            with urllib.request.urlopen(f"{address}/v2/models/total/infer", asked, timeout=20) as answer:
                assert json.loads(answer.read())["outputs"][0]["data"] == [6]
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=60)
