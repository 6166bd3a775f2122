from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.testclient import TestClient

from modelwright import wiring
from modelwright.core.errors import UnavailableError
from modelwright.lifecycle import STORIES
from modelwright.ports.platform import Platform
from modelwright.ports.workflow import Json, Steps
from modelwright.processes.control import (
    KEPT_ROUNDS,
    MAX_HEAD_BYTES,
    Keeper,
    application,
    first_token,
    keep_once,
    serve_http,
    server_config,
)
from modelwright.processes.logs import JsonLines
from modelwright.settings import load
from modelwright.testing.workflow import InlineWorkflow


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    settings = load({"home": tmp_path / "home", "project": tmp_path / "none.yaml"}, environ={})
    with wiring.platform(settings) as wired:
        yield wired


@pytest.fixture
def workflow(platform: Platform) -> Iterator[InlineWorkflow]:
    inline = InlineWorkflow(platform, STORIES)
    yield inline
    inline.close()


def test_the_first_start_makes_an_admin_token_and_the_next_makes_none(platform: Platform) -> None:
    token = first_token(platform)
    assert token is not None
    actor = platform.tokens.actor(token)
    assert actor is not None
    assert (actor.subject, actor.role) == ("admin", "admin")
    assert first_token(platform) is None
    assert token not in (platform.home / "modelwright.db").read_bytes().decode("latin-1")


def test_api_and_pages_answer_on_one_address_over_the_real_stores(
    platform: Platform, workflow: InlineWorkflow, tmp_path: Path
) -> None:
    settings = load({"home": tmp_path / "home"}, environ={})
    app = application(platform, workflow, settings=settings)
    token = first_token(platform)
    client = TestClient(app, base_url="http://127.0.0.1:8081", follow_redirects=False)
    assert client.get("/api/status", headers={"authorization": f"Bearer {token}"}).json()["models"] == []
    assert client.post("/login", data={"token": token or ""}).headers["location"] == "/"
    assert "No model yet" in client.get("/").text
    for answer in (client.get("/api/status"), client.get("/"), client.get("/nothing")):
        assert "content-security-policy" in answer.headers


def test_a_request_head_over_the_limit_is_refused_before_it_is_kept(
    platform: Platform, workflow: InlineWorkflow, tmp_path: Path
) -> None:
    settings = load({"home": tmp_path / "home"}, environ={})
    app = application(platform, workflow, settings=settings, authenticate=False)
    server = uvicorn.Server(server_config(app, settings))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        with socket.create_connection(listener.getsockname(), timeout=60) as caller:
            caller.sendall(b"GET /api/status HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 4 * MAX_HEAD_BYTES)
            assert b" 400 " in caller.recv(64)
        server.should_exit = True
        thread.join(60)
    assert not thread.is_alive()


def test_a_round_of_keeping_runs_the_keep_story(platform: Platform, workflow: InlineWorkflow) -> None:
    keep_once(platform, workflow)
    state = workflow.states()[0]
    assert (state.story, state.status) == ("keep", "done")


def test_rounds_of_keeping_do_not_pile_up(platform: Platform, workflow: InlineWorkflow) -> None:
    for _ in range(KEPT_ROUNDS + 5):
        keep_once(platform, workflow)
    assert len(workflow.states(limit=1000)) == KEPT_ROUNDS


# Made anew in each test: an exception keeps the frames it went through, and with them the platform, alive.
@pytest.mark.parametrize("trouble", [lambda: UnavailableError("store.unavailable", "Away."), ZeroDivisionError])
def test_a_round_that_fails_is_logged_and_does_not_end_the_keeper(
    platform: Platform, trouble: Callable[[], Exception], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_platform: Any, _steps: Steps, _arguments: Json) -> Json:
        raise trouble()

    workflow = InlineWorkflow(platform, {"keep": fail})
    keep_once(platform, workflow)
    workflow.close()
    assert [record.getMessage() for record in caplog.records] == ["keep.failed"]


def test_a_part_of_a_round_that_fails_keeps_no_other_back(platform: Platform) -> None:
    class Recovering(InlineWorkflow):
        recovered = 0

        def recover(self) -> int:
            self.recovered += 1
            return 0

    workflow = Recovering(platform, {})  # it knows no story "keep"
    keep_once(platform, workflow)
    workflow.close()
    assert workflow.recovered == 1


def test_the_keeper_keeps_again_and_again_until_it_is_stopped(platform: Platform) -> None:
    rounds: list[int] = []
    thrice = threading.Event()

    def count(_platform: Any, _steps: Steps, _arguments: Json) -> Json:
        rounds.append(1)
        if len(rounds) == 3:
            thrice.set()
        return {}

    workflow = InlineWorkflow(platform, {"keep": count})
    keeper = Keeper(platform, workflow, 0.001)
    keeper.start()
    assert thrice.wait(60)
    keeper.stop()
    kept = len(rounds)
    assert not keeper.is_alive()
    assert len(rounds) == kept
    workflow.close()


def test_a_child_whose_parent_is_gone_already_ends_at_once() -> None:
    code = "from modelwright.processes.child import die_with_parent; die_with_parent(1); print('lived')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "")
    code = f"from modelwright.processes.child import die_with_parent; die_with_parent({os.getpid()}); print('lived')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stdout == "lived\n"


def test_a_log_line_is_one_json_object_with_its_fields_and_its_error() -> None:
    record = logging.makeLogRecord({"name": "modelwright.x", "levelno": 30, "levelname": "WARNING", "msg": "it.broke"})
    record.model = Path("/a\nb")
    try:
        int("two\nlines")
    except ValueError:
        record.exc_info = sys.exc_info()
    line = JsonLines("control").format(record)
    assert "\n" not in line
    told = json.loads(line)
    assert (told["event"], told["level"], told["process"], told["model"]) == ("it.broke", "warning", "control", "/a\nb")
    assert "invalid literal for int" in told["error"]


def test_no_authentication_on_an_address_that_others_reach_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "modelwright.processes.control", "--home", str(tmp_path), "--no-auth"]
    ended = subprocess.run([*command, "--control", "0.0.0.0:0"], capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "serve.refused-bind" in ended.stderr


def test_a_signal_that_comes_before_the_server_runs_still_ends_it() -> None:
    async def untouched(scope: object, *_: object) -> None:
        raise AssertionError(scope)

    config = server_config(untouched, load({}, environ={}))
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        try:
            serve_http(config, listener, ready=lambda: os.kill(os.getpid(), signal.SIGTERM))
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        assert listener.fileno() == -1  # it was served, and given back
