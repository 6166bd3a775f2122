"""Processes of models that use the processor while no request is with them.

A model's code can answer and leave threads behind that go on. No deadline ends those, for nobody waits for them.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from typing import Protocol

TICK_SECONDS = 0.5
WINDOW_SECONDS = 5.0
"""A process is judged by so much time without a request, all of it together."""


class Idleness:
    """What one process does between its requests.

    Only whole ticks without a request count, so that what is tidied up after an answer does not.

    Args:
        limit: share of a core that it may use then; 0: any.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._last: tuple[float, float, int] | None = None
        self._seconds = self._used = 0.0

    def look(self, now: float, used: float, begun: int, *, busy: bool) -> float:
        """The share of a core that it used, where that is too much; else 0.

        Args:
            now: seconds of any clock that never goes back.
            used: processor seconds of the process up to now.
            begun: how many requests it was given up to now.
            busy: whether one is with it.
        """
        last, self._last = self._last, None if busy else (now, used, begun)
        if not self._limit or last is None or busy or begun != last[2]:
            return 0.0
        self._seconds += now - last[0]
        self._used += used - last[1]
        if self._seconds < WINDOW_SECONDS:
            return 0.0
        share = self._used / self._seconds
        self._seconds = self._used = 0.0
        return share if share > self._limit else 0.0


class Watched(Protocol):
    """What is looked at."""

    def look(self, now: float) -> None:
        """Look at every process; from the watch's own thread."""
        ...


class IdleWatch:
    """One thread that looks at all of them, and ends when there are none.

    It reads clocks and wakes no event loop, unless there is something to end.
    """

    def __init__(self) -> None:
        self._watched: weakref.WeakSet[Watched] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, watched: Watched) -> None:
        """Look at it from now on, as long as somebody else holds it."""
        with self._lock:
            self._watched.add(watched)
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._run, name="idle-watch", daemon=True)
                with contextlib.suppress(RuntimeError):  # no more threads may be started: the next one that is added
                    thread.start()
                    self._thread = thread

    def discard(self, watched: Watched) -> None:
        """Look at it no more."""
        with self._lock:
            self._watched.discard(watched)

    def _run(self) -> None:
        while True:
            time.sleep(TICK_SECONDS)
            with self._lock:
                watched = list(self._watched)
                if not watched:
                    self._thread = None
                    return
            now = time.monotonic()
            for one in watched:
                one.look(now)
            del watched, one  # nothing is held while nobody looks


IDLE_WATCH = IdleWatch()
