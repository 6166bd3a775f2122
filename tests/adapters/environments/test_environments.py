"""Environments that are built from a lock: exactly what it says, whole or not at all, and what runs in them."""

import hashlib
import json
import subprocess
import sys
import threading
from importlib.metadata import version

import numpy as np
import pytest
from click.testing import CliRunner

import modelwright.adapters.environments.built as built_module
from modelwright.adapters.environments.built import Environments, lock_of
from modelwright.adapters.environments.pip import wheel_digests
from modelwright.core import package_codec
from modelwright.core.lock import Pin, pins, requirements
from modelwright.interfaces.cli.app import cli
from modelwright.testing.errors import error_code

MODEL = """
import numpy as np
import weather


def predict(inputs):
    return {"prediction": inputs["x"][:, 0] + weather.DEGREES}
"""


def tiny(make_wheel, folder, **more):
    """A lock of wheels that hold next to nothing, in a wheelhouse."""
    folder.mkdir(exist_ok=True)
    paths = [
        make_wheel(folder, name, "0.1", {f"{name}.py": text})
        for name, text in ({"numpy": "X = 1\n", "leaf": "Y = 1\n"} | more).items()
    ]
    return tuple(Pin(p.name.split("-")[0], "0.1", "", hashlib.sha256(p.read_bytes()).hexdigest()) for p in paths)


def runner(folder):
    """``run(*words)``: a command over a data directory of its own; what it says, as JSON."""

    def invoke(*words):
        words = [str(folder / word) if str(word).endswith((".mw", ".py", ".csv")) else str(word) for word in words]
        done = CliRunner().invoke(cli, [*words, "--json"], env={"MODELWRIGHT_HOME": str(folder / "home")})
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return json.loads(done.output)

    return invoke


@pytest.fixture
def run(tmp_path):
    return runner(tmp_path)


def packed(run, folder, wheels, number):
    (folder / "model.py").write_text(MODEL)
    (folder / "rows.csv").write_text("x\n1.5\n2.5\n3.5\n")
    wanted = folder / f"weather{number}.txt"
    wanted.write_text(f"weather=={number}\nnumpy=={version('numpy')}\n")
    own = ("--requirements", wanted, "--wheelhouse", wheels)
    return run("pack", "model.py", "--name", "weather", "--data", "rows.csv", "-o", f"weather{number}.mw", *own)


def answer(run, number):
    return run("predict", f"weather{number}.mw", '{"x": 1.5}')["prediction"]


@pytest.fixture(scope="module")
def both(tmp_path_factory, wheels):
    """Two models with libraries of their own, and the command that reaches them; what packing them said."""
    folder = tmp_path_factory.mktemp("both")
    run = runner(folder)
    return run, {number: packed(run, folder, wheels, number) for number in ("1.0", "2.0")}


def test_two_models_run_side_by_side_each_with_its_own_libraries(both):
    run, told = both
    for number, said in told.items():
        assert [row["version"] for row in said["environment"] if row["name"] == "weather"] == [number]
    assert [answer(run, "1.0"), answer(run, "2.0"), answer(run, "1.0")] == [[11.5], [21.5], [11.5]]
    held = run("environments", "list")
    assert sorted(pin["version"] for one in held for pin in one["pins"] if pin["name"] == "weather") == ["1.0", "2.0"]


def test_a_package_whose_environment_is_not_here_says_how_to_build_it_and_then_runs(both, wheels):
    run, _ = both
    answer(run, "1.0")
    digest = run("environments", "list")[0]["digest"]
    assert run("environments", "remove", digest[:10])["digest"] == digest
    assert error_code(answer, run, "1.0") == "environment.not-built"
    assert run("environments", "build", "weather1.0.mw", "--wheelhouse", wheels)["digest"] == digest
    assert answer(run, "1.0") == [11.5]


def test_what_is_not_needed_is_collected(run, tmp_path, make_wheel):
    environments = Environments(tmp_path / "home" / "environments")
    environments.build(tiny(make_wheel, tmp_path / "wheels"), wheelhouse=tmp_path / "wheels")
    assert run("environments", "gc") == []
    assert len(run("environments", "gc", "--days", 0)) == 1
    assert run("environments", "list") == []


