"""A bounded queue with a thread behind it: whoever puts never waits, and what is too much is dropped and counted."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

BOUND = 10_000
"""So many events may wait, some 10 MiB."""
CLOSE_SECONDS = 3.0

Item = TypeVar("Item")

_logger = logging.getLogger(__name__)


class Background(Generic[Item]):
    """Delivers what is taken in batches.

    Args:
        name: of the thread.
        deliver: delivers a batch, and may block; where it raises the batch is dropped, and the first time is logged.
        every: seconds between two deliveries.
        batch: at most so many at a time.
        bound: so many may wait.
    """

    def __init__(
        self, name: str, deliver: Callable[[Sequence[Item]], None], *, every: float, batch: int, bound: int = BOUND
    ) -> None:
        self._name, self._deliver, self._every, self._batch, self._bound = name, deliver, every, batch, bound
        self._waiting: deque[Item] = deque()
        self._refused = self._lost = 0  # each is changed by one thread alone
        self._failing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Events that were not delivered."""
        return self._refused + self._lost

    def take(self, item: Item) -> None:
        """Take an event, or drop it; never waits."""
        if len(self._waiting) >= self._bound or self._stop.is_set():
            self._refused += 1
        else:
            self._waiting.append(item)

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
            batch = [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]
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
