"""Files that run code when they are opened, at every door (row H5 of the abuse plan): no canary is ever tripped."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from modelwright import wiring
from modelwright.adapters.inspection.files import look
from modelwright.adapters.stores.package_files import open_path, write_zip
from modelwright.core import package_codec
from modelwright.core.errors import ModelwrightError
from modelwright.core.native import Native
from modelwright.core.package import Description
from modelwright.core.signature import Feature, Signature, TensorSpec
from modelwright.interfaces.cli.app import run as main

_spec = importlib.util.spec_from_file_location("malicious", Path(__file__).parent / "malicious.py")
malicious = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(malicious)
CARRIERS = malicious.CARRIERS
SECRET = "the-secret-6f1c"
SIDE_BY_SIDE = 4
UNPICKLE = "import pickle, sys\nwith open(sys.argv[1], 'rb') as file:\n    while True:\n        pickle.load(file)"
UNPACK = "import joblib, sys\njoblib.load(sys.argv[1])"


class Traps:
    """What a hostile file tries, all of it; ``tripped`` tells what it managed."""

    def __init__(self, folder):
        self.folder, self.listener = folder, socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        (folder / "secret").write_text(SECRET)
        source = f"""
import os, socket, subprocess
for act in (
    lambda: open({str(folder / "written")!r}, "w").close(),
    lambda: os.system("touch " + {str(folder / "spawned")!r}),
    lambda: subprocess.run(["touch", {str(folder / "spawned")!r}]),
    lambda: os.kill(os.getppid(), 0) or open({str(folder / "signalled")!r}, "w").close(),
    lambda: socket.create_connection(("127.0.0.1", {self.listener.getsockname()[1]}), 2).close(),
):
    try:
        act()
    except BaseException:
        pass
