"""An answer as Server-Sent Events: one for each chunk, and a last one that says that it is over, or why.

Chunks leave as they come. The last event leaves when the log holds the record of the request (promise D2).
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from modelwright.core.errors import InternalError, ModelwrightError
from modelwright.interfaces.http.exchange import Exchange
from modelwright.interfaces.http.message import AskedStream, Reply, words
from modelwright.serve.call import Answer
from modelwright.serve.streaming import Streaming

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\nx-accel-buffering: no\r\n"
_CHUNKED, _CLOSE = b"transfer-encoding: chunked\r\n", b"connection: close\r\n"


class Sender(Protocol):
    """The server, as an answer in events needs it."""

    def goes_on(self, exchange: Exchange) -> None:
        """There is more to send."""
        ...

    def fails(self, exchange: Exchange, error: ModelwrightError) -> None:
        """Answer with an error, and nothing else."""
        ...


class EventStream:
    """One answer in events; ``open`` while more follows.

    Chunked on a connection that stays open; where the connection closes after the answer, its end is the answer's.

    Args:
        exchange: the request.
        asked: how a chunk becomes an event.
        sender: the server.
    """

    def __init__(self, exchange: Exchange, asked: AskedStream, sender: Sender) -> None:
        self.open, self.begun = True, False
        self._exchange, self._asked, self._sender = exchange, asked, sender
        self._streaming: Streaming | None = None
        self._parts: list[bytes] = []
        self._chunks = self._unsent = self._held = self._bytes = 0
        self._chunked = not exchange.line
        self._last: bytes | None = None
        self._error: ModelwrightError | None = None
        self._answer: Answer | None = None
        self._told = False

    def begin(self, streaming: Streaming) -> None:
        """The request is submitted."""
        self._streaming = streaming

    # The plane calls these.

    def chunk(self, answer: Answer) -> None:
        """One more event."""
        if self._last is not None:
            return
        try:
            event = self._asked.event(answer)
            if not self.begun:
                self._parts.append(self._head(answer))
        except Exception as error:  # noqa: BLE001 - what cannot be said ends the answer
            self.cancel()
            self.end(error if isinstance(error, ModelwrightError) else _internal(error))
            return
        self.begun, self._answer = True, answer
        self._chunks += 1
        self._unsent += 1
        self._put(b"data: %b\n\n" % event)

    def end(self, error: ModelwrightError | None) -> None:
        """The last event."""
        if self._last is not None:
            return
        if not self.begun and error is not None:
            self._last = b""
            self._exchange.stream = None
            self._sender.fails(self._exchange, error)
            return
        self._error, self._last = error, b"end"
        self._sender.goes_on(self._exchange)

    # The connection and the server call these.

    def leave(self, lost: ModelwrightError | None) -> None:
        """Hand over what there is to send; ``lost``: the record could not be written."""
        if self._last is not None and self.open:
            self.open = False
            self._finish(self._error or lost)
        parts, self._parts = self._parts, []
        if parts:
            self._exchange.data = b"".join((self._exchange.data or b"", *parts))

    def sent(self, *, paused: bool) -> None:
        """What was handed over is written; a client who reads too slowly is waited for before more is made."""
        self._held += self._unsent
        self._unsent = 0
        if not paused:
            self.resumed()

    def resumed(self) -> None:
        """The client has caught up."""
        held, self._held = self._held, 0
        for _ in range(held):
            if self._streaming is not None:
                self._streaming.taken()

    def cancel(self) -> None:
        """The client is gone."""
        if self._streaming is not None:
            self._streaming.cancel()

    def told(self) -> Reply | None:
        """Once, when it is over: the reply that figures and logs are told of."""
        if self.open or self._told:
            return None
        self._told = True
        series = (self._answer.model, self._answer.version) if self._answer is not None else None
        return Reply(200, b"", series=series, error=self._error.code if self._error else "")

    @property
    def nothing(self) -> bytes:
        """Bytes that say nothing, to find out whether the client is there: a comment."""
        return self._framed(b":\n\n")

    def _head(self, answer: Answer) -> bytes:
        if not self._chunked:
            self._exchange.line = _CLOSE
        return b"%b%b%b\r\n" % (_HEAD, self._asked.headers(answer), _CHUNKED if self._chunked else _CLOSE)

    def _put(self, event: bytes) -> None:
        self._parts.append(self._framed(event))
        self._sender.goes_on(self._exchange)

    def _framed(self, event: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(event), event) if self._chunked else event

    def _finish(self, error: ModelwrightError | None) -> None:
        answer = self._answer
        if not self.begun:  # a model that made no chunk at all
            self.begun = True
            self._parts.append(_HEAD + (_CHUNKED if self._chunked else _CLOSE) + b"\r\n")
            self._exchange.line = self._exchange.line if self._chunked else _CLOSE
        self._error = error
        if error is not None:
            event = b"event: error\ndata: %b\n\n" % msgspec.json.encode(
                {"error": words(error), "code": error.code, "kind": error.kind}
            )
        else:
            said: dict[str, object] = {"chunks": self._chunks}
            if answer is not None:
                said |= {"id": answer.prediction_id, "model_name": answer.model, "model_version": answer.version}
            event = b"event: end\ndata: %b\n\n" % msgspec.json.encode(said)
        self._parts.append(self._framed(event))
        if self._chunked:
            self._parts.append(b"0\r\n\r\n")


def _internal(error: Exception) -> ModelwrightError:
    failed = InternalError("http.internal", "The request failed here.", fix="See the server's log.")
    failed.__cause__ = error
    return failed