def test_nothing_of_a_lock_runs_outside_the_jail(run, tmp_path, wheels, make_wheel):
    mark = tmp_path / "mark"
    act = f"open({str(mark)!r}, 'w').close()"
    hostile = {
        "weather.py": f"try:\n    {act}\nexcept OSError:\n    pass\nDEGREES = 3.0\n",
        "weather.pth": f"import builtins; exec({act!r})\n",
        "sitecustomize.py": act + "\n",
        "socket.py": act + "\n",
    }
    folder = tmp_path / "wheels"
    folder.mkdir()
    for path in wheels.glob("numpy-*"):
        (folder / path.name).symlink_to(path)
    make_wheel(folder, "weather", "3.0", hostile)
    packed(run, tmp_path, folder, "3.0")
    assert answer(run, "3.0") == [4.5]
    assert not mark.exists()
    site = run("environments", "list")[0]["site"]
    subprocess.run([sys.executable, "-I", "-c", f"import site; site.addsitedir({site!r})"], check=True, timeout=60)
    assert mark.exists()  # the canary is alive


def test_an_environment_is_built_once_by_whoever_comes_first(tmp_path, make_wheel, monkeypatch):
    lock = tiny(make_wheel, tmp_path / "wheels")
    installs = []
    install = built_module.pip.install
    monkeypatch.setattr(
        built_module.pip, "install", lambda *said, **how: (installs.append(said), install(*said, **how))
    )
    places = []

    def build():
        places.append(Environments(tmp_path / "home").build(lock, wheelhouse=tmp_path / "wheels").site)

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(places), len(set(places)), len(installs)) == (4, 1, 1)
    assert sorted(path.name for path in places[0].glob("*.py")) == ["leaf.py", "numpy.py"]


@pytest.mark.parametrize("damage", ["digest", "version", "wheel"])
def test_another_wheel_than_the_locked_one_is_not_installed_and_nothing_is_left(tmp_path, make_wheel, damage):
    lock = tiny(make_wheel, tmp_path / "wheels")
    if damage == "digest":
        lock = (lock[0], Pin("leaf", "0.1", "", "0" * 64))
    elif damage == "version":
        lock = (lock[0], Pin("leaf", "0.2", "", lock[1].wheel_sha256))
    else:
        make_wheel(tmp_path / "wheels", "leaf", "0.1", {"leaf.py": "Y = 666\n"})
    environments = Environments(tmp_path / "home")
    assert error_code(environments.build, lock, wheelhouse=tmp_path / "wheels") == "environment.pip-failed"
    assert environments.held() == []
    assert [path for path in (tmp_path / "home").iterdir() if path.is_dir()] == []


def test_a_lock_without_digests_is_refused_unless_the_index_is_trusted(tmp_path, make_wheel):
    lock = tuple(Pin(pin.name, pin.version) for pin in tiny(make_wheel, tmp_path / "wheels"))
    environments = Environments(tmp_path / "home")
    assert error_code(environments.build, lock, wheelhouse=tmp_path / "wheels") == "environment.no-hashes"
    built = environments.build(lock, wheelhouse=tmp_path / "wheels", trust_index=True)
    assert not built.hashed
    assert (built.site / "leaf.py").exists()


def test_source_distributions_are_never_built(tmp_path, make_wheel):
    lock = tiny(make_wheel, tmp_path / "wheels")
    folder = tmp_path / "wheels"
    (folder / "leaf-0.1-py3-none-any.whl").unlink()
    (folder / "setup.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')\n")
    subprocess.run(["tar", "czf", "leaf-0.1.tar.gz", "setup.py"], cwd=folder, check=True)
    wanted = (lock[0], Pin("leaf", "0.1"))
    code = error_code(Environments(tmp_path / "home").build, wanted, wheelhouse=folder, trust_index=True)
    assert code == "environment.pip-failed"
    assert not (tmp_path / "mark").exists()


