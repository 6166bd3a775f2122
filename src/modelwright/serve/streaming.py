"""Answers in chunks: begun, handed on, recorded once, and ended by the model, the caller or the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from modelwright.core.errors import DeadlineError, ModelwrightError, UnavailableError
from modelwright.ports.runner import LOST, Remote
from modelwright.serve.call import Answer
from modelwright.serve.lane import Ran, Ticket
from modelwright.serve.tally import Tally

STOP_SECONDS = 5.0
"""A model that was told to stop an answer and does not within so long is killed."""

Outputs = Mapping[str, NDArray[Any]]


class Listener(Protocol):
    """Who asked for an answer in chunks; told on the plane's thread."""

    def chunk(self, answer: Answer) -> None:
        """One more chunk; :meth:`Streaming.taken` says when it has been used."""
        ...

    def end(self, error: ModelwrightError | None) -> None:
        """Told once, unless the caller cancelled: the record is appended; why, where the answer is not whole."""
        ...


class Streaming(Protocol):
    """An answer in chunks under way."""

    ticket: Ticket

    def taken(self) -> None:
        """The oldest chunk that is not taken yet has been used: the model may be one further ahead."""
        ...

    def cancel(self) -> None:
        """Nobody listens any more."""
        ...


class Whole:
    """An answer in one chunk, of a model that gives no other."""

    def __init__(self) -> None:
        self.ticket: Ticket

    def taken(self) -> None:
        """Nothing waits for that."""

    def cancel(self) -> None:
        """What has not begun is not run."""
        self.ticket.cancelled = True


class Chunks:
    """One answer in chunks of a model in other processes.

    Args:
        streams: all of them.
        ticket: the request.
        listener: who asked.
    """

    def __init__(self, streams: Streams, ticket: Ticket, listener: Listener) -> None:
        self.ticket, self.began = ticket, time.perf_counter()
        self.heard, self.untaken, self.number = self.began, 0, 0
        self.run, self.over, self.last = 0, False, dict[str, NDArray[Any]]()
        self.remote: Remote | None = None
        self._streams, self._listener = streams, listener

    def taken(self) -> None:
        """One more may come."""
        if self.untaken:
            self.untaken -= 1
            self.heard = time.perf_counter()  # from now on the model is waited for
            if self.remote is not None and not self.over:
                self.remote.welcome(self.run)

    def cancel(self) -> None:
        """The caller is gone."""
        self.finish("serve.cancelled", None)

    @property
    def waited_for(self) -> bool:
        """Whether it is the model's turn."""
        return self.remote is None or self.untaken < self.remote.window

    # The processes call these.

    def chunk(self, outputs: dict[str, NDArray[Any]]) -> None:
        """Hand it on."""
        if self.over:
            return
        self.last, self.heard = outputs, time.perf_counter()
        self.untaken += 1
        self.number += 1
        self._listener.chunk(self._answer(outputs))

    def ended(self, error: ModelwrightError | None) -> None:
        """The model stopped."""
        self._streams.stopped(self)
        if self.over or (error is not None and not self.number and self._streams.stand_in(self, error.code)):
            return
        self.remote = None
        self.finish("ok" if error is None else error.code, error)

    # The streams call these.

    def fail(self, error: ModelwrightError) -> None:
        """End it here."""
        self.finish(error.code, error)

    def refused(self, error: ModelwrightError) -> None:
        """It does not begin."""
        self.over = True
        self._listener.end(error)

    def finish(self, status: str, error: ModelwrightError | None) -> None:
        """Record it and tell who asked."""
        if self.over:
            return
        self.over = True
        self._streams.finished(self, status)
        if status != "serve.cancelled":
            self._listener.end(error)

    def _answer(self, outputs: dict[str, NDArray[Any]]) -> Answer:
        arm, call = self.ticket.arm, self.ticket.call
        chosen = outputs if call.outputs is None else {name: outputs[name] for name in call.outputs}
        rows, seconds = self.ticket.rows, self.heard - self.began
        signature, warnings = arm.loaded.signature, self.ticket.warnings
        return Answer(arm.model, arm.version, arm.role, call.prediction_id, chosen, rows, seconds, signature, warnings)


