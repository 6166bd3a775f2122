"""One client connection: HTTP/1.1 bytes to requests, replies to bytes, and the limits in between."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Protocol, cast

import httptools

from modelwright.core.errors import BadInputError, DeadlineError, ModelwrightError, UnavailableError
from modelwright.interfaces.http.message import CONTINUE, Reply, Request, body_too_large, render
from modelwright.settings import Settings

IDLE_SECONDS = 60.0
LINGER_SECONDS = 1.0
LINGER_BYTES = 2**20
READ_BYTES = 2**20  # room for what arrives with a body's last byte
MAX_HEADERS = 100
WIRE_BYTES_PER_BYTE = 8
"""What a body may take on the wire for each byte it has: chunks of one byte take six."""

_IDLE, _HEAD, _BODY, _LINGER = range(4)

_logger = logging.getLogger(__name__)


class Server(Protocol):
    """What a connection needs of the server behind it."""

    limits: Settings
    draining: bool

    def enter(self, connection: Connection) -> bool:
        """Count a connection in; False when there are too many."""
        ...

    def leave(self, connection: Connection) -> None:
        """Count a connection out."""
        ...

    def handle(self, connection: Connection, request: Request, connection_line: bytes) -> None:
        """Answer a request; ``connection_line`` is what the answer says about the connection."""
        ...

    def refuse(self, connection: Connection, error: ModelwrightError) -> None:
        """Answer a request that was not read to its end, and close."""
        ...

    def send_bytes(self, connection: Connection, data: bytes, *, close: bool = False) -> None:
        """Write bytes that are no answer, after the answers before them; then close if asked to."""
        ...

    def error(self, error: ModelwrightError) -> Reply:
        """Count an error and make its answer."""
        ...


class Connection(asyncio.Protocol):
    """A connection is idle, reads a head, reads a body, or lingers.

    A request that is refused before it was read to its end closes the connection. The answer would be lost if the
    socket were closed over unread bytes (TCP resets then), so the connection lingers: it throws away what still comes,
    up to :data:`LINGER_BYTES` or :data:`LINGER_SECONDS`. Deadlines are checked by the server's sweep.
    """

    __slots__ = (
        "_answered",
        "_body",
        "_body_size",
        "_chunk",
        "_deadline",
        "_ended",
        "_head_size",
        "_headers",
        "_lingered",
        "_parser",
        "_paused",
        "_promised",
        "_refused",
        "_server",
        "_state",
        "_target",
        "_wire",
        "transport",
    )

    def __init__(self, server: Server) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._state, self._refused, self._paused, self._ended = _HEAD, False, False, False
        self._deadline = time.monotonic() + server.limits.header_seconds
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_size = self._head_size = self._chunk = self._lingered = self._promised = self._wire = 0
        self._answered = 0
        self.transport: asyncio.Transport | None = None

    @property
    def busy(self) -> bool:
        """True while a request has begun and is not answered."""
        return self._state in (_HEAD, _BODY) and self._head_size > 0

    # asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept, or say that there are too many."""
        self.transport = cast("asyncio.Transport", transport)
        if not self._server.enter(self):
            error = UnavailableError("http.too-many-connections", "Too many connections.", fix="Try again later.")
            self.transport.write(render(self._server.error(error), connection=b"connection: close\r\n"))
            self.transport.close()
            self._refused = True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the connection; what it sent is already recorded or was never answered."""
        self._server.leave(self)
        self.transport = None

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        if self._refused:
            self._lingered += len(data)
            if self._lingered > LINGER_BYTES and self.transport is not None:
                self.transport.abort()
            return
        if self._state == _IDLE:
            self._state, self._deadline = _HEAD, time.monotonic() + self._server.limits.header_seconds
        size, answered = len(data), self._answered
        self._chunk = size
        while data:
            if self._promised:
                data = self._take_promised(data)
                continue
            try:
                self._parser.feed_data(data)
                data = b""
            except httptools.HttpParserUpgrade as upgrade:
                if self._refused:
                    return
                data = data[upgrade.args[0] :]
                if not self._promised:
                    self._parser = httptools.HttpRequestParser(self)
            except httptools.HttpParserCallbackError as error:
                _logger.exception("a request could not be taken", exc_info=error)
                self._refuse(BadInputError("http.bad-request", "The request cannot be taken."))
                return
            except httptools.HttpParserError as error:
                self._refuse(BadInputError("http.bad-request", "The request is not valid HTTP/1.1.", why=f"{error}."))
                return
        if self._state == _HEAD:
            if self._answered == answered:  # else most of these bytes belong to the requests before it
                self._head_size += size
            if self._head_size > self._server.limits.max_header_bytes:
                self._refuse(_head_too_large())
        elif self._state == _BODY and not self._promised:
            self._wire += size  # chunk extensions and trailers are no body, and they must end too
            if self._wire > WIRE_BYTES_PER_BYTE * self._body_size + READ_BYTES:
                self._refuse(body_too_large(self._server.limits.max_body_bytes))

    def eof_received(self) -> bool:
        """The client has sent its last byte; what it asked before that is still answered."""
        self._refused = self._ended = True
        self._server.send_bytes(self, b"", close=True)
        # we close, asyncio does not; under TLS asyncio closes whatever we say
        return self.transport is not None and self.transport.can_write_eof()

    def pause_writing(self) -> None:
        """The client reads too slowly: stop reading from it, and give up on it in time."""
        self._paused, self._deadline = True, time.monotonic() + self._server.limits.request_seconds
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._paused, self._deadline = False, time.monotonic() + IDLE_SECONDS
        if self.transport is not None:
            self.transport.resume_reading()

    # httptools calls these.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._target, self._headers = b"", {}
        self._body, self._body_size, self._wire = [], 0, 0
        self._head_size = 1
        if self._state == _IDLE:
            self._state, self._deadline = _HEAD, time.monotonic() + self._server.limits.header_seconds

    def on_url(self, part: bytes) -> None:
        """Part of the request target."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; a trailer is not taken for one (RFC 9110, section 6.5.1)."""
        if self._state == _HEAD:
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """The head is there: refuse a body that is too large before it is read."""
        if self._refused:
            return
        limits = self._server.limits
        if self._head_is_large():
            self._refuse(_head_too_large())
            return
        if self._parser.get_method() == b"CONNECT":  # the parser would take its body for the next request
            self._refuse(BadInputError("http.method-not-allowed", "Method CONNECT is not allowed here."))
            return
        self._state, self._deadline = _BODY, time.monotonic() + limits.request_seconds
        length = self._headers.get(b"content-length")
        if length is not None and (len(length) > 18 or int(length) > limits.max_body_bytes):
            self._refuse(body_too_large(limits.max_body_bytes))
        elif b"expect" in self._headers and self._headers[b"expect"].lower() == b"100-continue":
            self._server.send_bytes(self, CONTINUE)

    def on_body(self, part: bytes) -> None:
        """Part of the body, chunked or not."""
        if self._refused:
            return
        self._body_size += len(part)
        if self._body_size > self._server.limits.max_body_bytes:
            self._refuse(body_too_large(self._server.limits.max_body_bytes))
        else:
            self._body.append(part)

    def on_message_complete(self) -> None:
        """The whole request is there."""
        if self._refused:
            return
        if b"upgrade" in self._headers:
            # An offered upgrade may be ignored (RFC 9110, section 7.8). The parser leaves the body of such a request
            # unread: with a length it is taken here, in chunks it is refused.
            if b"transfer-encoding" in self._headers:
                self._refuse(BadInputError("http.bad-request", "A chunked request cannot offer an upgrade."))
                return
            self._promised = int(self._headers.get(b"content-length", b"0"))
            if self._promised:
                return
        self._complete()

    def _take_promised(self, data: bytes) -> bytes:
        """Take body bytes that the parser does not read; returns what follows them."""
        part = data[: self._promised]
        self._promised -= len(part)
        self._body.append(part)
        if not self._promised:
            self._complete()
            self._parser = httptools.HttpRequestParser(self)
        return data[len(part) :]

    def _complete(self) -> None:
        parts = self._body
        self._server.handle(
            self,
            Request(
                self._parser.get_method(),
                self._target,
                self._headers,
                parts[0] if len(parts) == 1 else b"".join(parts),
                time.time(),
                time.perf_counter(),
            ),
            self._connection_line(),
        )
        self._state, self._deadline, self._head_size = _IDLE, time.monotonic() + IDLE_SECONDS, 0
        self._answered += 1
        self._body = []

    # The server calls these.

    def write(self, data: bytes, *, close: bool) -> None:
        """Write an answer; the last one closes, after a while of lingering if the request was not read to its end."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if data:
            transport.write(data)
        if not close:
            return
        if self._state == _LINGER and not self._ended and transport.can_write_eof():  # TLS has no half-closed state
            transport.write_eof()
        else:
            transport.close()

    def abort(self) -> None:
        """Drop the connection as it is."""
        if self.transport is not None:
            self.transport.abort()

    def sweep(self, now: float) -> None:
        """Act on a deadline that has passed."""
        if now < self._deadline or self.transport is None:
            return
        if self._paused or self._state == _LINGER:
            self.transport.abort()
        elif self._state == _IDLE or not self._head_size:
            self.transport.close()
        else:
            self._refuse(DeadlineError("http.request-timeout", "The request took too long to arrive."))

    def stop_when_idle(self) -> None:
        """Close now if nothing is under way; a request under way is answered with ``connection: close``."""
        if not self.busy and self.transport is not None:
            self.transport.close()

    def _connection_line(self) -> bytes:
        """What the answer says about the connection; empty where HTTP/1.1's default holds."""
        if self._server.draining or not self._parser.should_keep_alive():
            self._refused = True
            return b"connection: close\r\n"
        if b"connection" in self._headers and self._parser.get_http_version() == "1.0":
            return b"connection: keep-alive\r\n"
        return b""

    def _head_is_large(self) -> bool:
        """Whether the head just read is over a limit; one inside a small chunk cannot be, and is not measured."""
        limit, headers = self._server.limits.max_header_bytes, self._headers
        if len(headers) > MAX_HEADERS:
            return True
        if self._chunk + self._head_size <= limit:
            return False
        return len(self._target) + sum(len(name) + len(value) + 4 for name, value in headers.items()) > limit

    def _refuse(self, error: ModelwrightError) -> None:
        """Answer an unfinished request with an error, then close."""
        if self._refused:
            return
        self._refused, self._state = True, _LINGER
        self._deadline = time.monotonic() + LINGER_SECONDS
        self._server.refuse(self, error)


def _head_too_large() -> BadInputError:
    return BadInputError("http.head-too-large", "The request head is too large.", fix="Send fewer or shorter headers.")
