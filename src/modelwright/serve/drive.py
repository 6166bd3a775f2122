"""Running what waits: whose turn it is, here or in another thread, and whom to refuse before they wait in vain."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

from modelwright.core.errors import DeadlineError, InternalError, ModelwrightError, UnavailableError
from modelwright.ports.runner import Feeds, Outcome, Watch
from modelwright.serve.call import PredictCall
from modelwright.serve.lane import Lane, Ran, Run, Ticket, execute
from modelwright.serve.load import Loaded
from modelwright.serve.remote import RemoteLane
from modelwright.serve.route import LiveArm
from modelwright.serve.tally import Tally

_logger = logging.getLogger(__name__)

INLINE_SECONDS, INLINE_BESIDE_SECONDS = 0.002, 0.0002
"""A run expected to take longer leaves the plane's thread, so that nothing else waits for it; a shorter one does where
others of the same version can be made beside it, on another device."""
TURN_SECONDS = 0.01
"""So long may runs on the plane's thread go on before somebody looks at the sockets again."""
RUN_SECONDS = 30.0

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
        watch: the event loop, for models in other processes; None: runs wait for them.
        run_seconds: a run in another process that takes longer hangs.
    """

    def __init__(
        self,
        finish: Callable[[Ticket, Outcome, float], None],
        tally: Tally,
        *,
        queue_seconds: float,
        offload: Offload | None,
        absent: Callable[[LiveArm], None],
        watch: Watch | None = None,
        run_seconds: float = RUN_SECONDS,
    ) -> None:
        self.offload = offload
        self.freed: Callable[[Loaded], None] = _nothing
        self._absent = absent
        self._watch, self._run_seconds = watch, run_seconds
        self._remotes: dict[Lane, RemoteLane] = {}
        self._finish, self._tally, self._queue_seconds = finish, tally, queue_seconds
        self._lanes: dict[str, Lane] = {}
        self._waiting: dict[Lane, None] = {}
        self._running: dict[Lane, None] = {}
        self._closed: dict[Lane, None] = {}

    def wait_seconds(self, loaded: Loaded, actor: str) -> float:
        """How long a request of this caller would wait for this version."""
        lane = self._lanes.get(loaded.digest)
        return lane.wait_seconds(actor, time.perf_counter()) if lane else 0.0

    def refuse(self, loaded: Loaded, call: PredictCall, feeds: Feeds) -> None:
        """Refuse what this version cannot run now, or must not run again.

        Raises:
            UnavailableError: ``serve.version-failed``.
            RefusedError: ``serve.poison-request``.
        """
        remote = loaded.remote
        if remote is not None and (error := remote.failure or remote.quarantined(feeds)):
            self._tally.refuse(call.model, "failed" if error.kind == "unavailable" else "poison")
            raise error

    def adopt(self, loaded: Loaded) -> None:
        """Look after the processes of a version from now on, where it has some."""
        if loaded.remote is not None and loaded.digest not in self._lanes:
            self._new_lane(loaded)

    def _new_lane(self, loaded: Loaded) -> Lane:
        lane = self._lanes[loaded.digest] = Lane(loaded)
        lane.slots = loaded.instances
        self._drive_aside(lane)
        return lane

    def _drive_aside(self, lane: Lane) -> None:
        """Make the lane's runs in other processes, where its version runs in some."""
        remote = lane.loaded.remote
        if remote is not None and self._watch is not None:
            self._remotes[lane] = aside = RemoteLane(lane, remote, self._tally, self, self._run_seconds)
            remote.attach(self._watch, aside)
            aside.changed()

    def refresh(self, loaded: Loaded) -> None:
        """A run was started, or has ended, in a process of this version beside its queue."""
        lane = self._lanes.get(loaded.digest)
        if lane is not None and lane in self._remotes:
            self._remotes[lane].refresh()

    def begin_for(self, loaded: Loaded) -> None:
        """Run what waits in the queue of this version, now, as far as it can begin."""
        lane = self._lanes.get(loaded.digest)
        if lane is not None and lane in self._remotes:
            self.begin(lane)

    def longest_wait(self, loaded: Loaded) -> float:
        """How long nobody who comes now waits longer than, in seconds."""
        lane = self._lanes.get(loaded.digest)
        return lane.longest_wait(time.perf_counter()) if lane else 0.0

    def forget(self, loaded: Loaded) -> None:
        """Drop the queue of a version that nothing waits for."""
        lane = self._lanes.get(loaded.digest)
        if lane is not None and lane.loaded is loaded:
            del self._lanes[loaded.digest]
            self._remotes.pop(lane, None)

    def open(self, loaded: Loaded) -> None:
        """The version is in memory now: what waited for that runs when :meth:`run` is next called."""
        lane = self._lanes.get(loaded.digest)
        if lane is None or lane.loaded is not loaded:
            return
        if lane in self._closed:
            del self._closed[lane]
            lane.slots = loaded.instances
            self._drive_aside(lane)
        self._waiting[lane] = None

    def fail_all(self, loaded: Loaded, error: ModelwrightError) -> None:
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
                self.fail(ticket, error, now)

    def begin(self, lane: Lane) -> None:
        """Run what waits there now, as far as it can begin."""
        while lane.tickets and lane.slots > 0:
            self._start(lane)

    def wake(self, lane: Lane) -> None:
        """Run what waits there in the next turn."""
        if lane.tickets:
            self._waiting[lane] = None

    def admit(self, loaded: Loaded, call: PredictCall) -> None:
        """Refuse what would be too late, or wait longer than is allowed (a retry: than half of that).

        Raises:
            UnavailableError: ``serve.overloaded``.
        """
        lane = self._lanes.get(loaded.digest)
        if lane is None or not (lane.tickets or lane.runs):
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
            lane = self._new_lane(loaded)
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
            while lane.tickets and lane.slots > 0:
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
        for lane in (*self._running, *self._closed, *self._remotes):
            for ticket in (*(ticket for run in lane.runs for ticket in run.tickets), *lane.queued()):
                if now > ticket.limit:
                    self.give_up(ticket, now)
        for aside in self._remotes.values():
            aside.end_hung(now)

    def give_up(self, ticket: Ticket, now: float) -> None:
        """Fail a ticket whose time ran out; what its run brings back is thrown away."""
        if not ticket.cancelled:
            ticket.cancelled = True
            self.fail(ticket, _too_late(), now)

    def fail(self, ticket: Ticket, error: ModelwrightError, now: float) -> None:
        """Finish a ticket that did not run."""
        self._tally.statistics.fail(ticket, now)
        self._finish(ticket, error, 0.0)

    def _start(self, lane: Lane) -> None:
        loaded, tickets, now = lane.loaded, lane.take(), time.perf_counter()
        if len(tickets) == 1 and now <= tickets[0].limit:
            rows = tickets[0].rows
        else:
            tickets = self._in_time(loaded, tickets, now)
            rows = sum(ticket.rows for ticket in tickets)
        if not tickets:
            return
        expected = loaded.pace.seconds(rows)
        if self._remotes and lane in self._remotes:
            self._remotes[lane].start(tickets, now)
            return
        self._tally.run(tickets[0].call.model, len(tickets))
        short = INLINE_SECONDS if loaded.instances == 1 else INLINE_BESIDE_SECONDS
        if self.offload is None or expected <= short:
            self.settle(loaded, tickets, execute(loaded.run, tickets), rows, now)
            return
        run = Run(tickets, rows, now, now + expected)
        lane.runs.append(run)
        lane.slots -= 1
        self._running[lane] = None
        self.offload(partial(execute, loaded.run, tickets), partial(self._back, lane, run))

    def _in_time(self, loaded: Loaded, tickets: list[Ticket], now: float) -> list[Ticket]:
        """The tickets whose time has not run out; the others are told."""
        if any(now > ticket.limit for ticket in tickets):
            late = [ticket for ticket in tickets if now > ticket.limit]
            tickets = [ticket for ticket in tickets if now <= ticket.limit]
            loaded.in_flight -= len(late)
            for ticket in late:
                self.fail(ticket, _too_late(), now)
        return tickets

    def _back(self, lane: Lane, run: Run, outcomes: list[Outcome]) -> None:
        lane.runs.remove(run)
        lane.slots += 1
        if not lane.runs:
            del self._running[lane]
        self.settle(lane.loaded, run.tickets, outcomes, run.rows, run.began)
        self.wake(lane)

    def settle(self, loaded: Loaded, tickets: list[Ticket], outcomes: list[Outcome], rows: int, began: float) -> None:
        """Finish the tickets of a run that began at ``began``."""
        ended = time.perf_counter()
        seconds = ended - began
        loaded.pace.learn(rows, seconds)
        loaded.in_flight -= len(tickets)
        loaded.used = ended
        finish, ran = self._finish, Ran(began, ended, len(tickets), rows)
        for ticket, outcome in zip(tickets, outcomes, strict=True):
            if ticket.cancelled:
                continue
            ticket.ran = ran
            try:
                finish(ticket, outcome, seconds)
            except Exception:  # our own mistake with one request must not keep the others' answers back
                _logger.exception("an answer could not be finished")
                ticket.done(InternalError("serve.internal", "The request failed here.", fix="See the server's log."))
        self._tally.statistics.ran(tickets, outcomes, rows, began, ended)


def _nothing(_loaded: Loaded) -> None:
    """Nobody waits beside the queues."""


def _too_late() -> ModelwrightError:
    return DeadlineError("serve.deadline", "The request's time ran out before its answer.", fix="Allow more time.")
