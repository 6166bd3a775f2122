"""Asking the plane: the only place of this interface that submits requests to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

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
        self._settled: list[tuple[Done, Answer | ModelwrightError]] = []
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

    def _settle(self, done: Done, outcome: Answer | ModelwrightError) -> None:
        self._settled.append((done, outcome))

    def _leave(self, written: bool) -> None:
        settled, self._settled = self._settled, []
        refused = None if written or not self._log_required else _unwritable()
        for done, outcome in settled:
            try:
                done(outcome if refused is None or isinstance(outcome, ModelwrightError) else refused)
            except Exception:  # whatever is wrong with one must not keep the others' answers back
                _logger.exception("an answer could not be sent")


def _set(future: asyncio.Future[Answer | ModelwrightError], outcome: Answer | ModelwrightError) -> None:
    if not future.done():
        future.set_result(outcome)


def _unwritable() -> UnavailableError:
    return UnavailableError(
        "record.unwritable", "The prediction log cannot be written.", fix="Free disk space, then try again."
    )
