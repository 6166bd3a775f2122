"""What happens between two looks at the sockets: requests run, the log is written once, then answers leave."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from modelwright.ports.record import RecordSink
from modelwright.serve.call import PredictCall
from modelwright.serve.lane import Done, Ticket
from modelwright.serve.plane import Plane, in_one_chunk
from modelwright.serve.repository import Repository
from modelwright.serve.sequences import no_chunks
from modelwright.serve.streaming import Listener, Streaming, Whole

_logger = logging.getLogger(__name__)


class Elsewhere(Protocol):
    """Other processes that answer some requests in this one's place."""

    def takes(self, call: PredictCall) -> bool:
        """Whether it is for another process."""
        ...

    def ask(self, call: PredictCall, done: Done) -> Ticket:
        """Pass it on; ``done`` is called as by :meth:`Turn.predict`."""
        ...

    def give_up_late(self, now: float) -> None:
        """Fail those whose time (``time.perf_counter``) ran out."""
        ...

    def stop(self) -> None:
        """The whole server ends: fail soon what no other process answers."""
        ...


class Turn:
    """One plane, shared by every interface of a process.

    Whoever has something to send lets it wait for the end of the turn: everything that was asked by then has run, and
    the log holds it (promise D2).

    Args:
        plane: what answers.
        sink: the plane's sink.
        soon: calls a function when the present callbacks of the event loop have run.
    """

    def __init__(self, plane: Plane, sink: RecordSink, soon: Callable[[Callable[[], None]], object]) -> None:
        self.plane = plane
        self.repository = Repository(plane)
        self._sink, self._soon = sink, soon
        self._due = False
        self._leave: list[Callable[[bool], object]] = []
        self.elsewhere: Elsewhere | None = None

    def predict(self, call: PredictCall, done: Done) -> Ticket:
        """Submit a request; ``done`` is called before the turn ends in which it has run, here or in another process.

        Raises:
            ModelwrightError: as :meth:`Plane.submit`.
        """
        if call.sequence is not None and self.elsewhere is not None and self.elsewhere.takes(call):
            return self.elsewhere.ask(call, done)
        ticket = self.plane.submit(call, done)  # not by way of predict_here: a call less for every request
        self.schedule()
        return ticket

    def predict_here(self, call: PredictCall, done: Done) -> Ticket:
        """:meth:`predict`, and never in another process."""
        ticket = self.plane.submit(call, done)
        self.schedule()
        return ticket

    def stream(self, call: PredictCall, listener: Listener) -> Streaming:
        """Submit a request whose answer is wanted in chunks.

        Raises:
            ModelwrightError: as :meth:`Plane.stream`.
        """
        if call.sequence is not None and self.elsewhere is not None and self.elsewhere.takes(call):
            if self.plane.route(call.model).champion.loaded.streams:
                raise no_chunks()
            whole = Whole()
            whole.ticket = self.elsewhere.ask(call, partial(in_one_chunk, listener))
            return whole
        streaming = self.plane.stream(call, listener)
        self.schedule()
        return streaming

    def on_end(self, leave: Callable[[bool], object]) -> None:
        """``leave(written)`` is called at the end of every turn; ``written`` is False when the log could not be."""
        self._leave.append(leave)

    def schedule(self) -> None:
        """End the turn once the present callbacks have run."""
        if not self._due:
            self._due = True
            self._soon(self.end)

    def end(self) -> None:
        """Run, write the log, let answers leave; then the shadows."""
        self._due = False
        more = self.plane.run()
        written = self._write()
        for leave in self._leave:
            leave(written)
        if self.plane.run_shadows():
            self._write()
        if more:
            self.schedule()

    def sweep(self) -> None:
        """Give up what is late; to be called a few times a second."""
        now = time.perf_counter()
        self.plane.give_up_late(now)
        if self.elsewhere is not None:
            self.elsewhere.give_up_late(now)
        self.schedule()

    def _write(self) -> bool:
        try:
            return self._sink.flush()
        except Exception:
            _logger.exception("the prediction log failed")
            return False
