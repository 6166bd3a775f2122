"""Runs of a model in other processes: begun here, and lost when their process ends.

What was lost with others runs again alone, so that only a request that ends its process by itself fails.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Protocol

from modelwright.core.errors import ModelwrightError, UnavailableError
from modelwright.ports.runner import LOST, Outcome, Remote
from modelwright.serve.lane import Lane, Run, Ticket, apart, together
from modelwright.serve.load import Loaded
from modelwright.serve.tally import Tally

HUNG_SECONDS, HUNG_TIMES = 0.5, 4.0
"""A run that nobody waits for any more has hung once it took so long, and so many times what was expected."""


class Finishing(Protocol):
    """What a driver does with requests that ran, that did not, and with a queue that can go on."""

    def settle(self, loaded: Loaded, tickets: list[Ticket], outcomes: list[Outcome], rows: int, began: float) -> None:
        """Finish the tickets of a run."""
        ...

    def fail(self, ticket: Ticket, error: ModelwrightError, now: float) -> None:
        """Finish a ticket that did not run."""
        ...

    def wake(self, lane: Lane) -> None:
        """Run what waits."""
        ...


class RemoteLane:
    """One lane whose runs are made in other processes; told of them as their ``ports.runner.Observer``.

    Args:
        lane: the queue.
        remote: the processes.
        tally: counts runs, and what becomes of the processes.
        driver: finishes requests.
        run_seconds: a run that takes longer has hung.
    """

    def __init__(self, lane: Lane, remote: Remote, tally: Tally, driver: Finishing, run_seconds: float) -> None:
        self._lane, self._remote, self._tally, self._driver = lane, remote, tally, driver
        self._run_seconds, self._model = run_seconds, lane.loaded.package.name

    @property
    def failure(self) -> UnavailableError | None:
        """Why nothing can run here for a while."""
        return self._remote.failure

    def start(self, tickets: list[Ticket], now: float) -> None:
        """Begin a run of these, but for those that may not run again."""
        tickets = self._allowed(tickets, now)
        if not tickets:
            return
        lane, rows = self._lane, sum(ticket.rows for ticket in tickets)
        self._tally.run(tickets[0].call.model, len(tickets))
        run = Run(tickets, rows, now, now + lane.loaded.pace.seconds(rows))
        lane.runs.append(run)
        feeds = tickets[0].feeds if len(tickets) == 1 else together(tickets)
        run.number = self._remote.start(feeds, partial(self._back, run))
        lane.slots = self._remote.idle

    def end_hung(self, now: float) -> None:
        """Kill the process of every run that nobody waits for and that does not end."""
        for run in list(self._lane.runs):
            taken = now - run.began
            patience = max(HUNG_SECONDS, HUNG_TIMES * (run.free_at - run.began))
            given_up = all(ticket.cancelled for ticket in run.tickets)
            if taken > self._run_seconds or (given_up and taken > patience):
                self._remote.abandon(run.number)

    def changed(self) -> None:
        """Go on with what waits; where nothing will run for a while, nothing waits for it."""
        lane, now = self._lane, time.perf_counter()
        lane.slots = self._remote.idle
        failure = self._remote.failure
        while failure is not None and lane.tickets:
            tickets = lane.take()
            lane.loaded.in_flight -= len(tickets)
            for ticket in tickets:
                self._driver.fail(ticket, failure, now)
        self._driver.wake(lane)

    def restarted(self) -> None:
        """Count it."""
        self._tally.restart(self._model)

    def killed(self, reason: str) -> None:
        """Count it."""
        self._tally.kill(self._model, reason)

    def _allowed(self, tickets: list[Ticket], now: float) -> list[Ticket]:
        allowed = []
        for ticket in tickets:
            if (poison := self._remote.quarantined(ticket.feeds)) is None:
                allowed.append(ticket)
                continue
            self._lane.loaded.in_flight -= 1
            self._driver.fail(ticket, poison, now)
        return allowed

    def _back(self, run: Run, outcome: Outcome) -> None:
        lane, tickets = self._lane, run.tickets
        lane.runs.remove(run)
        lane.slots = self._remote.idle
        if isinstance(outcome, ModelwrightError):
            self._failed(run, outcome)
        elif len(tickets) == 1:
            self._remote.clear(tickets[0].feeds)
            self._driver.settle(lane.loaded, tickets, [outcome], run.rows, run.began)
        elif outcomes := apart(tickets, outcome):
            self._driver.settle(lane.loaded, tickets, outcomes, run.rows, run.began)
        else:
            self._halve(tickets)
        self._driver.wake(lane)

    def _failed(self, run: Run, error: ModelwrightError) -> None:
        tickets, lane, now = run.tickets, self._lane, time.perf_counter()
        lost = error.code == LOST
        if len(tickets) > 1 and not lost:
            self._halve(tickets)
            return
        if lost and len(tickets) == 1 and (poison := self._remote.blame(tickets[0].feeds)):
            self._tally.quarantine(self._model)
            error, lost = poison, False
        if lost and self._remote.idempotent:
            lane.put_back([[ticket] for ticket in tickets])
            return
        if not lost:
            self._driver.settle(lane.loaded, tickets, [error], run.rows, run.began)
            return
        lane.loaded.in_flight -= len(tickets)
        for ticket in tickets:
            if not ticket.cancelled:
                self._driver.fail(ticket, error, now)

    def _halve(self, tickets: list[Ticket]) -> None:
        """Whose fault it is shows when they run apart."""
        half = len(tickets) // 2
        self._lane.put_back([tickets[:half], tickets[half:]])
