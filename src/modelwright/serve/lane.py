"""The queue in front of one loaded version: whose turn it is, what runs together, and how long the wait is.

Batching is work-conserving: a version that is free runs what there is, at once; what arrives while it runs waits and
then runs together, as far as that changes no answer. Callers take turns by the time their requests take (deficit round
robin; Shreedhar and Varghese, 1996), so that one caller's queue is not another caller's wait.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import InternalError, ModelwrightError
from modelwright.ports.runner import Feeds, Outcome
from modelwright.ports.trace import Traced
from modelwright.serve.call import Answer, PredictCall
from modelwright.serve.load import Loaded
from modelwright.serve.route import LiveArm

MAX_ROWS = 8192
RUN_SECONDS = 0.03
"""A run of several requests is made no longer than this: the ones behind it wait for it."""
QUANTUM_SECONDS = 0.01
"""What a caller may use before it is the next one's turn."""
ROUNDING = 1e-9
Done = Callable[[Answer | ModelwrightError], object]
UNKNOWN_SECONDS = 1e-4  # a row of a model that has not run yet


class Ran(NamedTuple):
    """A run: its moments (``time.perf_counter``), and what ran together."""

    began: float
    ended: float
    requests: int
    rows: int


@dataclass(slots=True, eq=False)
class Ticket:
    """A request that fits its arm, waiting for it.

    ``done`` is called once, on the plane's thread, with the answer or the error, unless the ticket is ``cancelled``.
    ``layout`` is what two requests must share to run together; ``limit`` is the moment (``time.perf_counter``) at which
    the caller has given up; ``actor`` is whose queue it stands in; ``sent`` are the tensors as the caller sent them,
    where the model gets others. ``arrived`` and ``queued`` are the moments before and after it was checked; ``started``
    is when the request's last byte came, where that is known; ``ran`` is its run, once it has run. ``key`` is what it
    shares with equal requests, where others may wait for its answer (:mod:`.reuse`).
    """

    arm: LiveArm
    call: PredictCall
    feeds: Feeds
    rows: int
    done: Done
    layout: tuple[tuple[int, ...], ...] | None = None
    limit: float = math.inf
    actor: str = ""
    sent: Feeds | None = None
    warnings: tuple[str, ...] = ()
    cancelled: bool = False
    arrived: float = field(default_factory=time.perf_counter)
    queued: float = field(default_factory=time.perf_counter)
    started: float = 0.0
    ran: Ran | None = None
    key: bytes = b""


@dataclass(slots=True, eq=False)
class Run:
    """A run under way in another thread or process, expected back at ``free_at``.

    Where its process can be ended, that happens at ``ended_at`` if nobody waits for it any more.
    """

    tickets: list[Ticket]
    rows: int
    began: float
    free_at: float
    ended_at: float = math.inf
    number: int = 0

    @property
    def given_up(self) -> bool:
        """Whether nobody waits for it any more."""
        return all(ticket.cancelled for ticket in self.tickets)

    def until_free(self, now: float) -> float:
        """Seconds until it is over: one that is late is expected to take as long again as it is late."""
        expected = abs(self.free_at - now)
        return min(expected, max(self.ended_at - now, 0.0)) if self.given_up else expected


