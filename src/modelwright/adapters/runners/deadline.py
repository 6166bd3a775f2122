"""Work that is waited for no longer than so long."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Job = tuple[Callable[[], T], list[T | BaseException], Any]


class LateError(Exception):
    """The work is not done yet; its thread goes on with it, and its result is thrown away."""


class BusyError(Exception):
    """All threads are still at work that is late."""


class InTime(Generic[T]):
    """Does work in other threads, which are kept for the next.

    Args:
        name: of the threads.
        most: threads at once.
    """

    def __init__(self, name: str, most: int) -> None:
        self._name, self._most = name, most
        self._lock = threading.Lock()
        self._idle: list[SimpleQueue[Job[T] | None]] = []
        self._threads = 0
        self._closed = False

    def run(self, work: Callable[[], T], seconds: float) -> T:
        """The result of the work, or what it raised.

        Raises:
            LateError: it took longer than ``seconds``.
            BusyError: no thread is free; nothing was begun.
        """
        jobs = self._free()
        outcome: list[T | BaseException] = []
        done = threading.Lock()  # half the cost of an Event
        done.acquire()
        jobs.put((work, outcome, done))
        if not done.acquire(timeout=seconds):
            raise LateError
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]

    def close(self) -> None:
        """End the threads: those that are late once they are done."""
        with self._lock:
            self._closed = True
            for jobs in self._idle:
                jobs.put(None)
            self._idle = []

    def _free(self) -> SimpleQueue[Job[T] | None]:
        with self._lock:
            if self._idle:
                return self._idle.pop()
            if self._threads == self._most:
                raise BusyError
            self._threads += 1
        jobs: SimpleQueue[Job[T] | None] = SimpleQueue()
        threading.Thread(target=self._serve, args=(jobs,), name=self._name, daemon=True).start()
        return jobs

    def _serve(self, jobs: SimpleQueue[Job[T] | None]) -> None:
        while (job := jobs.get()) is not None:
            work, outcome, done = job
            try:
                outcome.append(work())
            except BaseException as error:  # noqa: BLE001 - whoever waits raises it
                outcome.append(error)
            with self._lock:
                ended = self._closed
                if not ended:
                    self._idle.append(jobs)
            del job, work
            done.release()
            if ended:
                return
