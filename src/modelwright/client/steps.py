"""A call as steps: what to send, how long to wait. Who takes them, with threads or with asyncio, is not known here."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from modelwright.client.failures import RETRIED, late, refused
from modelwright.client.retries import Budget, Retries
from modelwright.client.wire import Buffer, Lost, Reply, Request, Writer

_LATEST = 10**12 - 1  # the longest that the header can say


@dataclass(slots=True)
class Send:
    """Send the parts and give back the answer, or what was lost; ``limit`` is a moment of ``time.monotonic``."""

    parts: list[Buffer]
    limit: float


@dataclass(slots=True)
class Wait:
    """Let ``seconds`` pass."""

    seconds: float


T = TypeVar("T")
Steps = Generator[Send | Wait, Reply | Lost | None, T]


class Exchanges:
    """Sends requests to one server, and sends them again where that may help."""

    def __init__(self, url: str, writer: Writer, retries: Retries) -> None:
        self.url = url
        self._writer, self._retries, self._budget = writer, retries, Budget(retries)

    def exchange(self, request: Request, started: float, limit: float, *, again: bool = True) -> Steps[Reply]:
        """The answer to a request, whatever its status; ``again`` False: sent once.

        Raises:
            ModelwrightError: UnavailableError or DeadlineError ``client.*``: there was no answer.
        """
        self._budget.earn()
        allowed = limit - started
        attempt = 1
        while True:
            left = limit - time.monotonic()
            if left <= 0:
                raise late(self.url, allowed).error
            if left > 0.99 * allowed:
                left = allowed  # the same digits each time: servers remember a head that they have seen
            parts = self._writer.write(request, min(max(int(left * 1000), 1), _LATEST), attempt)
            outcome = yield Send(parts, limit)
            assert outcome is not None
            if isinstance(outcome, Reply) and outcome.status not in RETRIED:
                return outcome
            pause = self._retries.pause(attempt, retry_after(outcome) if isinstance(outcome, Reply) else 0.0)
            worthwhile = again and attempt <= self._retries.attempts and time.monotonic() + pause < limit
            if not worthwhile or (isinstance(outcome, Lost) and not outcome.again) or not self._budget.spend():
                if isinstance(outcome, Lost):
                    raise outcome.error
                return outcome
            yield Wait(pause)
            attempt += 1

    def once(self, request: Request, seconds: float) -> list[Buffer]:
        """The parts of a request that is sent once, and given up after so many seconds."""
        return self._writer.write(request, min(max(int(seconds * 1000), 1), _LATEST), 1)

    def fetch(self, request: Request, started: float, limit: float) -> Steps[Reply]:
        """The answer to a request that the server took.

        Raises:
            ModelwrightError: as :meth:`exchange`, and the server's own error.
        """
        reply = yield from self.exchange(request, started, limit)
        if reply.status != 200:
            raise refused(self.url, reply)
        return reply


def retry_after(reply: Reply) -> float:
    """Seconds that the server asks for (0: none)."""
    text = reply.text(b"retry-after").strip()
    if not text:
        return 0.0
    if text.isdigit() and len(text) < 10:
        return float(text)
    from email.utils import parsedate_to_datetime  # lazy: few servers give a date

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
