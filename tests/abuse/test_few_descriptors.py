"""A gateway that may open few files, asked over more connections than that (row A12 of the abuse plan)."""

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import time

import pytest

from kit.burden import coded, secrets
from kit.gateways import serving
from kit.load import Lines, asker

FILES = 64


@contextlib.contextmanager
def crowd(port, count):
    """Connections that are begun and say nothing."""
    with contextlib.ExitStack() as opened:
        connections = []
        for _ in range(count):
            connections.append(opened.enter_context(socket.socket()))
            connections[-1].setblocking(False)
            with contextlib.suppress(BlockingIOError):
                connections[-1].connect(("127.0.0.1", port))
        yield connections


def told(connection):
    """What a connection got: an answer, its end, or nothing yet."""
    try:
        return connection.recv(65536)[9:12].decode() or "closed"
    except BlockingIOError:
        return "open"
    except ConnectionError:
        return "closed"


async def answers_again(gateway):
    one, limit = asker("coded", patience=10), time.monotonic() + 30
    while (kind := await one(Lines(gateway.port))) != "good":
        assert time.monotonic() < limit, kind
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("killed", [False, True], ids=["", "and its model's process is killed"])
def test_a12_a_gateway_out_of_files_turns_away_waits_idle_and_serves_on_once_there_are_some(
    play, room, tmp_path, killed
):
    with serving(tmp_path, secrets(), coded("coded")) as gateway:
        play(answers_again(gateway))
        resource.prlimit(gateway.popen.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
        with crowd(gateway.port, 200) as connections:
            time.sleep(0.5)  # nothing tells that it has looked at all of them
            if killed:
                os.kill(gateway.children[0], signal.SIGKILL)
            cpu, began = gateway.cpu, time.monotonic()
            time.sleep(1)
            share = (gateway.cpu - cpu) / (time.monotonic() - began)
            assert gateway.descriptors <= FILES
            assert {told(connection) for connection in connections} <= {"503", "closed", "open"}
        began = time.monotonic()
        play(answers_again(gateway))
        assert time.monotonic() - began <= (3 if killed else 1) * room()
        assert gateway.popen.poll() is None
    assert share < 0.05 * room()


def test_a12_a_gateway_started_with_few_files_tells_those_whom_it_cannot_take(play, tmp_path):
    prlimit = ("prlimit", f"--nofile={FILES}:{FILES}")
    with serving(tmp_path, secrets(), coded("coded"), before=prlimit) as gateway:
        play(answers_again(gateway))
        with crowd(gateway.port, 40) as connections:
            limit = time.monotonic() + 30
            while (kinds := [told(connection) for connection in connections]).count("open") > 1:
                assert time.monotonic() < limit
                time.sleep(0.05)
        play(answers_again(gateway))
    assert set(kinds) <= {"503", "closed", "open"}


# Limits of processes do not hold for root, so the gateway becomes somebody else, who may still read what root may.
SOMEBODY = ("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups")
READS = tuple(f"--{kind}-caps=-all,+dac_read_search,+dac_override" for kind in ("inh", "ambient"))


def allow(pid, processes):
    """Let it have so many processes and threads."""
    subprocess.run([*SOMEBODY, "prlimit", f"--pid={pid}", f"--nproc={processes}:"], check=True)


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv")
def test_a12_a_gateway_that_may_start_no_thread_and_no_process_serves_on_and_recovers(play, tmp_path):
    package = coded("coded", isolation="standard")
    with serving(tmp_path, secrets(), package, before=(*SOMEBODY, *READS)) as gateway:
        play(answers_again(gateway))
        one, lines = asker("secrets", patience=10), Lines(gateway.port)
        assert play(one(lines)) == "good"
        (process,) = gateway.children
        allow(gateway.popen.pid, "1")
        os.kill(process, signal.SIGKILL)
        time.sleep(1)  # it has tried to start another one
        cpu, began = gateway.cpu, time.monotonic()
        time.sleep(2)
        share = (gateway.cpu - cpu) / (time.monotonic() - began)
        assert gateway.children == []
        assert play(one(Lines(gateway.port))) == "good"
        assert play(asker("coded", "Modelwright-Timeout-Ms: 1000", patience=10)(Lines(gateway.port))) in {
            "refused",
            "status-504",
        }
        allow(gateway.popen.pid, "4000")
        play(answers_again(gateway))
        assert gateway.popen.poll() is None
    assert share < 0.05
