"""Passes requests of a sequence on to the gateway that it lives in."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import msgspec

from modelwright.core.errors import DeadlineError, ModelwrightError, NotFoundError, UnavailableError
from modelwright.core.prediction_id import new_prediction_id
from modelwright.core.signature import Signature
from modelwright.interfaces.peers.frames import Frames, ask_of, decode_told, frame, outcome_of
from modelwright.serve.call import Answer, PredictCall
from modelwright.serve.lane import Done, Ticket
from modelwright.serve.route import LiveRoute
from modelwright.serve.sequences import sequence_lost
from modelwright.serve.turn import Turn

GRACE_SECONDS = 0.5
"""The other gateway gives up first, and says so."""
STOP_SECONDS = 1.0
"""When the server ends, the other gateways have so long to answer."""
MOST_BYTES = 2**26
"""More than that on its way to one gateway is an overload."""

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Asked:
    """A request under way; ``sent`` once it may have reached the other gateway."""

    ticket: Ticket
    route: LiveRoute
    done: Done
    sent: bool = False


class Line(asyncio.Protocol):
    """The connection to one other gateway, made when it is needed and again after it ended."""

    def __init__(self, path: str, schedule: Callable[[], None]) -> None:
        self._path, self._schedule = path, schedule
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._frames, self._waiting = Frames(), list[tuple[int, bytes]]()
        self._asked: dict[int, _Asked] = {}
        self._numbers = 0
        self._stopping = False

    def ask(self, ticket: Ticket, route: LiveRoute, done: Done) -> None:
        """Send a request; raises UnavailableError ``serve.overloaded``, ``serve.gateway-away``."""
        if self._stopping and self._transport is None:
            raise _away("The server stops")
        if self._transport is not None and self._transport.get_write_buffer_size() > MOST_BYTES:
            raise UnavailableError(
                "serve.overloaded", "The gateway of this sequence is busy.", details={"retry_after": 1}
            )
        self._numbers += 1
        asked = self._asked[self._numbers] = _Asked(ticket, route, done)
        data = frame(ask_of(self._numbers, ticket.call))
        if self._transport is not None:
            asked.sent = True
            self._transport.write(data)
            return
        self._waiting.append((self._numbers, data))
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def give_up_late(self, now: float) -> None:
        """Answer those whose gateway does not."""
        for number, asked in [*self._asked.items()]:
            if now > asked.ticket.limit + GRACE_SECONDS:
                self._settle(number, DeadlineError("serve.deadline", "The gateway of this sequence does not answer."))

    def stop(self) -> None:
        """Wait for nobody who may be gone already."""
        self._stopping = True
        asyncio.get_running_loop().call_later(STOP_SECONDS, self._give_up)

    def _give_up(self) -> None:
        for number, asked in [*self._asked.items()]:
            self._settle(number, sequence_lost(asked.ticket.call) if asked.sent else _away("The server stops"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send what waited."""
        self._transport, self._frames = cast("asyncio.Transport", transport), Frames()
        waiting, self._waiting = self._waiting, []
        for number, data in waiting:
            if number in self._asked:
                self._asked[number].sent = True
                self._transport.write(data)

    def connection_lost(self, _error: Exception | None) -> None:
        """The state of what was under way is gone with the gateway, or given up by it."""
        self._transport = None
        for number, asked in [*self._asked.items()]:
            if asked.sent:
                self._settle(number, sequence_lost(asked.ticket.call))

    def data_received(self, data: bytes) -> None:
        """Answers."""
        try:
            for body in self._frames.feed(data):
                told = decode_told(body)
                asked = self._asked.get(told.number)
                if asked is None:  # given up
                    continue
                asked.ticket.rows = told.rows
                outcome = outcome_of(told, asked.ticket.call.model, partial(_signature, asked))
                self._settle(told.number, outcome)
        except (msgspec.MsgspecError, ValueError, TypeError):
            _logger.exception("another gateway sent what is no answer")
            if self._transport is not None:
                self._transport.abort()

    async def _connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: self, self._path)
        except OSError as error:
            self._waiting.clear()
            for number in [*self._asked]:
                self._settle(number, _away(error.strerror or str(error)))
        finally:
            self._connecting = None

    def _settle(self, number: int, outcome: Answer | ModelwrightError) -> None:
        asked = self._asked.pop(number)
        if not asked.ticket.cancelled:
            asked.done(outcome)
        self._schedule()


class Peers:
    """All gateways of a server, of which this one is the ``slot``-th.

    A sequence lives where the hash of its caller, model, version and id says, so that nobody has to be asked for it.

    Args:
        turn: this gateway's own.
        slot: its place among ``paths``.
        paths: of the gateways' sockets.
    """

    def __init__(self, turn: Turn, slot: int, paths: Sequence[str]) -> None:
        self._turn, self._slot = turn, slot
        self._lines = [Line(path, turn.schedule) for path in paths]

    def takes(self, call: PredictCall) -> bool:
        """Whether the request belongs to a sequence that lives in another gateway."""
        route = self._turn.plane.routes.get(call.model)
        if call.sequence is None or route is None or not any(arm.loaded.sequences for arm in route.arms):
            return False
        return self._owner(call) != self._slot

    def ask(self, call: PredictCall, done: Done) -> Ticket:
        """Pass a request on that :meth:`takes` says yes to. ``done`` is called as by :meth:`Turn.predict`.

        Raises:
            UnavailableError: ``serve.overloaded``.
        """
        route = self._turn.plane.route(call.model)
        call.prediction_id = call.prediction_id or new_prediction_id()
        ticket = Ticket(route.champion, call, {}, 0, done, limit=call.limit, actor=call.actor, started=call.started)
        self._lines[self._owner(call)].ask(ticket, route, done)
        return ticket

    def give_up_late(self, now: float) -> None:
        """Answer whom no gateway answered in time (``time.perf_counter``)."""
        for line in self._lines:
            line.give_up_late(now)

    def stop(self) -> None:
        """The whole server ends: fail soon what no gateway answers."""
        for line in self._lines:
            line.stop()

    def _owner(self, call: PredictCall) -> int:
        assert call.sequence is not None
        said = f"{call.actor}\0{call.model}\0{call.version}\0{call.sequence.id}"
        digest = hashlib.blake2b(said.encode(errors="surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest) % len(self._lines)


def _signature(asked: _Asked, version: str) -> Signature:
    """Of the version that answered; while tables differ it may be known to the other gateway alone."""
    try:
        return asked.route.pinned(version).loaded.signature
    except NotFoundError:
        return asked.route.champion.loaded.signature


def _away(why: str) -> UnavailableError:
    return UnavailableError(
        "serve.gateway-away",
        "The gateway of this sequence cannot be reached.",
        why=f"{why}.",
        fix="Try again in a moment; if its process has ended, begin the sequence anew.",
        details={"retry_after": 1},
    )