def test_a_build_that_is_killed_leaves_nothing_that_is_used_and_is_swept(tmp_path, make_wheel):
    lock = tiny(make_wheel, tmp_path / "wheels")
    program = f"""
import os, signal
from pathlib import Path
from modelwright.adapters.environments import built, pip
from modelwright.core.lock import Pin
install = pip.install
def half(*said, **how):
    install(*said, **how)
    os.kill(os.getpid(), signal.SIGKILL)
built.pip.install = half
lock = [Pin(*row) for row in {[(p.name, p.version, "", p.wheel_sha256) for p in lock]!r}]
built.Environments(Path({str(tmp_path / "home")!r})).build(lock, wheelhouse=Path({str(tmp_path / "wheels")!r}))
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    environments = Environments(tmp_path / "home")
    assert len(list((tmp_path / "home").glob(".building-*"))) == 1
    assert environments.held() == []
    built = environments.build(lock, wheelhouse=tmp_path / "wheels")
    assert environments.sweep(lambda _: True) == []
    assert [path.name for path in (tmp_path / "home").iterdir() if path.is_dir()] == [built.digest]


def test_what_all_may_take_of_the_disk_is_bounded(tmp_path, make_wheel):
    lock = tiny(make_wheel, tmp_path / "wheels", big="Z = 1\n" * 100_000)
    environments = Environments(tmp_path / "home", limit_bytes=100_000)
    assert error_code(environments.build, lock, wheelhouse=tmp_path / "wheels") == "environment.no-room"
    assert [path for path in (tmp_path / "home").iterdir() if path.is_dir()] == []


def test_a_lock_is_met_by_the_server_only_where_every_distribution_is_there_in_its_version(sum_package, tmp_path):
    numpy = next(pin for pin in own_lock() if pin.name == "numpy")
    environments = Environments(tmp_path)
    assert environments.place(with_lock(sum_package(), numpy)) is None
    assert environments.place(with_lock(sum_package())) is None
    others = (
        Pin("numpy", "1.2.3"),
        Pin("nobody-has-this", "1.0"),
    )
    for pin in others:
        assert error_code(environments.place, with_lock(sum_package(), pin)) == "environment.not-built"
        assert Environments(tmp_path, use="server").place(with_lock(sum_package(), pin)) is None
    own = Environments(tmp_path, use="own")
    assert error_code(own.place, with_lock(sum_package(), numpy)) == "environment.not-built"


def own_lock():
    from modelwright.adapters.frameworks.environment import environment  # adapters are only met in tests

    return pins(environment({"numpy"}))


def with_lock(package, *locked):
    files = {name: package.read(name) for name in package.manifest.files}
    rows = json.dumps([pin.to_row() for pin in locked]).encode()
    return package_codec.assemble(package.name, files | {"environment.json": rows})


INJECTED = [
    ("numpy\n--index-url=http://evil.example", "1.0"),
    ("numpy", "1.0\n--extra-index-url http://evil.example"),
    ("numpy @ http://evil.example/numpy.whl #", "1.0"),
    ("-r/etc/passwd", "1.0"),
    ("../numpy", "1.0"),
    ("numpy[extra]", "1.0"),
    ("numpy", "1.0 ; python_version > '3'"),
    ("numpy", "*"),
    ("numpy", ">=1"),
    ("numpy", "1.0 --hash=sha256:" + "0" * 64),
    ("numpy", "$(touch mark)"),
    ("numpy\u2028x", "1.0"),
    ("numpy", ""),
    ("", "1.0"),
    ("numpy\0", "1.0"),
]


@pytest.mark.parametrize(("name", "number"), INJECTED)
def test_a_lock_with_anything_but_names_and_exact_versions_is_refused(sum_package, tmp_path, name, number):
    package = sum_package()
    files = {held: package.read(held) for held in package.manifest.files}
    rows = json.dumps([{"name": name, "version": number, "record_sha256": ""}]).encode()
    stranger = package_codec.assemble(package.name, files | {"environment.json": rows})
    assert error_code(lock_of, stranger) == "package.malformed"
    assert error_code(Environments(tmp_path).place, stranger) == "package.malformed"


def test_a_digest_that_is_none_is_refused():
    rows = [{"name": "numpy", "version": "1.0", "wheel_sha256": "0" * 64 + " --index-url=http://evil.example"}]
    assert error_code(pins, rows) == "package.malformed"


def test_requirements_name_the_digests_that_are_known():
    lock = (Pin("a", "1.0", "", "0" * 64), Pin("b", "2.0+cpu"))
    assert requirements(lock) == f"a==1.0 --hash=sha256:{'0' * 64}\nb==2.0+cpu\n"


def test_digests_come_from_the_wheels_that_would_be_installed(tmp_path, make_wheel):
    lock = tiny(make_wheel, tmp_path / "wheels")
    bare = [Pin(pin.name, pin.version) for pin in lock]
    assert wheel_digests(bare, tmp_path, wheelhouse=tmp_path / "wheels") == {p.name: p.wheel_sha256 for p in lock}


def test_digests_that_cannot_be_had_are_left_out_and_said(run, tmp_path, wheels):
    (tmp_path / "model.py").write_text("def predict(inputs):\n    return {'y': inputs['x'][:, 0]}\n")
    (tmp_path / "rows.csv").write_text("x\n1.5\n2.5\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    pack = ("pack", "model.py", "--name", "m", "--data", "rows.csv", "-o", "m.mw", "--lock-hashes", "--wheelhouse")
    told = run(*pack, empty)
    assert told["description"]["notes"]["lock"].startswith("No digests of wheels: ")
    assert not any("wheel_sha256" in row for row in told["environment"])
    told = run(*pack, wheels)
    assert told["description"]["notes"]["lock"] == "Digests of wheels: all 1."
    assert np.all([len(row["wheel_sha256"]) == 64 for row in told["environment"]])
