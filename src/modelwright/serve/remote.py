"""Runs of a model in other processes: begun here, and lost when their process ends.

What was lost with others runs again alone, so that only a request that ends its process by itself fails.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Protocol

from modelwright.core.errors import ModelwrightError
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

    def begin(self, lane: Lane) -> None:
        """Run what waits, now."""
        ...

    def wake(self, lane: Lane) -> None:
        """Run what waits in the next turn."""
        ...

    def freed(self, loaded: Loaded) -> None:
        """A process can start a run, or there is one more or less."""
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

    def start(self, tickets: list[Ticket], now: float) -> None:
        """Begin a run of these, but for those that may not run again."""
        if not (tickets := self._allowed(tickets, now)):
            return
        lane, rows = self._lane, sum(ticket.rows for ticket in tickets)
        self._tally.run(tickets[0].call.model, len(tickets))
        run = Run(tickets, rows, now, now + (expected := lane.loaded.pace.seconds(rows)))
        if not lane.loaded.streams:  # it may wait for a chunk of somebody else's, and killing would end that
            run.ended_at = now + max(HUNG_SECONDS, HUNG_TIMES * expected)
        lane.runs.append(run)
        feeds = tickets[0].feeds if len(tickets) == 1 else together(tickets)
        run.number = self._remote.start(feeds, partial(self._back, run))
        lane.slots = self._slots()

    def end_hung(self, now: float) -> None:
        """Kill the process of every run that nobody waits for and that does not end."""
        for run in list(self._lane.runs):
            if now - run.began > self._run_seconds or (now > run.ended_at and run.given_up):
                self._remote.abandon(run.number)

    def changed(self) -> None:
        """Go on with what waits."""
        self._driver.freed(self._lane.loaded)
        self.refresh()

    def refresh(self) -> None:
        """See how many runs can start, and have what waits looked at."""
        self._lane.slots = self._slots()
        self._driver.wake(self._lane)

    def restarted(self) -> None:
        """Count it."""
        self._tally.restart(self._model)

    def killed(self, reason: str) -> None:
        """Count it."""
        self._tally.kill(self._model, reason)

    def _slots(self) -> int:
        """Runs that can start; where none can for a while, what waits is taken up to be told so."""
        return self._remote.idle or (1 if self._remote.failure is not None else 0)

    def _allowed(self, tickets: list[Ticket], now: float) -> list[Ticket]:
        """Those that can run; the others are told why not."""
        failure, allowed = self._remote.failure, []
        for ticket in tickets:
            error = failure or self._remote.quarantined(ticket.feeds)
            if error is None:
                allowed.append(ticket)
                continue
            self._lane.loaded.in_flight -= 1
            self._driver.fail(ticket, error, now)
        return allowed

    def _back(self, run: Run, outcome: Outcome) -> None:
        lane, tickets = self._lane, run.tickets
        lane.runs.remove(run)
        self._driver.freed(lane.loaded)  # what belongs to sequences has its turn between two runs of others
        lane.slots = self._slots()
        if isinstance(outcome, ModelwrightError):
            self._failed(run, outcome)
            self._driver.wake(lane)
            return
        outcomes: list[Outcome] = apart(tickets, outcome) if len(tickets) > 1 else [outcome]
        if outcomes:
            if len(tickets) == 1:
                self._remote.clear(tickets[0].feeds)
            self._driver.begin(lane)  # before these are finished, so that the process need not wait for that
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