class Lane:
    """Tickets for one loaded version, by caller. ``slots`` is how many more runs can begin beside ``runs``."""

    __slots__ = ("_again", "_credit", "_lone", "_queues", "_rows", "loaded", "rows", "runs", "slots", "tickets")

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.tickets = self.rows = 0
        self.runs: list[Run] = []
        self.slots = 1
        self._again: deque[list[Ticket]] = deque()
        self._lone: Ticket | None = None  # who came to an empty lane stands in no queue until somebody else comes
        self._queues: dict[str, deque[Ticket]] = {}
        self._rows: dict[str, int] = {}
        self._credit: dict[str, float] = {}

    def put(self, ticket: Ticket) -> None:
        """Queue a ticket behind those of its caller that are as urgent."""
        self.tickets += 1
        self.rows += ticket.rows
        self.loaded.in_flight += 1
        if self.tickets == 1:
            self._lone = ticket
            return
        lone, self._lone = self._lone, None
        if lone is not None:
            self._queue(lone)
        self._queue(ticket)

    def _queue(self, ticket: Ticket) -> None:
        actor = ticket.actor
        queue = self._queues.get(actor)
        if queue is None:
            queue = self._queues[actor] = deque()
            self._rows[actor] = 0
        if not queue or queue[-1].call.priority <= ticket.call.priority:
            queue.append(ticket)
        else:
            queue.insert(next(i for i, other in enumerate(queue) if other.call.priority > ticket.call.priority), ticket)
        self._rows[actor] += ticket.rows

    def put_back(self, groups: Sequence[list[Ticket]]) -> None:
        """Let tickets that were taken run again, before all others: each group together, and with nobody else."""
        if self._lone is not None:
            lone, self._lone = self._lone, None
            self._queue(lone)
        for group in groups:
            self.tickets += len(group)
            self.rows += sum(ticket.rows for ticket in group)
        self._again.extendleft(reversed(groups))

    def queued(self) -> Iterator[Ticket]:
        """Every ticket that waits."""
        for group in self._again:
            yield from group
        if self._lone is not None:
            yield self._lone
        for queue in self._queues.values():
            yield from queue

    def _until_free(self, now: float) -> float:
        """Seconds until another run can begin."""
        return min((run.until_free(now) for run in self.runs), default=0.0) if self.slots <= 0 else 0.0

    def longest_wait(self, now: float) -> float:
        """How long all that waits here will take: nobody who comes now waits longer."""
        pace = self.loaded.pace
        return self._until_free(now) + pace.fixed * self.tickets + pace.per_row * self.rows

    def wait_seconds(self, actor: str, now: float) -> float:
        """How long a request of this caller would wait before it runs, if every caller gets their turn."""
        running = self._until_free(now)
        if not self.tickets:
            return running
        if self._lone is not None:
            return self.longest_wait(now)
        own = self._seconds(actor)
        ahead = own + sum(min(self._seconds(name), own + QUANTUM_SECONDS) for name in self._queues if name != actor)
        pace = self.loaded.pace
        if self.loaded.batched and pace.per_row:  # what a run costs whatever it holds, once for each run ahead
            ahead += pace.fixed * math.ceil(ahead / pace.per_row / self._rows_in_a_run())
        return running + ahead

    def take(self) -> list[Ticket]:
        """The next run: one request, or several that give the same answers together as alone."""
        lone, self._lone = self._lone, None
        if lone is not None:
            self.tickets = self.rows = 0
            if not lone.cancelled:
                return [lone]
            self.loaded.in_flight -= 1
            return []
        if self._again:
            return self._take_again()
        taken: list[Ticket] = []
        rows, most = 0, self._rows_in_a_run()
        fixed, per_row = self._cost()
        while self._queues:
            actor, queue = next(iter(self._queues.items()))
            credit = self._credit.pop(actor, 0.0) + QUANTUM_SECONDS if len(self._queues) > 1 else math.inf
            while queue and (cost := fixed + per_row * queue[0].rows) <= credit + ROUNDING:
                ticket = queue[0]
                if taken and not ticket.cancelled and not self._joins(taken[0], ticket, rows, most):
                    # the turn goes on in the next run; who was alone has had theirs if somebody has come by then
                    self._credit[actor] = min(credit, 0.0 if credit == math.inf else credit) - QUANTUM_SECONDS
                    return taken
                queue.popleft()
                self.tickets -= 1
                self.rows -= ticket.rows
                self._rows[actor] -= ticket.rows
                if ticket.cancelled:
                    self.loaded.in_flight -= 1
                    continue
                credit -= cost
                rows += ticket.rows
                taken.append(ticket)
            del self._queues[actor]
            if queue:
                self._queues[actor] = queue  # to the end of the round
                self._credit[actor] = max(credit, 0.0)
            else:
                del self._rows[actor]
        return taken

    def _take_again(self) -> list[Ticket]:
        group = self._again.popleft()
        self.tickets -= len(group)
        self.rows -= sum(ticket.rows for ticket in group)
        taken = [ticket for ticket in group if not ticket.cancelled]
        self.loaded.in_flight -= len(group) - len(taken)
        return taken

    def _joins(self, first: Ticket, ticket: Ticket, rows: int, most: int) -> bool:
        return self.loaded.batched and rows + ticket.rows <= most and ticket.layout == first.layout

    def _cost(self) -> tuple[float, float]:
        """Seconds that a request adds to the queue: for itself, and for each of its rows."""
        pace = self.loaded.pace
        if not pace.fixed and not pace.per_row:
            return 0.0, UNKNOWN_SECONDS
        return (0.0, pace.per_row or pace.fixed / MAX_ROWS) if self.loaded.batched else (pace.fixed, pace.per_row)

    def _seconds(self, actor: str) -> float:
        """What waits of one caller."""
        queue = self._queues.get(actor)
        if queue is None:
            return 0.0
        fixed, per_row = self._cost()
        return fixed * len(queue) + per_row * self._rows[actor]

    def _rows_in_a_run(self) -> int:
        """Rows for :data:`RUN_SECONDS`; where a run costs more than that whatever it holds, for as much again."""
        pace = self.loaded.pace
        if not pace.per_row:
            return MAX_ROWS
        return max(1, min(MAX_ROWS, int(max(RUN_SECONDS - pace.fixed, pace.fixed) / pace.per_row)))


