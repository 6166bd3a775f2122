"""A world around a held process: files, a neighbour, listeners; and how such a process is started."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pty
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from modelwright.jail import available, environment

PROBES = Path(__file__).with_name("probes.py")
NOBODY = 2_000_000_000
FILE_BYTES = 1 << 20


ENTERS = """
import sys
from pathlib import Path, PosixPath
from modelwright.jail import Confinement, enter, tie_to_parent
tie_to_parent({parent!r})
held = enter(Confinement(Path({scratch!r}), **{limits!r}))
{code}
"""


def program(scratch, code, parent, **limits):
    """What enters with ``limits`` and then runs ``code``, which knows what is ``held``."""
    asked = {"level": "strict", "memory_bytes": 2**33, "cpu_seconds": 60, "file_bytes": FILE_BYTES} | limits
    return ENTERS.format(parent=parent, scratch=str(scratch), limits=asked, code=code)


def held_process(scratch, code, **limits):
    """A process that enters with ``limits`` and then runs ``code``."""
    return subprocess.Popen(
        [sys.executable, "-I", "-B", "-c", program(scratch, code, os.getpid(), **limits)],
        env=environment(scratch),
        cwd=scratch,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@dataclass
class World:
    base: Path
    neighbour: subprocess.Popen
    listeners: list[socket.socket]
    memory: ctypes.Array = field(default_factory=lambda: ctypes.create_string_buffer(b"neighbour", 16))

    def scratch(self, user=None):
        made = Path(tempfile.mkdtemp(dir=self.base, prefix="scratch-"))
        made.chmod(0o700)
        if user is not None:
            os.chown(made, user, user)
        return made

    def state(self):
        """All that a neighbour could lose: files with their modes, owners and times, its limits, its memory."""
        files = {}
        for path in sorted(self.base.rglob("*")):
            if path.is_file() and "scratch-" not in str(path):
                found = path.lstat()
                files[path.name] = (path.read_bytes(), found.st_mode, found.st_uid, found.st_mtime_ns, found.st_nlink)
        limits = Path(f"/proc/{self.neighbour.pid}/limits").read_text()
        affinity = os.sched_getaffinity(self.neighbour.pid)
        niceness = os.getpriority(os.PRIO_PROCESS, self.neighbour.pid)
        return files, limits, affinity, niceness, self.neighbour.poll(), self.memory.raw, _reached(self.listeners)

    def try_out(self, level, *, user=None, **more):
        """What the probes got back in a process held at ``level``."""
        scratch = self.scratch(user)
        ours, theirs = socket.socketpair()
        terminal, theirs_terminal = pty.openpty()
        answer, report = os.pipe()
        kept_read = os.open(self.base / "home" / "secret", os.O_RDONLY)
        plan = {
            "level": level,
            "user": user,
            "scratch": str(scratch),
            "scratch_bytes": 0,
            "memory_files": False,
            "mask": [],
            "without": 0,
            "only": None,
            "rules": None,
            "machine": None,
            "threads_before": 0,
            "file_bytes": FILE_BYTES,
            "parent": os.getpid(),
            "neighbour": self.neighbour.pid,
            "address": ctypes.addressof(self.memory),
            "base": str(self.base),
            "home": str(self.base / "home"),
            "home_file": str(self.base / "home" / "secret"),
            "data": str(self.base / "data"),
            "data_file": str(self.base / "data" / "registry"),
            "empty": str(self.base / "data" / "empty"),
            "port": self.listeners[0].getsockname()[1],
            "unix": str(self.base / "listener"),
            "abstract": self.listeners[2].getsockname()[1:].decode(),
            "kept_socket": theirs.fileno(),
            "kept_read": kept_read,
            "not_kept": theirs_terminal,
            "terminal": theirs_terminal,
            "terminal_path": os.ttyname(theirs_terminal),
        } | more
        (self.base / "plan.json").write_text(json.dumps(plan))
        given = (report, theirs.fileno(), kept_read, theirs_terminal)
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-B", str(PROBES), str(self.base / "plan.json"), str(report)],
                pass_fds=given,
                env=environment(scratch),
                cwd=scratch,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            os.close(report)
            with os.fdopen(answer, "rb") as pipe:
                said = pipe.read()
            _, words = process.communicate(timeout=60)
        finally:
            for descriptor in (kept_read, terminal, theirs_terminal):
                os.close(descriptor)
            ours.close(), theirs.close()
            (self.base / "plan.json").unlink()
        assert said, words.decode()
        return json.loads(said)


@pytest.fixture
def hold(tmp_path, strict_here):
    """Runs code in a held process to its end: its status, what it said, and its scratch directory afterwards."""

    def run(code, *, scratch=None, **limits):
        scratch = scratch or Path(tempfile.mkdtemp(dir=tmp_path)).resolve()
        process = held_process(scratch, code, **limits)
        said, words = process.communicate(timeout=120)
        assert "Traceback" not in words, words
        return process.returncode, said.split(), scratch

    return run


@pytest.fixture
def program_of():
    """The text of such a program, for whoever starts it itself."""
    return program


def _reached(listeners):
    reached = []
    for listener in listeners:
        with contextlib.suppress(BlockingIOError):
            listener.accept()
            reached.append(listener.getsockname())
    return reached


@pytest.fixture
def strict_here():
    """What is tried needs a kernel that can hold a process at all; what is reported elsewhere is tried by masking."""
    found = available()
    if found.level != "strict":
        pytest.skip(f"no strict level here; missing: {', '.join(found.missing)}")


@pytest.fixture
def world(strict_here):
    base = Path(tempfile.mkdtemp(prefix="modelwright-world-")).resolve()
    base.chmod(0o755)
    for place, name in (("home", "secret"), ("data", "registry")):
        (base / place).mkdir()
        (base / place / name).write_bytes(b"planted")
        (base / place / name).chmod(0o644)
    (base / "data" / "empty").mkdir()
    listeners = [socket.socket(), socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)]
    addresses = [("127.0.0.1", 0), str(base / "listener"), f"\0{base.name}"]
    for listener, address in zip(listeners, addresses, strict=True):
        listener.bind(address)
        listener.listen()
        listener.setblocking(False)
    neighbour = subprocess.Popen(["sleep", "300"], env={"SECRET_TOKEN": "planted"})
    try:
        yield World(base, neighbour, listeners)
    finally:
        neighbour.kill()
        neighbour.wait()
        for listener in listeners:
            listener.close()
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def as_same_user(world):
    """Where root runs the tests: the world belongs to a plain user, whom the held process is too."""
    if os.geteuid() != 0:
        return None
    for path in (world.base, *world.base.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    world.neighbour.kill()
    world.neighbour.wait()
    world.neighbour = subprocess.Popen(["sleep", "300"], env={"SECRET_TOKEN": "planted"}, user=NOBODY, group=NOBODY)
    return NOBODY
