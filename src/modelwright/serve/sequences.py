"""Sequences: requests that belong together, answered in their order, one at a time, by one version in one process."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from functools import partial

from modelwright.core.errors import (
    BadInputError,
    ConflictError,
    DeadlineError,
    InternalError,
    ModelwrightError,
    UnavailableError,
)
from modelwright.ports.runner import LOST, Outcome, SequenceMark
from modelwright.serve.call import MAX_ID_LENGTH, PredictCall
from modelwright.serve.drive import Driver
from modelwright.serve.lane import Ticket
from modelwright.serve.load import Loaded
from modelwright.serve.route import LiveArm
from modelwright.serve.tally import Tally

MAX_WAITING = 64
"""So many requests of one sequence may wait."""
IDLE_SECONDS, MOST = 60.0, 10_000

_Key = tuple[str, str, str, str]


@dataclass(slots=True, eq=False)
class _Sequence:
    """One sequence; ``number`` tells it from one of the same id before or beside it."""

    arm: LiveArm
    number: int
    seat: int = 0
    lost: bool = False
    ticket: Ticket | None = None
    run: int = 0
    began: float = 0.0
    used: float = field(default_factory=time.perf_counter)
    waiting: deque[Ticket] = field(default_factory=deque)


def mark_of(identity: object, start: object, end: object) -> SequenceMark | None:
    """The sequence that a request names, by a number or by text; 0, an empty text and None name none.

    Raises:
        BadInputError: ``serve.bad-sequence``.
    """
    if not identity:
        return None
    text = str(identity)
    usable = isinstance(identity, int | str) and not isinstance(identity, bool) and len(text) <= MAX_ID_LENGTH
    if not usable or not all(flag is None or isinstance(flag, bool) for flag in (start, end)):
        raise BadInputError(
            "serve.bad-sequence",
            "The request names no usable sequence.",
            fix=f"Give sequence_id as a number or at most {MAX_ID_LENGTH} characters; sequence_start and sequence_end "
            "as true or false.",
        )
    return SequenceMark(text, start is True, end is True)


class Sequences:
    """The sequences of a plane: of each caller and model, by their ids. A bounded table.

    Args:
        driver: finishes requests.
        tally: counts.
        most: sequences at once.
        idle_seconds: a sequence that nobody asks about for so long is over.
        run_seconds: a run that takes longer has hung.
    """

    def __init__(self, driver: Driver, tally: Tally, *, most: int, idle_seconds: float, run_seconds: float) -> None:
        self._driver, self._tally = driver, tally
        self._most, self._idle_seconds, self._run_seconds = most, idle_seconds, run_seconds
        self._known: dict[_Key, _Sequence] = {}
        self._pending: dict[str, dict[_Key, _Sequence]] = {}
        self._seated: Counter[tuple[str, int]] = Counter()
        self._numbers = 0

    def arm(self, call: PredictCall, pick: Callable[[], LiveArm], served: Container[str]) -> LiveArm:
        """The arm that answers the sequence of this request: the one that answered before, else the one picked.

        ``served`` are the digests of what is served now.

        Raises:
            BadInputError: ``serve.unknown-sequence``.
            ConflictError: ``serve.sequence-lost``.
            UnavailableError: ``serve.too-many-sequences``.
        """
        assert call.sequence is not None
        key, start = _key(call), call.sequence.start
        known = self._known.get(key)
        if known is not None and known.arm.loaded.digest not in served:
            self._lose(known)
            if not known.arm.loaded.sequences:
                self._drop(key)
                known = None
        if known is not None and not start:
            if known.lost:
                raise sequence_lost(call)
            return known.arm
        arm = pick()
        if known is None and arm.loaded.sequences and not start:
            raise _unknown(call)
        if known is not None and (known.lost or (not known.waiting and known.ticket is None)):
            self._drop(key)  # begun anew
        if key not in self._known:
            if len(self._known) >= self._most:
                if not arm.loaded.sequences:
                    return arm  # a model without a state can do without
                self._tally.refuse(call.model, "sequences")
                raise UnavailableError(
                    "serve.too-many-sequences",
                    f"{self._most} sequences are open here.",
                    fix="End those that are over (sequence_end), or raise MODELWRIGHT_MAX_SEQUENCES.",
                    details={"retry_after": 1},
                )
            self._numbers += 1
            self._known[key] = _Sequence(arm, self._numbers)
        return self._known[key].arm

    def put(self, ticket: Ticket) -> None:
        """Queue a request behind those of its sequence.

        Raises:
            UnavailableError: ``serve.overloaded``.
        """
        key = _key(ticket.call)
        known = self._known[key]
        if len(known.waiting) >= MAX_WAITING:
            self._tally.refuse(ticket.call.model, "queue")
            raise UnavailableError(
                "serve.overloaded",
                f"{MAX_WAITING} requests of the sequence wait already.",
                fix="Wait for answers before asking on.",
                details={"retry_after": 1},
            )
        known.waiting.append(ticket)
        self._pending.setdefault(ticket.arm.loaded.digest, {})[key] = known
        ticket.arm.loaded.in_flight += 1

    def touch(self, call: PredictCall) -> None:
        """A request of a model without a state was put elsewhere: the sequence is alive, or over."""
        assert call.sequence is not None
        known = self._known.get(_key(call))
        if known is not None:
            known.used = time.perf_counter()
            if call.sequence.end:
                self._drop(_key(call))

    def go_on(self, loaded: Loaded) -> None:
        """Run what can run of this version's sequences."""
        pending = self._pending.get(loaded.digest)
        if not pending:
            return
        for key, known in [*pending.items()]:
            self._next(key, known)
            if not known.waiting:
                pending.pop(key, None)

    def fail(self, loaded: Loaded, error: ModelwrightError) -> None:
        """The version cannot be loaded."""
        for known in [*self._known.values()]:
            if known.arm.loaded is loaded:
                self._fail_waiting(known, error)

    def sweep(self, now: float) -> None:
        """End what is late, what hangs and what is over."""
        for key, known in [*self._known.items()]:
            for ticket in (*known.waiting, *((known.ticket,) if known.ticket else ())):
                if now > ticket.limit and not ticket.cancelled:
                    ticket.cancelled = True
                    self._driver.fail(ticket, _too_late(), now)
            remote = known.arm.loaded.remote
            if known.ticket is not None:
                if now - known.began > self._run_seconds and remote is not None:
                    remote.abandon(known.run)
            elif not known.waiting and now - known.used > self._idle_seconds:
                self._drop(key)
            else:
                self._next(key, known)

    def _next(self, key: _Key, known: _Sequence) -> None:
        """Start the next request of a sequence, if its process is free."""
        while known.waiting and known.waiting[0].cancelled:
            known.waiting.popleft()
            known.arm.loaded.in_flight -= 1
        remote = known.arm.loaded.remote
        if known.ticket is not None or not known.waiting or known.arm.loaded.runner is None:
            return
        if remote is None:
            self._fail_waiting(known, InternalError("serve.internal", "The model has no process."))
            return
        if remote.failure is not None and not known.seat:
            self._fail_waiting(known, remote.failure)
            return
        seats = remote.seats
        if not known.seat and seats:
            digest = known.arm.loaded.digest
            known.seat = min(seats, key=lambda seat: (self._seated[digest, seat], not seats[seat]))
            self._seated[digest, known.seat] += 1
        if known.seat and known.seat not in seats:
            self._lose(known)
        elif known.seat and seats[known.seat]:
            ticket = known.ticket = known.waiting.popleft()
            mark, known.began = ticket.call.sequence, time.perf_counter()
            assert mark is not None
            done = partial(self._back, key, known)
            known.run = remote.start(ticket.feeds, done, mark._replace(key=known.number), known.seat)
            self._tally.run(ticket.call.model, 1)
            self._driver.refresh(known.arm.loaded)

    def _back(self, key: _Key, known: _Sequence, outcome: Outcome) -> None:
        ticket, known.ticket, known.used = known.ticket, None, time.perf_counter()
        assert ticket is not None
        loaded, mark = known.arm.loaded, ticket.call.sequence
        lost = isinstance(outcome, ModelwrightError) and outcome.code == LOST
        if lost:
            outcome = sequence_lost(ticket.call)
        self._driver.refresh(loaded)
        self._driver.settle(loaded, [ticket], [outcome], ticket.rows, known.began)
        if lost:
            self._lose(known)
        elif mark is not None and mark.end:
            self._over(key, known)
        self._driver.begin_for(loaded)  # those that belong to no sequence have their turn too
        self.go_on(loaded)

    def _over(self, key: _Key, known: _Sequence) -> None:
        """A sequence has had its last request; what waits may begin it anew."""
        following = known.waiting[0].call.sequence if known.waiting else None
        if following is not None and following.start:
            return
        while known.waiting:
            self._fail_one(known, _unknown(known.waiting[0].call))
        if self._known.get(key) is known:
            self._drop(key)

    def _lose(self, known: _Sequence) -> None:
        known.lost, known.used = True, time.perf_counter()
        self._unseat(known)
        while known.waiting:
            self._fail_one(known, sequence_lost(known.waiting[0].call))

    def _fail_waiting(self, known: _Sequence, error: ModelwrightError) -> None:
        while known.waiting:
            self._fail_one(known, error)

    def _fail_one(self, known: _Sequence, error: ModelwrightError) -> None:
        ticket = known.waiting.popleft()
        known.arm.loaded.in_flight -= 1
        if not ticket.cancelled:
            self._driver.fail(ticket, error, time.perf_counter())

    def _drop(self, key: _Key) -> None:
        known = self._known.pop(key)
        remote = known.arm.loaded.remote
        if known.seat and remote is not None:
            remote.forget(known.seat, known.number)
        self._unseat(known)

    def _unseat(self, known: _Sequence) -> None:
        place = (known.arm.loaded.digest, known.seat)
        if known.seat:
            self._seated[place] -= 1
            if not self._seated[place]:
                del self._seated[place]
        known.seat = 0


def _key(call: PredictCall) -> _Key:
    assert call.sequence is not None
    return call.actor, call.model, call.version, call.sequence.id


def _unknown(call: PredictCall) -> BadInputError:
    return BadInputError(
        "serve.unknown-sequence",
        f"Model {call.model!r} knows no such sequence here.",
        why="It was not begun, it has ended, or nobody asked about it for too long.",
        fix="Begin it with sequence_start.",
    )


def sequence_lost(call: PredictCall) -> ConflictError:
    """The state of a sequence is gone."""
    return ConflictError(
        "serve.sequence-lost",
        f"The sequence of model {call.model!r} is lost.",
        why="The process that kept its state has ended, or its version is not served any more.",
        fix="Begin it anew with sequence_start.",
    )


def no_chunks() -> BadInputError:
    """Sequences and answers in chunks exclude each other."""
    return BadInputError(
        "serve.bad-sequence",
        "A request of a sequence cannot be answered in chunks.",
        fix="Leave the sequence out, or ask for the whole answer.",
    )


def _too_late() -> ModelwrightError:
    return DeadlineError("serve.deadline", "The request's time ran out before its answer.", fix="Allow more time.")
