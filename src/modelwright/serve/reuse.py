"""Requests that need no run of their own: their answer is kept, or an equal request is under way."""

from __future__ import annotations

import logging
from collections.abc import Callable

from modelwright.core.errors import ModelwrightError
from modelwright.ports.runner import Outcome
from modelwright.ports.trace import Traced
from modelwright.serve.cache import ResponseCache, key_of
from modelwright.serve.lane import Ticket
from modelwright.serve.tally import Tally

_logger = logging.getLogger(__name__)


class Reuse:
    """Answers tickets from a cache, on the plane's thread.

    Args:
        cache: what is kept.
        tally: counts what was found.
        put: queues a ticket for a run of its own.
        finish: gives a ticket its outcome and the seconds of its run.
    """

    def __init__(
        self,
        cache: ResponseCache,
        tally: Tally,
        put: Callable[[Ticket], None],
        finish: Callable[[Ticket, Outcome, float], None],
    ) -> None:
        self.cache = cache
        self._tally, self._put, self._finish = tally, put, finish
        self._found: list[tuple[Ticket, Outcome]] = []

    def takes(self, ticket: Ticket) -> bool:
        """Whether this ticket gets its outcome here; else it runs, after :meth:`lead`."""
        model = ticket.arm.model
        if not self.cache.covers(model):
            return False
        key = key_of(ticket.arm.loaded.digest, ticket.call.actor, ticket.feeds)
        outputs = self.cache.get(key)
        if outputs is not None:
            self._tally.reuse(model, "hit")
            self._found.append((ticket, outputs))
            return True
        if self.cache.follow(key, ticket):
            self._tally.reuse(model, "joined")
            ticket.arm.loaded.in_flight += 1  # so that its version stays until it has its answer
            return True
        ticket.key = key
        return False

    def lead(self, ticket: Ticket) -> None:
        """Equal requests that come from now on wait for this one."""
        if ticket.key:
            self._tally.reuse(ticket.arm.model, "miss")
            self._tally.statistics.missed(ticket)
            self.cache.lead(ticket.key, ticket)

    def run(self) -> None:
        """Give those their outcome whose answers were kept."""
        found, self._found = self._found, []
        for ticket, outputs in found:
            self._give(ticket, outputs, 0.0)

    def settle(self, ticket: Ticket, outcome: Outcome, seconds: float) -> None:
        """Keep the outcome of a run, and give it to those who waited for it; after an error they run by themselves."""
        key, ticket.key = ticket.key, b""
        followers = self.cache.settled(key, ticket)
        if isinstance(outcome, ModelwrightError):
            self._run_apart(followers)
            return
        notes = outcome.notes if isinstance(outcome, Traced) else ()
        if not notes:  # what a fallback answered may be answered better the next time
            self.cache.put(key, outcome)
        for follower in followers:
            follower.arm.loaded.in_flight -= 1
            self._give(follower, Traced(outcome, (), notes) if notes else dict(outcome), seconds)

    def sweep(self) -> None:
        """Let those run by themselves who wait for a request whose caller has gone."""
        for followers in self.cache.abandoned():
            self._run_apart(followers)

    def late(self, now: float) -> list[Ticket]:
        """Those whose time ran out while they waited for another's answer; they wait no longer."""
        late = self.cache.late(now)
        for ticket in late:
            ticket.arm.loaded.in_flight -= 1
        return late

    def _run_apart(self, followers: list[Ticket]) -> None:
        for ticket in followers:
            ticket.arm.loaded.in_flight -= 1
            self._put(ticket)

    def _give(self, ticket: Ticket, outcome: Outcome, seconds: float) -> None:
        if ticket.cancelled:
            return
        self._tally.statistics.reused(ticket)
        try:
            self._finish(ticket, outcome, seconds)
        except Exception:  # our own mistake with one request must not keep the others' answers back
            _logger.exception("an answer could not be finished")
