"""Which of the processes that run stories are alive: each holds a lock on a file of its own for as long as it lives."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Executors:
    """A directory of lock files (``<executor id>.lock``). The kernel lets go of a lock however its process ends.

    Args:
        directory: created 0700 where it is missing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._held: dict[str, int] = {}
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def join(self, role: str) -> str:
        """Take part under a fresh id; returns the id."""
        executor = f"{role}-{os.getpid()}-{secrets.token_hex(4)}"
        with self.alone():  # nobody may judge the file between its creation and its lock
            descriptor = self._open(executor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._held[executor] = descriptor
        return executor

    def leave(self, executor: str) -> None:
        """Take part no more: the id's pending stories may be taken over from here on."""
        os.close(self._held.pop(executor))

    def gone(self, executor: str) -> bool:
        """True when no process holds the id's lock. Ask under :meth:`alone`."""
        if executor in self._held:
            return False
        try:
            descriptor = os.open(self._path(executor), os.O_RDWR)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            return True
        finally:
            os.close(descriptor)

    def bury(self) -> None:
        """Remove the files of executors that are gone; call under :meth:`alone`, once their stories are taken over."""
        for path in self._directory.glob("*.lock"):
            if path.stem != "recovery" and self.gone(path.stem):
                path.unlink(missing_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One process at a time."""
        descriptor = self._open("recovery")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _open(self, name: str) -> int:
        return os.open(self._path(name), os.O_RDWR | os.O_CREAT, 0o600)

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.lock"
