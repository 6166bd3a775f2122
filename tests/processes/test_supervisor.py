from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelwright.processes.supervisor import banner

PATIENCE = 60.0


def _until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@dataclass
class Server:
    """A started supervisor over a scratch data directory."""

    process: subprocess.Popen[bytes]
    home: Path

    @property
    def facts(self) -> dict[str, object]:
        """What run/server.json says."""
        return json.loads((self.home / "run" / "server.json").read_text())

    @property
    def said(self) -> str:
        """Its stdout so far."""
        return (self.home.parent / "said").read_text()

    def child(self, name: str) -> int:
        """Process id of the gateway, the control process or the one that waits, or 0."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        children = [*map(int, listed.split())]
        serving = [json.loads(place.read_text())["pid"] for place in (self.home / "run").glob("gateway-*.json")]
        if name == "gateway":
            return next((pid for pid in children if pid in serving), 0)
        for pid in children:
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                if f"modelwright.processes.{name}".encode() in command and pid not in serving:
                    return pid
        return 0

    def get(self, plane: str, path: str, token: str = "") -> int:
        """Status of a GET; the time allowed covers the restart of a child."""
        connection = http.client.HTTPConnection(str(self.facts[plane]), timeout=PATIENCE)
        try:
            connection.request("GET", path, headers={"authorization": f"Bearer {token}"} if token else {})
            return connection.getresponse().status
        finally:
            connection.close()

    @property
    def token(self) -> str:
        """The first access token, from the banner."""
        return next(line.strip() for line in self.said.splitlines() if line.strip().startswith("mw_"))


def _start(home: Path, *more: str) -> subprocess.Popen[bytes]:
    arguments = ["--home", str(home), "--http", "127.0.0.1:0", "--control", "127.0.0.1:0", *more]
    command = [sys.executable, "-m", "modelwright.processes.supervisor", *arguments]
    with (home.parent / "said").open("ab") as said, (home.parent / "log").open("ab") as log:
        return subprocess.Popen(command, stdout=said, stderr=log)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    home = tmp_path / "home"
    process = _start(home)
    started = Server(process, home)
    _until(lambda: process.poll() is not None or "Ctrl-C" in started.said, "the banner")
    assert process.poll() is None, (tmp_path / "log").read_text()
    yield started
    if process.poll() is None:
        process.terminate()
        process.wait(PATIENCE)


def test_a_start_a_killed_child_of_each_kind_and_a_graceful_end(server: Server) -> None:
    assert server.get("http", "/v2/health/live", server.token) == 200
    assert server.get("control", "/api/status", server.token) == 200
    assert server.get("control", "/api/status") == 401

    for name, plane, path in (("gateway", "http", "/v2/health/live"), ("control", "control", "/api/status")):
        killed = server.child(name)
        os.kill(killed, signal.SIGKILL)
        _until(lambda killed=killed: not _alive(killed), "the child's end")
        # Nobody accepts now: the connection must queue on the supervisor's socket and be answered by the next child.
        assert server.get(plane, path, server.token) == 200
        assert server.child(name) not in {0, killed}
    assert server.said.count("mw_") == 1

    children = [server.child("gateway"), server.child("control")]
    server.process.terminate()
    assert server.process.wait(PATIENCE) == 0
    assert not any(map(_alive, children))
    assert not (server.home / "run" / "server.json").exists()


def test_a_second_server_on_the_same_data_is_refused_and_names_the_first(server: Server, tmp_path: Path) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "modelwright.processes.supervisor", "--home", str(server.home), "--http", "127.0.0.1:0"],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert second.returncode == 2
    assert "serve.already-running" in second.stderr
    assert str(server.process.pid) in second.stderr
    assert "Traceback" not in second.stderr


def test_a_killed_supervisor_takes_its_children_with_it_and_can_start_again(server: Server, tmp_path: Path) -> None:
    _until(lambda: server.child("waiting_gateway") > 0, "the spare")
    children = [server.child("gateway"), server.child("control"), server.child("waiting_gateway")]
    assert all(children)
    server.process.kill()
    server.process.wait(PATIENCE)
    _until(lambda: not any(map(_alive, children)), "the children's end")
    before = server.said
    again = _start(server.home)
    try:
        _until(lambda: server.said.count("Ctrl-C") == 2, "the second banner")
        assert "mw_" not in server.said.removeprefix(before)
    finally:
        again.send_signal(signal.SIGINT)
        assert again.wait(PATIENCE) == 0


def test_a_gateway_that_dies_is_followed_by_the_process_that_waited(server: Server) -> None:
    _until(lambda: server.child("waiting_gateway") > 0, "the spare")
    spare, killed = server.child("waiting_gateway"), server.child("gateway")
    os.kill(killed, signal.SIGKILL)
    assert server.get("http", "/v2/health/live", server.token) == 200
    _until(lambda: server.child("gateway") == spare, "the spare to serve")


def test_a_reload_ends_the_process_that_waited_because_its_code_may_be_old(server: Server) -> None:
    _until(lambda: server.child("waiting_gateway") > 0, "the spare")
    spare, before = server.child("waiting_gateway"), server.child("gateway")
    server.process.send_signal(signal.SIGHUP)
    _until(lambda: server.facts["reloads"] == 1, "the reload")
    assert not _alive(spare)
    assert server.facts["reload_error"] == ""
    assert server.child("gateway") not in {0, before, spare}


def test_what_keeps_the_control_process_from_starting_ends_the_supervisor(tmp_path: Path) -> None:
    project = tmp_path / "modelwright.yaml"
    project.write_text("models: [this is not a mapping]\n")
    process = _start(tmp_path / "home", "--project", str(project))
    assert process.wait(PATIENCE) == 1
    assert "control.cannot-start" in (tmp_path / "log").read_text()


def test_the_banner_says_where_what_and_how_to_stop() -> None:
    text = banner(http="127.0.0.1:8080", control="127.0.0.1:8081", home=Path("/data"), token="mw_x")
    for told in ("http://127.0.0.1:8080", "http://127.0.0.1:8081/", "/data", "mw_x", "only this once", "Ctrl-C"):
        assert told in text
    assert "token" not in banner(http="a", control="b", home=Path("/data"), token=None)