def execute(run: Callable[[Feeds], dict[str, NDArray[Any]]], tickets: Sequence[Ticket]) -> list[Outcome]:
    """Outputs or the error of each ticket. Touches nothing else, so that it may run in any thread.

    A run of several that fails is halved until the failing requests stand alone.
    """
    if len(tickets) == 1:
        return [_alone(run, tickets[0])]
    try:
        outcomes = apart(tickets, run(together(tickets)))
    except Exception:  # noqa: BLE001 - whose fault it is shows when they run apart
        outcomes = []
    if not outcomes:
        half = len(tickets) // 2
        return [*execute(run, tickets[:half]), *execute(run, tickets[half:])]
    return outcomes


def together(tickets: Sequence[Ticket]) -> dict[str, NDArray[Any]]:
    """The feeds of a run of several."""
    return {name: np.concatenate([ticket.feeds[name] for ticket in tickets]) for name in tickets[0].feeds}


def apart(tickets: Sequence[Ticket], outputs: Mapping[str, NDArray[Any]]) -> list[Outcome]:
    """Each ticket's rows of a run of several; empty when the outputs have other rows than the tickets."""
    rows = sum(ticket.rows for ticket in tickets)
    if any(tensor.shape[:1] != (rows,) for tensor in outputs.values()):
        return []
    outcomes: list[Outcome] = []
    start = 0
    for ticket in tickets:
        end = start + ticket.rows
        if isinstance(outputs, Traced):
            outcomes.append(outputs.part(start, end))
        else:
            outcomes.append({name: tensor[start:end] for name, tensor in outputs.items()})
        start = end
    return outcomes


def _alone(run: Callable[[Feeds], dict[str, NDArray[Any]]], ticket: Ticket) -> Outcome:
    try:
        return run(ticket.feeds)
    except ModelwrightError as error:
        return error
    except Exception as error:  # noqa: BLE001 - a runner's fault is an answer like any other
        arm = ticket.arm
        failed = InternalError(
            "serve.runner-failed", f"Model {arm.model!r} version {arm.version} failed.", why=type(error).__name__
        )
        failed.__cause__ = error
        return failed
