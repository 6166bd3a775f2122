"""A bounded queue with a thread behind it: whoever puts never waits, and what is too much is dropped and counted."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence

from modelwright.core.request_event import RequestEvent

BOUND = 10_000
"""So many events may wait, some 10 MiB."""
BATCH = 512
CLOSE_SECONDS = 3.0

_logger = logging.getLogger(__name__)


class Background:
    """Delivers events in batches of at most :data:`BATCH`.

    Args:
        name: of the thread.
        deliver: delivers a batch, and may block; where it raises the batch is dropped, and the first time is logged.
        every: seconds between two deliveries.
        bound: events that may wait.
    """

    def __init__(
        self, name: str, deliver: Callable[[Sequence[RequestEvent]], None], *, every: float, bound: int = BOUND
    ) -> None:
        self._name, self._deliver, self._every, self._bound = name, deliver, every, bound
        self._waiting: deque[RequestEvent] = deque()
        self._refused = self._lost = 0  # each is changed by one thread alone
        self._failing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Events that were not delivered."""
        return self._refused + self._lost

    def put(self, event: RequestEvent) -> None:
        """Take an event, or drop it."""
        if len(self._waiting) >= self._bound or self._stop.is_set():
            self._refused += 1
        else:
            self._waiting.append(event)

    def close(self) -> None:
        """Deliver what waits, for at most :data:`CLOSE_SECONDS`."""
        self._stop.set()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            self._drain()
        self._drain()

    def _drain(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            try:
                self._deliver(batch)
            except Exception as error:  # noqa: BLE001 - whatever it is, requests are answered and the next batch tried
                self._lost += len(batch)
                if not self._failing:
                    _logger.warning("%s: events are dropped", self._name, extra={"error": str(error)[:500]})
                self._failing = True
            else:
                if self._failing:
                    _logger.info("%s: events are delivered again", self._name)
                self._failing = False
