"""Asking the plane: the only place of this interface that submits requests to it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Any

from modelwright.core.errors import ModelwrightError, UnavailableError
from modelwright.serve.call import Answer, PredictCall
from modelwright.serve.lane import Ticket
from modelwright.serve.turn import Turn

Done = Callable[[Answer | ModelwrightError], object]

_logger = logging.getLogger(__name__)


class Asker:
    """Predictions whose answers leave at the end of a turn, when the log holds them (promise D2).

    Args:
        turn: what predicts, shared with the other interfaces of this process.
        log_required: no unlogged answer is given.
    """

    def __init__(self, turn: Turn, *, log_required: bool) -> None:
        self._turn, self._log_required = turn, log_required
        self._settled: list[tuple[Callable[[Any], object], Answer | ModelwrightError | None]] = []
        turn.on_end(self._leave)

    def submit(self, call: PredictCall, done: Done) -> Ticket:
        """Submit a call; ``done`` gets what may be told of it.

        Raises:
            ModelwrightError: as :meth:`Turn.predict`.
        """
        return self._turn.predict(call, partial(self._settle, done))

    async def ask(self, call: PredictCall, taken: Callable[[Ticket], object]) -> Answer:
        """The answer; ``taken`` gets the ticket. A caller who is cancelled is dropped from the queue.

        Raises:
            ModelwrightError: as the plane; UnavailableError ``record.unwritable``.
        """
        future: asyncio.Future[Answer | ModelwrightError] = asyncio.get_running_loop().create_future()
        ticket = self.submit(call, partial(_set, future))
        taken(ticket)
        try:
            outcome = await future
        except asyncio.CancelledError:
            ticket.cancelled = True
            raise
        if isinstance(outcome, ModelwrightError):
            raise outcome
        return outcome

    async def chunks(self, call: PredictCall, taken: Callable[[Ticket], object]) -> AsyncGenerator[Answer, None]:
        """The answer in chunks, the next one asked for when the one before has been used; to be closed (``aclosing``).

        It ends once the log holds the request.

        Raises:
            ModelwrightError: as the plane; UnavailableError ``record.unwritable``.
        """
        arriving = _Arriving(self._settle)
        streaming = self._turn.stream(call, arriving)
        taken(streaming.ticket)
        try:
            while (answer := await arriving.next()) is not None:
                yield answer
                streaming.taken()
        finally:
            if not arriving.over:
                streaming.cancel()

    def _settle(self, done: Callable[[Any], object], outcome: Answer | ModelwrightError | None) -> None:
        self._settled.append((done, outcome))

    def _leave(self, written: bool) -> None:
        settled, self._settled = self._settled, []
        refused = None if written or not self._log_required else _unwritable()
        for done, outcome in settled:
            try:
                done(outcome if refused is None or isinstance(outcome, ModelwrightError) else refused)
            except Exception:  # whatever is wrong with one must not keep the others' answers back
                _logger.exception("an answer could not be sent")


class _Arriving:
    """The chunks of one answer that came and are not used yet: no more than the model may be ahead.

    Args:
        settle: has a function told of the end, when the log holds the request.
    """

    def __init__(self, settle: Callable[[Callable[[Any], object], ModelwrightError | None], object]) -> None:
        self.over = False
        self._settle, self._chunks, self._came = settle, deque[Answer](), asyncio.Event()
        self._error: ModelwrightError | None = None

    def chunk(self, answer: Answer) -> None:
        """One more."""
        self._chunks.append(answer)
        self._came.set()

    def end(self, error: ModelwrightError | None) -> None:
        """No more."""
        self._settle(self._ended, error)

    def _ended(self, error: ModelwrightError | None) -> None:
        self.over, self._error = True, error
        self._came.set()

    async def next(self) -> Answer | None:
        """The next chunk; None at the end."""
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self.over:
                return None
            self._came.clear()
            await self._came.wait()
        return self._chunks.popleft()


def _set(future: asyncio.Future[Answer | ModelwrightError], outcome: Answer | ModelwrightError) -> None:
    if not future.done():
        future.set_result(outcome)


def _unwritable() -> UnavailableError:
    return UnavailableError(
        "record.unwritable", "The prediction log cannot be written.", fix="Free disk space, then try again."
    )
