"""A server of our own on loopback: real gateways over a data directory that was made for it."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from modelwright.core.errors import UnavailableError

START_SECONDS = 60.0
STOP_SECONDS = 10.0
BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class OwnServer:
    """Where it answers, and its processes. ``grpc`` is 0 where it does not speak gRPC."""

    http: int
    grpc: int
    pids: tuple[int, ...]


@contextmanager
def started(
    home: Path, *, workers: int, grpc: bool, environment: Mapping[str, str], cores: Sequence[int] = ()
) -> Iterator[OwnServer]:
    """Gateways that serve the routing table under ``home``; they end with the block, or with this process.

    Args:
        home: a data directory with blobs and a routing table.
        workers: how many gateways share the address.
        grpc: also speak gRPC.
        environment: theirs.
        cores: those they may use; empty: any.

    Raises:
        UnavailableError: ``bench.server-failed``.
    """
    children: list[subprocess.Popen[bytes]] = []
    listeners = _listeners(workers, listening=True)
    reserved = _listeners(1, listening=False)[0] if grpc else None
    try:
        for number, listener in enumerate(listeners):
            command = [sys.executable, "-m", "modelwright.processes.gateway", "--home", str(home), "--id", f"g{number}"]
            command += ["--fd", str(listener.fileno()), "--parent", str(os.getpid())]
            command += ["--grpc", f"127.0.0.1:{reserved.getsockname()[1]}"] if reserved else []
            with _held_to(cores), (home / f"g{number}.log").open("wb") as log:
                children.append(
                    subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                        stderr=log,
                        env=dict(environment),
                        pass_fds=(listener.fileno(),),
                        start_new_session=True,  # Ctrl-C is ours alone: what was measured is still shown
                    )
                )
        for number, child in enumerate(children):
            _wait_ready(child, home / f"g{number}.log")
        grpc_port = reserved.getsockname()[1] if reserved else 0
        yield OwnServer(listeners[0].getsockname()[1], grpc_port, tuple(child.pid for child in children))
    finally:
        _stop(children)
        for taken in (*listeners, *((reserved,) if reserved else ())):
            taken.close()


def _listeners(count: int, *, listening: bool) -> list[socket.socket]:
    port, made = 0, []
    for _ in range(count):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", port))
        if listening:
            listener.listen(BACKLOG)
        port = listener.getsockname()[1]
        made.append(listener)
    return made


@contextmanager
def _held_to(cores: Sequence[int]) -> Iterator[None]:
    """What is started inside runs on these cores, its first thread included."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _wait_ready(child: subprocess.Popen[bytes], log: Path) -> None:
    assert child.stdout is not None
    deadline, said = time.monotonic() + START_SECONDS, b""
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([child.stdout], [], [], left)[0]:
            break
        piece = os.read(child.stdout.fileno(), 4096)
        said += piece
        if b"ready " in said:
            return
        if not piece:
            break
    lines = log.read_text(errors="replace").strip().splitlines()
    raise UnavailableError(
        "bench.server-failed",
        "The server that bench started did not get ready.",
        why=lines[-1][:500] if lines else f"It said nothing for {START_SECONDS:.0f} seconds.",
        fix="Try the package with `modelwright serve --package FILE`.",
    )


def _stop(children: Sequence[subprocess.Popen[bytes]]) -> None:
    for child in children:
        with suppress(OSError):
            child.send_signal(signal.SIGTERM)
    for child in children:
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()
