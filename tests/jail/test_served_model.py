"""The escapes again, tried by a model that a gateway serves; and what such a model leaves behind (rows K1 and K4)."""

import ctypes
import json
import os
import re
import time
import urllib.request
from pathlib import Path

import pytest

from kit.burden import answer_to, running
from kit.gateways import Gateway, serving
from modelwright.adapters.stores.package_files import write_zip

PROBES = Path(__file__).with_name("probes.py")
CLOSED = 400  # a descriptor that no process of a model has
TRIES = """
import os

import probes

PLAN = PLANTED


def ask_after_the_gateway(world):
    os.kill(os.getppid(), 0)


def tried(number):
    if number >= 0:
        return number * 7 + 13
    attempts = [*probes.PROBES.values(), ask_after_the_gateway]
    try:
        attempts[-number - 1](PLAN)
    except (OSError, ValueError):
        return 0
    return 1


def predict(inputs):
    return {"answer": [[tried(number)] for number in inputs["secret"].reshape(-1).tolist()]}
"""
LEAVES = """
import atexit, builtins, glob, os, sys, threading

PLACES = ["/dev/shm", "/tmp", "/var/tmp", "/run", ".", os.environ["TMPDIR"], os.path.dirname(__file__)]
PLACES += [os.path.dirname(os.__file__), os.path.expanduser("~")]
NAMES = [os.path.join(place, "left-by-a-model") for place in PLACES]


def leave():
    for name in NAMES:
        try:
            open(name, "w").close()
        except OSError:
            pass
    builtins.evil = sys.modules["evil"] = True
    os.environ["EVIL"] = "1"
    threading.Thread(target=threading.Event().wait).start()
    atexit.register(leave)
    return found()


def found():
    files = sum(map(os.path.exists, NAMES))
    inside = (hasattr(builtins, "evil"), "evil" in sys.modules, "EVIL" in os.environ)
    return files + sum(inside) + threading.active_count() - 1


def predict(inputs):
    secret = inputs["secret"]
    if secret[0, 0] == -1:
        return {"answer": [[leave()]]}
    if secret[0, 0] == -2:
        return {"answer": [[found()]]}
    return {"answer": secret * 7 + 13}
"""


def post(gateway, path, told=None):
    body = json.dumps(told).encode() if told else b"{}"
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.port}{path}", body, timeout=60) as answer:
        return json.loads(answer.read() or b"null")


def ask(gateway, *secrets):
    tensor = {"name": "secret", "shape": [len(secrets), 1], "datatype": "INT64", "data": secrets}
    return post(gateway, "/v2/models/served/infer", {"inputs": [tensor]})["outputs"][0]["data"]


def until_gone(path):
    limit = time.monotonic() + 30
    while path.exists():
        assert time.monotonic() < limit, f"{path} is still there"
        time.sleep(0.02)


def names_of_probes():
    return re.findall(r'^@probe\(\s*"([^"]+)"', PROBES.read_text(), re.MULTILINE)


def test_no_probe_of_a_served_model_gets_out_and_the_neighbour_is_unchanged(world, tmp_path):
    plan = {
        "base": str(world.base),
        "home": str(world.base / "home"),
        "home_file": str(world.base / "home" / "secret"),
        "data": str(world.base / "data"),
        "data_file": str(world.base / "data" / "registry"),
        "empty": str(world.base / "data" / "empty"),
        "neighbour": world.neighbour.pid,
        "parent": os.getpid(),
        "address": ctypes.addressof(world.memory),
        "port": world.listeners[0].getsockname()[1],
        "unix": str(world.base / "listener"),
        "abstract": world.listeners[2].getsockname()[1:].decode(),
        "file_bytes": 2**30,
        "terminal_path": "/dev/ptmx",
        **dict.fromkeys(("kept_read", "kept_socket", "not_kept", "terminal"), CLOSED),
    }
    package = running("served", TRIES.replace("PLANTED", repr(plan)), probes=PROBES.read_bytes())
    probes, before = [*names_of_probes(), "ask after the gateway"], world.state()
    with serving(tmp_path, package) as gateway:
        (process,) = gateway.children
        answers = ask(gateway, *range(-1, -len(probes) - 1, -1))
        assert gateway.children == [process]
        assert ask(gateway, 5) == [answer_to(5)]
    assert len(probes) > 130
    assert [name for name, through in zip(probes, answers, strict=True) if through] == []
    assert world.state() == before


@pytest.fixture
def folder(tmp_path, strict_here):
    """A gateway over a folder with the model that leaves things behind."""
    (tmp_path / "models").mkdir()
    write_zip(running("served", LEAVES), tmp_path / "models" / "served.mw")
    arguments = ["--models", tmp_path / "models", "--no-auth"]
    gateway = Gateway(tmp_path / "home", arguments, {"memory_budget": 2**30})
    gateway.wait_ready()
    yield gateway
    gateway.stop()


def test_nothing_that_a_served_model_leaves_is_found_once_it_is_unloaded(folder):
    (first,) = folder.children
    (left,) = ask(folder, -1)
    assert left >= 5  # what it could leave, it left: where it may write, and inside its own process
    assert ask(folder, -2) == [left]
    scratch = Path(f"/proc/{first}/cwd").readlink()
    assert scratch.exists()
    post(folder, "/v2/repository/models/served/unload")
    until_gone(Path(f"/proc/{first}"))
    until_gone(scratch)
    assert not any(Path(place, "left-by-a-model").exists() for place in ("/dev/shm", "/tmp", "/var/tmp", "/run"))
    post(folder, "/v2/repository/models/served/load")
    assert folder.children != [first]
    assert ask(folder, -2) == [0]
