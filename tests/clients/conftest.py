"""Clients of the field, each in an environment of its own under ``build/clients``, and a gateway for them to call."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import signal
import socket
import subprocess
import sys
import venv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from modelwright.adapters.frameworks.sklearn import SklearnFramework
from modelwright.adapters.stores.package_files import write_zip
from modelwright.core.table import Table
from modelwright.pack import build

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / "build" / "clients"


def install(name):
    """The environment of ``tests/clients/<name>/requirements.txt``; made anew when that file or Python has changed."""
    home, requirements = ENVIRONMENTS / name, HERE / name / "requirements.txt"
    mark = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    stamp = home / "installed"
    if not (stamp.exists() and stamp.read_text() == mark):
        venv.create(home, clear=True, with_pip=True)
        pip = [home / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--requirement", requirements], check=True, timeout=600)
        stamp.write_text(mark)
    return home


@pytest.fixture(scope="session")
def environment():
    return install


@pytest.fixture(scope="session")
def ask():
    """``ask(name, *arguments)``: what ``tests/clients/<name>/calls.py`` prints, run by that client's Python."""

    def run(name, *arguments):
        command = [install(name) / "bin" / "python", HERE / name / "calls.py", *arguments]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def iris():
    """Rows of two kinds of flower, and a fitted classifier of them."""
    random = np.random.default_rng(7)
    rows = np.vstack([random.normal(middle, 1.0, (60, 2)) for middle in (0.0, 2.0)])
    table = {"length": rows[:, 0], "width": rows[:, 1]}
    model = LogisticRegression().fit(rows, np.repeat([0, 1], 60))
    return SimpleNamespace(table=table, rows=rows, model=model)


@pytest.fixture(scope="session")
def iris_package(iris):
    conversion = SklearnFramework().convert(iris.model, Table(iris.table))
    return build(conversion, name="iris", examples=Table(iris.table), created_at="2026-01-01T00:00:00+00:00")


@contextlib.contextmanager
def gateway(home, *packages):
    """A gateway process over both protocols."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        grpc = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [sys.executable, "-m", "modelwright.processes.gateway", "--home", home / "home", "--no-auth"]
    command += ["--http", "127.0.0.1:0", "--grpc", grpc]
    for package in packages:
        write_zip(package, home / f"{package.name}.mw")
        command += ["--package", home / f"{package.name}.mw"]
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        ready = next(match for line in process.stdout if (match := re.match(r"ready http://(\S+)", line)))
        yield SimpleNamespace(http=ready[1], grpc=grpc)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


@pytest.fixture(scope="session")
def served(tmp_path_factory, sum_package, echo_package, iris_package):
    """A gateway with known sums, an echo of text and the classifier."""
    echo = echo_package("echo", {"text": ("BYTES", (-1, 1))})
    with gateway(tmp_path_factory.mktemp("clients"), sum_package("total"), echo, iris_package) as process:
        yield process


@pytest.fixture(scope="session")
def alone(tmp_path_factory, iris_package):
    """A gateway with the classifier only: some dialects know one model to a server."""
    with gateway(tmp_path_factory.mktemp("alone"), iris_package) as process:
        yield process
