"""When a process that ended is started again: soon at first, then later, and after too many times slowly."""

from __future__ import annotations

from collections import deque

FIRST_SECONDS, LONGEST_SECONDS = 0.1, 10.0
MOST, WINDOW_SECONDS = 5, 10.0
"""After so many restarts within so many seconds the version has failed; then it is tried again slowly."""
STEADY_SECONDS = 10.0
"""A version that failed is sound again once a process of it lived so long."""

BURNED_MOST, BURNED_WINDOW_SECONDS, BURNED_LONGEST_SECONDS = 3, 600.0, 300.0
"""After so many ends for using the processor without a request, within so long, the version has failed too."""


class Restarts:
    """The restarts of one version. Times are those of any clock that never goes back.

    ``failed`` tells that the version ends too often to be waited for.
    """

    def __init__(self) -> None:
        self.failed = False
        self._times: deque[float] = deque()
        self._burned: deque[float] = deque()

    def delay(self, now: float, lived: float) -> float:
        """Seconds until the next start, after a process that lived so long; counts it."""
        while self._times and now - self._times[0] >= WINDOW_SECONDS:
            self._times.popleft()
        self.failed = len(self._times) >= MOST or (self.failed and lived < STEADY_SECONDS)
        wait = LONGEST_SECONDS if self.failed else FIRST_SECONDS * 2 ** len(self._times)
        self._times.append(now + wait)
        return wait

    def burned(self, now: float) -> float:
        """Seconds until the next start, after a process that used the processor without a request; counts it.

        Such a process lives for a while each time, so what counts as too often is looked at over a longer time.
        """
        while self._burned and now - self._burned[0] >= BURNED_WINDOW_SECONDS:
            self._burned.popleft()
        self._burned.append(now)
        over = len(self._burned) - BURNED_MOST
        self.failed = over >= 0
        return min(LONGEST_SECONDS * 2**over, BURNED_LONGEST_SECONDS) if self.failed else FIRST_SECONDS
