"""When a request is tried again: never often enough to be a load of its own."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retries:
    """How a failed request is tried again.

    ``attempts`` is how many times beside the first. ``share`` is the budget: so many retries for each request, over all
    requests of a client, after ``burst`` retries in advance; when it is spent, errors are told at once. The pauses
    grow from ``base`` seconds to ``most``, each a random part of it, and last at least as long as ``Retry-After``.
    """

    attempts: int = 3
    share: float = 0.1
    burst: int = 10
    base: float = 0.05
    most: float = 2.0

    def pause(self, attempt: int, retry_after: float) -> float:
        """Seconds before attempt ``attempt`` (1 is the first retry)."""
        longest: float = min(self.most, self.base * 2.0 ** (attempt - 1))
        return retry_after + random.uniform(0, longest)  # noqa: S311 - spreads clients, hides nothing


class Budget:
    """A token bucket: each request earns a share of a retry. Safe to use from many threads."""

    def __init__(self, retries: Retries) -> None:
        self._share, self._most = retries.share, float(retries.burst)
        self._tokens = self._most
        self._lock = threading.Lock()

    def earn(self) -> None:
        """One more request."""
        if self._tokens < self._most:
            with self._lock:
                self._tokens = min(self._most, self._tokens + self._share)

    def spend(self) -> bool:
        """Take a retry, if there is one."""
        with self._lock:
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
