"""Running what waits: whose turn it is, here or in another thread, and whom to refuse before they wait in vain."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

from modelwright.core.errors import DeadlineError, InternalError, ModelwrightError, UnavailableError
from modelwright.serve.call import PredictCall
from modelwright.serve.lane import Lane, Outcome, Ticket, execute
from modelwright.serve.load import Loaded
from modelwright.serve.route import LiveArm
from modelwright.serve.tally import Tally

_logger = logging.getLogger(__name__)

INLINE_SECONDS = 0.002
"""A run expected to take longer leaves the plane's thread, so that nothing else waits for it."""
TURN_SECONDS = 0.01
"""So long may runs on the plane's thread go on before somebody looks at the sockets again."""

Offload = Callable[[Callable[[], list[Outcome]], Callable[[list[Outcome]], None]], None]
"""Runs the first function in another thread and hands its result to the second one on the plane's thread."""


class Driver:
    """Drives the lanes of every loaded version.

    Args:
        finish: gets each ticket with its outcome and the seconds of its run.
        tally: counts runs and refusals.
        queue_seconds: a request that would wait longer than this is refused at once.
        offload: takes long runs off this thread; None: every run is made here.
        absent: told of an arm whose version is not in memory and now waited for.
    """

    def __init__(
        self,
        finish: Callable[[Ticket, Outcome, float], None],
        tally: Tally,
        *,
        queue_seconds: float,
        offload: Offload | None,
        absent: Callable[[LiveArm], None],
    ) -> None:
        self.offload = offload
        self._absent = absent
        self._finish, self._tally, self._queue_seconds = finish, tally, queue_seconds
        self._lanes: dict[str, Lane] = {}
        self._waiting: dict[Lane, None] = {}
        self._running: dict[Lane, None] = {}
        self._closed: dict[Lane, None] = {}

    def wait_seconds(self, loaded: Loaded, actor: str) -> float:
        """How long a request of this caller would wait for this version."""
        lane = self._lanes.get(loaded.digest)
        return lane.wait_seconds(actor, time.perf_counter()) if lane else 0.0

    def forget(self, loaded: Loaded) -> None:
        """Drop the queue of a version that nothing waits for."""
        lane = self._lanes.get(loaded.digest)
        if lane is not None and lane.loaded is loaded:
            del self._lanes[loaded.digest]

    def open(self, loaded: Loaded) -> None:
        """The version is in memory now: what waited for that runs when :meth:`run` is next called."""
        lane = self._lanes.get(loaded.digest)
        if lane is not None and lane.loaded is loaded:
            self._closed.pop(lane, None)
            self._waiting[lane] = None

    def fail(self, loaded: Loaded, error: ModelwrightError) -> None:
        """The version cannot be loaded: everybody who waits for it gets this error."""
        lane, now = self._lanes.get(loaded.digest), time.perf_counter()
        if lane is None or lane.loaded is not loaded:
            return
        del self._lanes[loaded.digest]
        self._closed.pop(lane, None)
        while lane.tickets:
            tickets = lane.take()
            loaded.in_flight -= len(tickets)
            for ticket in tickets:
                self._tally.statistics.fail(ticket, now)
                self._finish(ticket, error, 0.0)

    def admit(self, loaded: Loaded, call: PredictCall) -> None:
        """Refuse what would be too late, or wait longer than is allowed (a retry: than half of that).

        Raises:
            UnavailableError: ``serve.overloaded``.
        """
        lane = self._lanes.get(loaded.digest)
        if lane is None or not (lane.tickets or lane.running):
            return
        now = time.perf_counter()
        allowed = self._queue_seconds / 2 if call.retry else self._queue_seconds
        most = lane.longest_wait(now)  # cheap, and nearly always enough
        if most <= allowed and now + most <= call.limit:
            return
        wait = lane.wait_seconds(call.actor, now)
        if wait <= allowed and now + wait <= call.limit:
            return
        self._tally.refuse(call.model, "queue" if wait > allowed else "deadline")
        raise UnavailableError(
            "serve.overloaded",
            f"Model {call.model!r} is busy.",
            why=f"The request would wait about {wait:.2g} s.",
            fix="Try again later, or let more workers serve.",
            details={"retry_after": max(1, round(wait))},
        )

    def put(self, ticket: Ticket) -> None:
        """Queue a ticket; it runs when :meth:`run` is next called."""
        loaded = ticket.arm.loaded
        lane = self._lanes.get(loaded.digest)
        if lane is None:
            lane = self._lanes[loaded.digest] = Lane(loaded)
            if loaded.runner is None:
                self._closed[lane] = None
                self._absent(ticket.arm)
        lane.put(ticket)
        self._waiting[lane] = None

    def run(self) -> bool:
        """Run what waits; True when some of it is left for the next turn."""
        until = 0.0
        while self._waiting:
            lane = next(iter(self._waiting))
            del self._waiting[lane]
            if lane in self._closed:
                continue
            while lane.tickets and not lane.running:
                self._start(lane)
                if lane.tickets:
                    now = time.perf_counter()
                    until = until or now + TURN_SECONDS
                    if now > until:
                        self._waiting[lane] = None
                        return True
        return False

    def give_up_late(self, now: float) -> None:
        """Fail those whose time ran out while a run or a load is under way, theirs or one before it.

        What their run brings back is thrown away.
        """
        for lane in (*self._running, *self._closed):
            for ticket in (*lane.running, *lane.queued()):
                if now > ticket.limit and not ticket.cancelled:
                    ticket.cancelled = True
                    self._give_up(ticket, now)

    def _give_up(self, ticket: Ticket, now: float) -> None:
        self._tally.statistics.fail(ticket, now)
        self._finish(ticket, _too_late(), 0.0)

    def _start(self, lane: Lane) -> None:
        loaded, tickets, now = lane.loaded, lane.take(), time.perf_counter()
        if len(tickets) == 1 and now <= tickets[0].limit:
            rows = tickets[0].rows
        else:
            tickets = self._in_time(loaded, tickets, now)
            rows = sum(ticket.rows for ticket in tickets)
        if not tickets:
            return
        self._tally.run(tickets[0].call.model, len(tickets))
        expected = loaded.pace.seconds(rows)
        if self.offload is None or expected <= INLINE_SECONDS:
            self._settle(loaded, tickets, execute(loaded.run, tickets), rows, now)
            return
        lane.running, lane.free_at = tickets, now + expected
        self._running[lane] = None
        self.offload(partial(execute, loaded.run, tickets), partial(self._back, lane, rows, now))

    def _in_time(self, loaded: Loaded, tickets: list[Ticket], now: float) -> list[Ticket]:
        """The tickets whose time has not run out; the others are told."""
        if any(now > ticket.limit for ticket in tickets):
            late = [ticket for ticket in tickets if now > ticket.limit]
            tickets = [ticket for ticket in tickets if now <= ticket.limit]
            loaded.in_flight -= len(late)
            for ticket in late:
                self._give_up(ticket, now)
        return tickets

    def _back(self, lane: Lane, rows: int, began: float, outcomes: list[Outcome]) -> None:
        tickets, lane.running = lane.running, []
        del self._running[lane]
        self._settle(lane.loaded, tickets, outcomes, rows, began)
        if lane.tickets:
            self._waiting[lane] = None

    def _settle(self, loaded: Loaded, tickets: list[Ticket], outcomes: list[Outcome], rows: int, began: float) -> None:
        ended = time.perf_counter()
        seconds = ended - began
        loaded.pace.learn(rows, seconds)
        loaded.in_flight -= len(tickets)
        loaded.used = ended
        finish = self._finish
        for ticket, outcome in zip(tickets, outcomes, strict=True):
            if ticket.cancelled:
                continue
            try:
                finish(ticket, outcome, seconds)
            except Exception:  # our own mistake with one request must not keep the others' answers back
                _logger.exception("an answer could not be finished")
                ticket.done(InternalError("serve.internal", "The request failed here.", fix="See the server's log."))
        self._tally.statistics.ran(tickets, outcomes, rows, began, ended)


def _too_late() -> ModelwrightError:
    return DeadlineError("serve.deadline", "The request's time ran out before its answer.", fix="Allow more time.")
