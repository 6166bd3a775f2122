"""A spare: one process that waits to become whichever gateway dies next, because most of a start is imports."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

GATEWAY = (sys.executable, "-m", "modelwright.processes.gateway")
LOOK_SECONDS = 0.5
BETWEEN_SECONDS = 10.0  # one that cannot live must not cost a core
_log = logging.getLogger("modelwright.supervisor")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A process that waits: its ``stdout`` to read from, and ``stdin`` to tell it what to be."""

    process: asyncio.subprocess.Process
    stdout: int
    stdin: int


class Spare:
    """Keeps one process waiting.

    Args:
        listeners: descriptors of all gateways' sockets.
        grpc: the gateways serve gRPC.
    """

    def __init__(self, listeners: Sequence[int], *, grpc: bool) -> None:
        self._listeners, self._grpc = tuple(listeners), grpc
        self._waiting: Waiting | None = None
        self._started = -BETWEEN_SECONDS

    async def keep(self, settled: Callable[[], bool]) -> None:
        """Until cancelled: start one whenever there is none and nothing more urgent happens (``settled``)."""
        try:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                if self._waiting is not None and self._waiting.process.returncode is not None:
                    self.drop()
                rested = time.monotonic() - self._started > BETWEEN_SECONDS
                if self._waiting is None and rested and settled():
                    self._started = time.monotonic()
                    self._waiting = await self._start()
        finally:
            self.drop()

    def take(self, command: Sequence[str], keep: Sequence[int]) -> Waiting | None:
        """The process that waited, on its way to be what ``command`` starts with these sockets; None: there is none."""
        waiting = self._waiting
        if waiting is None or waiting.process.returncode is not None or tuple(command[:3]) != GATEWAY:
            return None
        self._waiting = None
        told = json.dumps({"arguments": list(command[3:]), "keep": list(keep)}) + "\n"
        try:
            os.write(waiting.stdin, told.encode())  # far less than a pipe holds
        except OSError:  # it died a moment ago
            os.close(waiting.stdout)
            return None
        finally:
            os.close(waiting.stdin)
        return waiting

    def drop(self) -> None:
        """End the one that waits; the next one is of the code that is installed then."""
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return
        os.close(waiting.stdin)
        os.close(waiting.stdout)
        with contextlib.suppress(ProcessLookupError):
            waiting.process.kill()

    async def _start(self) -> Waiting | None:
        command = [sys.executable, "-m", "modelwright.processes.waiting_gateway", "--parent", str(os.getpid())]
        command += ["--listeners", ",".join(map(str, self._listeners)), *(["--grpc"] if self._grpc else [])]
        stdin, tell = os.pipe()
        stdout, said = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(*command, stdin=stdin, stdout=said, pass_fds=self._listeners)
        except BaseException as error:
            os.close(tell)
            os.close(stdout)
            if not isinstance(error, OSError):
                raise
            _log.warning("spare.not-started", extra={"error": str(error)})
            return None
        finally:
            os.close(stdin)
            os.close(said)
        return Waiting(process, stdout, tell)