class Streams:
    """Every answer in chunks of a plane.

    Args:
        record: writes the one record of an answer: the request, its last chunk, its seconds, its status.
        tally: counts.
        champion: the request as the champion takes it, where a canary failed before its first chunk; None: no way.
        chunk_seconds: a model that gives no chunk for so long, while one is welcome, has hung.
    """

    def __init__(
        self,
        record: Callable[[Ticket, Outputs, float, str], None],
        tally: Tally,
        champion: Callable[[Ticket], Ticket | None],
        *,
        chunk_seconds: float,
    ) -> None:
        self._record, self._tally, self._champion, self._chunk_seconds = record, tally, champion, chunk_seconds
        self._open: set[Chunks] = set()
        self._stopping: dict[Chunks, float] = {}
        self._waiting: list[Chunks] = []

    def open(self, ticket: Ticket, listener: Listener) -> Chunks:
        """One more, waiting for :meth:`begin`."""
        chunks = Chunks(self, ticket, listener)
        self._open.add(chunks)
        ticket.arm.loaded.in_flight += 1
        return chunks

    def begin(self, chunks: Chunks) -> None:
        """Let the model begin; where it cannot, ``chunks`` ends with the error."""
        if chunks.over:
            return
        ticket, remote = chunks.ticket, chunks.ticket.arm.loaded.remote
        if remote is not None and not remote.seats and remote.failure is None:
            self._waiting.append(chunks)  # a process is being started again
            return
        error: ModelwrightError | None = None
        if remote is None or not remote.stream_slots:
            error = remote.failure if remote is not None and remote.failure else _no_place(ticket.call.model)
        else:
            error = remote.quarantined(ticket.feeds)
        if error is not None or remote is None:
            self._tally.refuse(ticket.call.model, "queue")
            self._refuse(chunks, error or _no_place(ticket.call.model))
            return
        chunks.began = chunks.heard = time.perf_counter()
        chunks.remote, chunks.run = remote, remote.stream(ticket.feeds, chunks)
        self._tally.run(ticket.call.model, 1)

    def _refuse(self, chunks: Chunks, error: ModelwrightError) -> None:
        """It did not begin: as with any request that is refused, nothing is on record."""
        self._open.discard(chunks)
        chunks.ticket.arm.loaded.in_flight -= 1
        chunks.refused(error)

    def stand_in(self, chunks: Chunks, status: str) -> bool:
        """A canary that fails before its first chunk costs its caller nothing; False where there is no other arm."""
        other = self._champion(chunks.ticket) if chunks.ticket.arm.role == "canary" else None
        if other is None:
            return False
        chunks.remote = None
        self.finished(chunks, status)
        chunks.ticket = other
        self._open.add(chunks)
        other.arm.loaded.in_flight += 1
        self.begin(chunks)
        return True

    def finished(self, chunks: Chunks, status: str) -> None:
        """Record an answer, and have its model stop where it has not."""
        self._open.discard(chunks)
        ticket, now = chunks.ticket, time.perf_counter()
        ticket.arm.loaded.in_flight -= 1
        ticket.arm.loaded.used = now
        ticket.ran = Ran(chunks.began, now, 1, ticket.rows)
        self._record(ticket, chunks.last, now - chunks.began, status)
        if status == "ok":
            self._tally.statistics.ran([ticket], [chunks.last], ticket.rows, chunks.began, now)
        else:
            self._tally.statistics.fail(ticket, now)
        if chunks.remote is not None and chunks.run:
            self._stopping[chunks] = now
            chunks.remote.cancel(chunks.run)

    def stopped(self, chunks: Chunks) -> None:
        """Its model has stopped."""
        self._stopping.pop(chunks, None)

    def give_up_late(self, now: float) -> None:
        """End what is late, and the processes of models that do not stop; begin what waited for a process."""
        waiting, self._waiting = self._waiting, []
        for chunks in waiting:
            self.begin(chunks)
        for chunks in [*self._open]:
            if now > chunks.ticket.limit:
                chunks.fail(_too_late())
            elif chunks.waited_for and now - chunks.heard > self._chunk_seconds:
                chunks.fail(_stalled(self._chunk_seconds))
        for chunks, since in [*self._stopping.items()]:
            if now - since > STOP_SECONDS and chunks.remote is not None:
                self._stopping.pop(chunks, None)
                chunks.remote.abandon(chunks.run)

    def close(self) -> None:
        """End what is open."""
        for chunks in [*self._open]:
            chunks.fail(UnavailableError(LOST, "The server stops.", fix="Ask again elsewhere."))


def _no_place(model: str) -> ModelwrightError:
    return UnavailableError(
        "serve.overloaded",
        f"Model {model!r} is busy.",
        why="It makes as many answers in chunks as it can.",
        fix="Try again later, or let more processes serve.",
        details={"retry_after": 1},
    )


def _too_late() -> ModelwrightError:
    return DeadlineError("serve.deadline", "The request's time ran out before its last chunk.", fix="Allow more time.")


def _stalled(seconds: float) -> ModelwrightError:
    return DeadlineError(
        "serve.deadline", f"The model gave no chunk for {seconds:g} seconds.", fix="Ask for less, or repair the model."
    )