raise RuntimeError(open({str(folder / "secret")!r}).read())
"""
        self.code = f"exec({source!r}, {{}})"  # wherever it runs, its lambdas see its imports

    def tripped(self, said=""):
        found = [name for name in ("written", "spawned", "signalled") if (self.folder / name).exists()]
        try:
            self.listener.accept()[0].close()
            found.append("connected")
        except BlockingIOError:
            pass
        return found + (["told the secret"] if SECRET in said else [])


@pytest.fixture
def traps(tmp_path):
    made = Traps(tmp_path)
    yield made
    made.listener.close()


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("x,y\n" + "".join(f"{value},{value % 2}\n" for value in range(20)))
    return path


def command(folder, *words):
    line = [sys.executable, "-m", "modelwright", *map(str, words)]
    env = os.environ | {"MODELWRIGHT_HOME": str(folder / "home")}
    done = subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True, timeout=240, check=False)
    return done.returncode, done.stdout + done.stderr


def package_around(path, content):
    """A native package, as a stranger makes it by hand, whose model is the file."""
    signature = Signature(
        (TensorSpec("X", "FP64", (-1, 1), ("x",)),),
        (TensorSpec("label", "INT64", (-1,)),),
        features=(Feature("x", "number"),),
        label_output="label",
    )
    described = Description("m", "sklearn", "1", "X", "native", "2026-11-21T00:00:00+00:00", "3.11")
    files = {
        "model.joblib": content,
        package_codec.NATIVE: package_codec.native_json(Native("sklearn", "model.joblib")),
        package_codec.DESCRIPTION: package_codec.description_json(described),
        package_codec.SIGNATURE: package_codec.signature_json(signature),
    }
    write_zip(package_codec.assemble("m", files), path)


def test_there_are_forty_of_them():
    assert len(CARRIERS) >= 40


@pytest.mark.parametrize("name", sorted(set(CARRIERS) - malicious.NOT_RUN_BY_PICKLE))
def test_h5_each_of_them_is_alive_where_nothing_holds_it(traps, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(CARRIERS[name](traps.code))
    program = UNPACK if name.endswith(".joblib") else UNPICKLE
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=False, timeout=60
    )
    assert {"written", "spawned", "connected"} <= set(traps.tripped(done.stderr))


@pytest.mark.parametrize("name", sorted(CARRIERS))
def test_h5_inspect_names_what_is_dangerous_and_runs_nothing(traps, tmp_path, capsys, name):
    path = tmp_path / name
    path.write_bytes(CARRIERS[name](traps.code))
    before = set(sys.modules)
    assert main(["inspect", str(path), "--json"]) == 3
    said = capsys.readouterr().out
    told = json.loads(said)
    assert told["dangerous"]
    assert any(row["meaning"] == "dangerous" for row in told["imports"]), told
    assert not {"timeit", "cProfile", "bdb", "trace", "doctest"} & (set(sys.modules) - before)
    assert traps.tripped(said) == []


def answer(runners, package):
    """Load and ask: what swallows its own errors may open, and is no model."""
    with closing(runners.load(package)) as runner:
        runner.run({"X": np.ones((1, 1))})


@pytest.mark.timeout(900)  # eighty processes, each of which imports scikit-learn
def test_h5_no_way_to_pack_or_load_them_trips_anything(traps, tmp_path, rows):
    bench, examples = wiring.workbench(), wiring.file_source().read(rows).without("y")

    def through(name):
        content, folder = CARRIERS[name](traps.code), tmp_path / name.replace(".", "-")
        folder.mkdir()
        (folder / name).write_bytes(content)
        package_around(folder / "m.mw", content)
        yield answer, (bench.runners, open_path(folder / "m.mw"))
        for framework in bench.frameworks:
            if framework.owns(folder / name):
                yield framework.convert, (folder / name, examples)

    def told(name):
        said = []
        for call, arguments in through(name):
            with pytest.raises(ModelwrightError) as refused:
                call(*arguments)
            said.append(json.dumps(refused.value.to_json()))
        return name, said

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for name, said in pool.map(told, sorted(CARRIERS)):
            assert said, name
            assert traps.tripped(" ".join(said)) == [], name


@pytest.mark.parametrize("name", ["joblib_after_an_array.joblib"])
def test_h5_check_compare_and_register_trip_nothing(traps, tmp_path, rows, name):
    content = CARRIERS[name](traps.code)
    (tmp_path / name).write_bytes(content)
    package_around(tmp_path / "m.mw", content)
    labelled = ("--data", rows, "--target", "y")
    for words in (
        ("inspect", "m.mw"),
        ("check", "m.mw", *labelled),
        ("check", name, *labelled),
        ("check", "m.mw", *labelled, "--against", "m.mw"),
        ("release", name, "--name", "m", *labelled),
        ("watch", "compare", name, name),
    ):
        code, said = command(tmp_path, *words)
        assert (code != 0) == (words[:2] != ("inspect", "m.mw")), (words, said)
        assert "Traceback" not in said, words
        assert traps.tripped(said) == [], words


def test_what_models_are_made_of_is_not_called_dangerous(tmp_path):
    import joblib  # only here
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(3)
    samples = random.random((60, 3))
    model = make_pipeline(StandardScaler(), RandomForestClassifier(5)).fit(samples, samples[:, 0] > 0.5)
    for compress in (0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3)):
        joblib.dump(model, tmp_path / "model.joblib", compress=compress)
        found = look(tmp_path / "model.joblib")
        assert (found.doubts, found.dangerous) == ([], False)
        assert "RandomForestClassifier" in {name.attribute for name in found.names}


def test_what_cannot_be_read_is_a_doubt_and_never_an_exception(tmp_path):
    random = np.random.default_rng(4)
    whole = [CARRIERS[name]("pass") for name in sorted(CARRIERS)]
    path = tmp_path / "model.pkl"
    for number in range(400):
        content = bytearray(whole[number % len(whole)])
        for at in random.integers(0, len(content), 3):
            content[at] = random.integers(0, 256)
        path.write_bytes(content[: random.integers(1, len(content) + 1)])
        look(path)
