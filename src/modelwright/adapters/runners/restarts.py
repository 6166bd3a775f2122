"""When a process that ended is started again: soon at first, then later, and after too many times slowly."""

from __future__ import annotations

from collections import deque

FIRST_SECONDS, LONGEST_SECONDS = 0.1, 10.0
MOST, WINDOW_SECONDS = 5, 10.0
"""After so many restarts within so many seconds the version has failed; then it is tried again slowly."""
STEADY_SECONDS = 10.0
"""A version that failed is sound again once a process of it lived so long."""


class Restarts:
    """The restarts of one version. Times are those of any clock that never goes back.

    ``failed`` tells that the version ends too often to be waited for.
    """

    def __init__(self) -> None:
        self.failed = False
        self._times: deque[float] = deque()

    def delay(self, now: float, lived: float) -> float:
        """Seconds until the next start, after a process that lived so long; counts it."""
        while self._times and now - self._times[0] >= WINDOW_SECONDS:
            self._times.popleft()
        self.failed = len(self._times) >= MOST or (self.failed and lived < STEADY_SECONDS)
        wait = LONGEST_SECONDS if self.failed else FIRST_SECONDS * 2 ** len(self._times)
        self._times.append(now + wait)
        return wait
