import os
import stat
import subprocess
import sys
import threading
import time

import pytest

from modelwright.adapters.targets.process import ROUTING_FILE, GatewayPresence, ProcessTarget, sweep
from modelwright.core import routing_codec
from modelwright.core.errors import ConflictError, RefusedError
from modelwright.core.version import Arm, Route, RoutingTable, TokenGrant
from modelwright.testing.target import InMemoryTarget, TargetConformance


class FollowingGateway:
    """A gateway's side of the files, on a thread: takes every table, or fails to."""

    def __init__(self, run_dir, fails=""):
        self._path, self._fails = run_dir / ROUTING_FILE, fails
        self._presence = GatewayPresence(run_dir, "g0")
        self._presence.report({"pid": os.getpid(), "epoch": 0, "http": "", "error": None, "at": 0.0})
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def _follow(self):
        served = 0
        while not self._stop.wait(0.005):
            epoch = routing_codec.decode(self._path.read_bytes()).epoch if self._path.exists() else 0
            if epoch > served:
                error = {"epoch": epoch, "what": self._fails} if self._fails else None
                served = served if self._fails else epoch
                self._presence.report({"pid": 1, "epoch": served, "http": "", "error": error, "at": 0.0})

    def close(self):
        self._stop.set()
        self._thread.join()
        self._presence.close()


class TestProcessTarget(TargetConformance):
    @pytest.fixture
    def target(self, tmp_path):
        gateway = FollowingGateway(tmp_path)
        yield ProcessTarget(tmp_path)
        gateway.close()

    @pytest.fixture
    def broken(self, tmp_path):
        gateway = FollowingGateway(tmp_path, fails="the graph is damaged")
        yield ProcessTarget(tmp_path)
        gateway.close()


class TestInMemoryTarget(TargetConformance):
    @pytest.fixture
    def target(self):
        return InMemoryTarget()

    @pytest.fixture
    def broken(self):
        target = InMemoryTarget()
        target.refuses = "out of memory"
        return target


def test_without_a_live_gateway_there_is_nothing_to_wait_for(tmp_path):
    target = ProcessTarget(tmp_path / "run")
    target.publish(RoutingTable(7))
    assert target.wait(7, timeout=0.0)


def test_the_reason_of_the_gateway_reaches_the_caller(tmp_path):
    presence = GatewayPresence(tmp_path, "g1")
    presence.report({"epoch": 1, "error": {"epoch": 2, "what": "golden rows differ"}})
    with pytest.raises(RefusedError, match="golden rows differ"):
        ProcessTarget(tmp_path).wait(2, timeout=1.0)
    presence.close()


def test_an_error_about_another_epoch_is_not_ours(tmp_path):
    presence = GatewayPresence(tmp_path, "g1")
    presence.report({"epoch": 1, "error": {"epoch": 2, "what": "old story"}})
    assert not ProcessTarget(tmp_path).wait(3, timeout=0.0)
    presence.close()


def test_a_killed_gateway_is_not_waited_for(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from modelwright.adapters.targets.process import GatewayPresence\n"
        f"p = GatewayPresence(Path({str(tmp_path)!r}), 'g9'); p.report({{'epoch': 1}}); print('up', flush=True)\n"
        "time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"up\n"
    target = ProcessTarget(tmp_path)
    assert not target.wait(2, timeout=0.0)
    process.kill()
    process.wait()
    process.stdout.close()
    assert target.wait(2, timeout=5.0)


def test_two_gateways_cannot_share_an_id(tmp_path):
    presence = GatewayPresence(tmp_path, "g0")
    with pytest.raises(ConflictError):
        GatewayPresence(tmp_path, "g0")
    presence.close()
    GatewayPresence(tmp_path, "g0").close()


def test_sweeping_removes_what_killed_gateways_left_and_nothing_of_the_living(tmp_path):
    living = GatewayPresence(tmp_path, "g1.2")
    living.report({"epoch": 1})
    for left in ("gateway-g0.1.lock", "gateway-g0.1.json", ROUTING_FILE):
        (tmp_path / left).write_text("{}")
    sweep(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"gateway-g1.2.lock", "gateway-g1.2.json", ROUTING_FILE}
    living.close()
    assert {path.name for path in tmp_path.iterdir()} == {ROUTING_FILE}


def test_a_gateway_is_found_however_often_files_are_swept_as_it_starts(tmp_path):
    stop = threading.Event()

    def sweep_on():
        while not stop.is_set():
            sweep(tmp_path)

    sweeper = threading.Thread(target=sweep_on)
    sweeper.start()
    try:
        for number in range(500):
            presence = GatewayPresence(tmp_path, f"g{number}")
            assert f"g{number}" in ProcessTarget(tmp_path).live()
            presence.close()
    finally:
        stop.set()
        sweeper.join()


def test_only_the_owner_may_read_the_table(tmp_path):
    run_dir = tmp_path / "run"
    ProcessTarget(run_dir).publish(RoutingTable(1, tokens=(TokenGrant("ab", "me", "admin"),)))
    assert stat.S_IMODE((run_dir / ROUTING_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(run_dir.stat().st_mode) == 0o700


def test_a_reader_never_sees_a_part_of_a_table(tmp_path):
    target, path = ProcessTarget(tmp_path), tmp_path / ROUTING_FILE
    arms = tuple(Arm(str(number), "d" * 64, 0.0, "canary") for number in range(300))
    target.publish(RoutingTable(0))
    stop = threading.Event()

    def publish():
        for epoch in range(1, 30):
            target.publish(RoutingTable(epoch, {"m": Route("m", arms)}))
        stop.set()

    writer = threading.Thread(target=publish)
    writer.start()
    seen = []
    while not stop.is_set():
        seen.append(routing_codec.decode(path.read_bytes()).epoch)
        time.sleep(0)
    writer.join()
    assert seen == sorted(seen)
    assert [entry.name for entry in tmp_path.iterdir()] == [ROUTING_FILE]
