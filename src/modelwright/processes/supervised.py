"""One supervised process: started, started again when it dies, replaced by a successor, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from modelwright.processes.child import RETIRE
from modelwright.processes.spare import Spare

FIRST_BACKOFF, LAST_BACKOFF = 0.1, 10.0
CALM_SECONDS = 10.0
READY_SECONDS = 120.0  # what a successor has to load its models
_log = logging.getLogger("modelwright.supervisor")


@dataclass(eq=False)
class Life:
    """One process of a child; ``ready`` once it printed a line that begins with that word."""

    process: asyncio.subprocess.Process
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def over(self) -> bool:
        """Whether the process has ended."""
        return self.process.returncode is not None


@dataclass
class Child:
    """What is kept running over one socket.

    ``command(successor)`` is the command line of the next process; ``heard`` gets each line of its stdout; ``hopeless``
    says that no restart can help; ``gone`` is called after each process's end, ``died`` with the name where it is to be
    started again. One that lived for ``calm_seconds`` starts again without waiting. A ``spare`` takes the place of a
    process that died, where one waits. ``handed`` are descriptors that it gets beside the socket's.
    """

    name: str
    command: Callable[[bool], list[str]]
    listener: socket.socket
    stop_seconds: float
    heard: Callable[[str], None] = field(default=lambda _line: None)
    hopeless: Callable[[int], bool] = field(default=lambda _status: False)
    gone: Callable[[], None] = field(default=lambda: None)
    died: Callable[[str], None] = field(default=lambda _name: None)
    calm_seconds: float = CALM_SECONDS
    spare: Spare | None = None
    handed: tuple[int, ...] = ()
    life: Life | None = None
    _lives: dict[Life, asyncio.Task[None]] = field(default_factory=dict)
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def keep_alive(self, stopping: asyncio.Event) -> int:
        """Start it, and again with back-off whenever it ends, until stopping; the exit code for the supervisor."""
        backoff = FIRST_BACKOFF
        while not stopping.is_set():
            started = time.monotonic()
            status = await self._live(stopping)
            if stopping.is_set():
                break
            if self.hopeless(status):
                return 1
            if time.monotonic() - started > self.calm_seconds:
                backoff = 0.0
            _log.warning("child.died", extra={"child": self.name, "status": status, "again_in": backoff})
            self.died(self.name)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), backoff)
            backoff = min(LAST_BACKOFF, 2 * backoff) or FIRST_BACKOFF
        return 0

    @property
    def _descriptors(self) -> tuple[int, ...]:
        return (self.listener.fileno(), *self.handed)

    async def replace(self) -> bool:
        """Start a successor on the same socket, and retire the process once it is ready.

        Returns:
            False when the successor did not get ready; the process stays then.
        """
        successor = await self._start(successor=True)
        outcomes = [asyncio.create_task(successor.ready.wait()), asyncio.create_task(successor.process.wait())]
        try:
            await asyncio.wait(outcomes, timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for outcome in outcomes:
                outcome.cancel()
        if successor.over or not successor.ready.is_set():
            _log.error("child.not-replaced", extra={"child": self.name, "status": successor.process.returncode})
            await self._end(successor, signal.SIGTERM)
            return False
        async with self._changing:
            old, self.life = self.life, successor
        if old is not None:
            await self._end(old, RETIRE)
        return True

    async def stop(self) -> None:
        """End every process of it: SIGTERM, wait, and SIGKILL after ``stop_seconds``."""
        await asyncio.gather(*(self._end(life, signal.SIGTERM) for life in list(self._lives)))

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        if self.life is not None and not self.life.over:
            self.life.process.send_signal(number)

    async def _live(self, stopping: asyncio.Event) -> int:
        """Start a process unless one lives, and wait until it and whatever replaced it are gone; the last status."""
        async with self._changing:
            if self.life is None or self.life.over:
                self.life = await self._start(successor=False)
        if stopping.is_set():  # it was being born while the others were told to stop
            self.life.process.terminate()
        while True:
            life = self.life
            status = await life.process.wait()
            if life is self.life:
                return status

    async def _start(self, *, successor: bool) -> Life:
        command = self.command(successor)
        waited = None if successor or self.spare is None else self.spare.take(command, self._descriptors)
        process, readable = (waited.process, waited.stdout) if waited else await self._spawn(command)
        _log.info("child.started", extra={"child": self.name, "pid": process.pid, "spare": waited is not None})
        life = Life(process)
        self._lives[life] = asyncio.create_task(self._attend(life, readable))
        return life

    async def _spawn(self, command: Sequence[str]) -> tuple[asyncio.subprocess.Process, int]:
        """The process, and what it writes to."""
        # A pipe of our own: a grandchild that inherits it must not keep us from seeing that the child is gone.
        readable, writable = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL, stdout=writable, pass_fds=self._descriptors,
            )  # fmt: skip
        except BaseException:
            os.close(readable)
            raise
        finally:
            os.close(writable)
        return process, readable

    async def _attend(self, life: Life, readable: int) -> None:
        relay = asyncio.create_task(self._relay(life, readable))
        await life.process.wait()
        relay.cancel()
        del self._lives[life]
        self.gone()

    async def _relay(self, life: Life, readable: int) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(readable, "rb", buffering=0)
        )
        try:
            while line := (await reader.readline()).decode(errors="replace"):
                if line.startswith("ready "):
                    life.ready.set()
                self.heard(line.rstrip())
        finally:
            transport.close()

    async def _end(self, life: Life, number: signal.Signals) -> None:
        if life.over:
            return
        with contextlib.suppress(ProcessLookupError):
            life.process.send_signal(number)
        try:
            await asyncio.wait_for(life.process.wait(), self.stop_seconds)
        except TimeoutError:
            _log.error("child.killed", extra={"child": self.name})
            with contextlib.suppress(ProcessLookupError):
                life.process.kill()
            await life.process.wait()
