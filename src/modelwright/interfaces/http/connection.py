"""One client connection: HTTP/1.1 bytes to requests, replies to bytes, and the limits in between."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import Protocol, cast

import httptools

from modelwright.core.errors import BadInputError, DeadlineError, ModelwrightError
from modelwright.interfaces.http.exchange import Exchange
from modelwright.interfaces.http.long_body import LONG_BYTES, LongBody
from modelwright.interfaces.http.message import CONTINUE, PROCESSING, Request, body_too_large
from modelwright.interfaces.http.repeated import RepeatedHead, remember
from modelwright.settings import Settings

IDLE_SECONDS = 60.0
GRACE_SECONDS = 5.0
"""So late may a body be, at the lowest speed allowed, before it is given up."""

LINGER_SECONDS = 1.0
LINGER_BYTES = 2**20
READ_BYTES = 2**20  # room for what arrives with a body's last byte
MAX_HEADERS = 100
WIRE_BYTES_PER_BYTE = 8
"""What a body may take on the wire for each byte it has: chunks of one byte take six."""

MAX_CHUNKS = 65_536
MAX_PARTS = 4096
"""Pieces of a body that are kept apart; each costs some 40 bytes beside its own."""

MAX_PIPELINED = 64
MAX_MISSES = 8
"""A client whose head differs so many times in a row is not expected to repeat one."""

PROBE_SECONDS = 0.25  # until the second probe of a client who said all and waits; twice as long until each next one
CLOSE = b"connection: close\r\n"

_IDLE, _HEAD, _BODY, _LINGER = range(4)

_logger = logging.getLogger(__name__)


class Server(Protocol):
    """What a connection needs of the server behind it."""

    limits: Settings
    draining: bool

    def handle(self, connection: Connection, request: Request, connection_line: bytes) -> None:
        """Answer a request; ``connection_line`` is what the answer says about the connection."""
        ...

    def refuse(self, connection: Connection, error: ModelwrightError) -> None:
        """Answer a request that was not read to its end, and close."""
        ...

    def send_bytes(self, connection: Connection, data: bytes, *, close: bool = False) -> None:
        """Write bytes that are no answer, after the answers before them; then close if asked to."""
        ...


class Admission(Protocol):
    """Who counts connections."""

    def enter(self, connection: Connection) -> None:
        """Count a connection in, or turn it away."""
        ...

    def linger(self, connection: Connection) -> None:
        """Count out a connection that has its last answer."""
        ...

    def leave(self, connection: Connection) -> None:
        """Count a connection out."""
        ...


class Connection(asyncio.Protocol):
    """A connection is idle, reads a head, reads a body, or lingers.

    A request that is refused before it was read to its end closes the connection. The answer would be lost if the
    socket were closed over unread bytes (TCP resets then), so the connection lingers: it throws away what still comes,
    up to :data:`LINGER_BYTES` or :data:`LINGER_SECONDS`. Deadlines are checked by the server's sweep.
    """

    __slots__ = (
        "_admission",
        "_answered",
        "_began",
        "_body",
        "_body_size",
        "_chunk",
        "_chunks",
        "_deadline",
        "_ended",
        "_head",
        "_head_size",
        "_headers",
        "_held",
        "_lingered",
        "_long",
        "_misses",
        "_parser",
        "_paused",
        "_probe_at",
        "_probe_gap",
        "_promised",
        "_refused",
        "_server",
        "_state",
        "_target",
        "_version",
        "_whole",
        "_wire",
        "address",
        "exchanges",
        "transport",
    )

    def __init__(self, server: Server, admission: Admission) -> None:
        self._server, self._admission = server, admission
        self._parser = httptools.HttpRequestParser(self)
        self._state, self._refused, self._paused, self._ended = _HEAD, False, False, False
        self._began = time.monotonic()
        self._deadline = self._began + server.limits.header_seconds
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_size = self._head_size = self._chunk = self._lingered = self._promised = self._wire = 0
        self._answered = self._chunks = 0
        self._held, self._probe_at, self._probe_gap = False, 0.0, PROBE_SECONDS / 2
        self._version = self.address = ""
        self._head: RepeatedHead | None = None
        self._whole, self._misses, self._long = b"", 0, False
        self.exchanges: deque[Exchange] = deque()
        self.transport: asyncio.Transport | None = None

    @property
    def busy(self) -> bool:
        """True while a request has begun and is not answered."""
        return bool(self.exchanges) or (self._state in (_HEAD, _BODY) and self._head_size > 0)

    # asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask to be let in."""
        self.transport = cast("asyncio.Transport", transport)
        self.address = (transport.get_extra_info("peername") or ("",))[0]
        self._admission.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the connection; what it asked and has not begun is not run."""
        self._admission.leave(self)
        for exchange in self.exchanges:
            exchange.cancel()
        self.exchanges.clear()
        self.transport = None
        del self._parser  # it holds us: memory is given back now, not when the garbage collector comes by

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        if self._refused:
            self._lingered += len(data)
            if self._lingered > LINGER_BYTES and self.transport is not None:
                self.transport.abort()
            return
        if self._state == _IDLE:
            if (
                self._head is not None
                and (body := self._head.body(data, self._server.limits.max_body_bytes)) is not None
            ):
                self._misses = 0
                self._hand_over(self._head.method, self._head.target, self._head.headers, body, b"")
                return
            self._enter(_HEAD, self._server.limits.header_seconds)
            self._whole = data
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
            elif self._body_size and b"content-length" in self._headers:
                self._receive_long()

    def eof_received(self) -> bool:
        """The client has sent its last byte; what it asked before that is still answered."""
        self._refused = self._ended = True
        self._version = self._parser.get_http_version() if self.exchanges else ""
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
        self._paused = False
        if self.exchanges and self.exchanges[0].stream is not None:
            self.exchanges[0].stream.resumed()
        if not self._held:
            self._read_on()

    # httptools calls these.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._target, self._headers = b"", {}
        self._body, self._body_size, self._wire, self._chunks = [], 0, 0, 0
        self._head_size = 1
        if self._state == _IDLE:
            self._enter(_HEAD, self._server.limits.header_seconds)

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
        self._enter(_BODY, limits.request_seconds)
        length = self._headers.get(b"content-length")
        if length is not None and (len(length) > 18 or int(length) > limits.max_body_bytes):
            self._refuse(body_too_large(limits.max_body_bytes))
        elif b"expect" in self._headers and self._headers[b"expect"].lower() == b"100-continue":
            self._server.send_bytes(self, CONTINUE)

    def on_chunk_header(self) -> None:
        """One more chunk of a body; an empty one ends it."""
        self._chunks += 1
        if self._chunks > MAX_CHUNKS + 1:
            self._refuse(
                BadInputError(
                    "http.too-many-chunks", f"The body has more than {MAX_CHUNKS} chunks.", fix="Send larger chunks."
                )
            )

    def on_body(self, part: bytes) -> None:
        """Part of the body, chunked or not."""
        if self._refused:
            return
        self._body_size += len(part)
        if self._body_size > self._server.limits.max_body_bytes:
            self._refuse(body_too_large(self._server.limits.max_body_bytes))
            return
        self._body.append(part)
        if len(self._body) > MAX_PARTS:
            self._body = [b"".join(self._body)]

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

    def _receive_long(self) -> None:
        """Let the rest of a long body go straight into its buffer; the parser does not see it."""
        length, transport = int(self._headers[b"content-length"]), self.transport
        if length - self._body_size < LONG_BYTES or self._refused or transport is None:
            return
        if b"upgrade" in self._headers or transport.get_extra_info("sslcontext") is not None:
            return
        self._long = True
        head = self._headers.get(b"inference-header-content-length", b"0")
        skewed = int(head) if head.isdigit() and len(head) < len(str(length)) + 1 else 0
        self._read_as(LongBody(self, length, self._body, skewed))
        self._body = []

    def _read_as(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol take what comes from now on."""
        transport = self.transport
        if transport is None:
            return
        transport.set_protocol(protocol)
        if not (self._paused or self._held):  # what is asked at a start is who takes the bytes, and how
            transport.pause_reading()
            transport.resume_reading()

    def body_grows(self, size: int) -> None:
        """Bytes of a long body have come."""
        self._body_size += size

    def body_is_whole(self, body: memoryview) -> None:
        """A long body is there."""
        self._long = False
        self._read_as(self)
        self._complete(body)
        self._parser = httptools.HttpRequestParser(self)

    def _take_promised(self, data: bytes) -> bytes:
        """Take body bytes that the parser does not read; returns what follows them."""
        part = data[: self._promised]
        self._promised -= len(part)
        self._body_size += len(part)
        self._body.append(part)
        if not self._promised:
            self._complete()
            self._parser = httptools.HttpRequestParser(self)
        return data[len(part) :]

    def _complete(self, long: memoryview | None = None) -> None:
        parts, headers, parser = self._body, self._headers, self._parser
        line = self._connection_line()
        method = parser.get_method()
        if not line and self._misses < MAX_MISSES and self._whole and parser.get_http_version() == "1.1":
            self._misses += 1
            self._head = remember(self._whole, method, self._target, headers)
        self._whole = b""
        self._hand_over(method, self._target, headers, parts[0] if len(parts) == 1 else b"".join(parts), line, long)
        self._body = []

    def _hand_over(
        self,
        method: bytes,
        target: bytes,
        headers: dict[bytes, bytes],
        body: bytes,
        line: bytes,
        long: memoryview | None = None,
    ) -> None:
        """A whole request is there."""
        self._server.handle(
            self, Request(method, target, headers, body, time.time(), time.perf_counter(), long=long), line
        )
        self._state, self._deadline, self._head_size = _IDLE, time.monotonic() + IDLE_SECONDS, 0
        self._answered += 1
        if len(self.exchanges) >= MAX_PIPELINED and self.transport is not None and not self._held:
            self._held = True
            self.transport.pause_reading()

    # The server calls these.

    def send_ready(self) -> None:
        """Send what is owed, in the order of the requests, as far as it is there."""
        exchanges = self.exchanges
        while exchanges and exchanges[0].data is not None:
            stream = exchanges[0].stream
            if stream is not None and stream.open:
                data, exchanges[0].data = exchanges[0].data, None
                self.write(data, close=False)
                stream.sent(paused=self._paused)
                break
            exchange = exchanges.popleft()
            self.write(exchange.data or b"", close=exchange.line == CLOSE)
        if self._state == _IDLE and not self._paused:
            self._deadline = time.monotonic() + IDLE_SECONDS
        if self._held and len(exchanges) < MAX_PIPELINED // 2:
            self._held = False
            if not self._paused:
                self._read_on()

    def write(self, data: bytes, *, close: bool) -> None:
        """Write an answer; the last one closes, after a while of lingering if the request was not read to its end."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if data:
            transport.write(data)
        if not close:
            return
        self._deadline = time.monotonic() + LINGER_SECONDS
        if self._state == _LINGER and not self._ended and transport.can_write_eof():  # TLS has no half-closed state
            transport.write_eof()
            self._admission.linger(self)
        else:
            transport.close()

    def turn_away(self, answer: bytes) -> None:
        """Say a last word although nothing was asked, and linger."""
        self._refused, self._state, self._body = True, _LINGER, []
        if self._long:
            self._long = False
            self._read_as(self)
        self.write(answer, close=True)

    def abort(self) -> None:
        """Drop the connection as it is."""
        if self.transport is not None:
            self.transport.abort()

    def late(self, now: float) -> float:
        """Seconds by which an unfinished request is late: all that a head has taken, and a body at the lowest speed."""
        if self._state not in (_HEAD, _BODY) or self._paused or self._held:
            return 0.0
        speed = self._server.limits.body_bytes_per_second
        taken = now - self._began
        if self._state == _HEAD:
            return taken
        return taken - self._body_size / speed if speed else 0.0

    def sweep(self, now: float) -> None:
        """Act on a deadline that has passed; find out whether a client who has said all still listens."""
        if self._ended and self.exchanges and self._version == "1.1" and now > self._probe_at:
            self._probe(now)
        if self._held and not self._paused:
            return  # we are the ones who do not read
        if now < self._deadline and (self._state != _BODY or self.late(now) < GRACE_SECONDS):
            return
        if self.transport is None:
            return
        if self._paused or self._state == _LINGER:
            self.transport.abort()
        elif self._state == _IDLE or not self._head_size:
            if not self.exchanges:
                self.transport.close()
        else:
            self._refuse(DeadlineError("http.request-timeout", "The request took too long to arrive."))

    def _probe(self, now: float) -> None:
        """A client who is gone answers with a reset, which the next probe meets: what they asked is dropped then."""
        self._probe_gap *= 2
        self._probe_at = now + self._probe_gap
        if self.transport is not None:
            stream = self.exchanges[0].stream
            self.transport.write(PROCESSING if stream is None or not stream.begun else stream.nothing)

    def stop_when_idle(self) -> None:
        """Close now if nothing is under way; a request under way is answered with ``connection: close``."""
        if not self.busy and self.transport is not None:
            self.transport.close()

    def _enter(self, state: int, seconds: float) -> None:
        self._state, self._began = state, time.monotonic()
        if not self._paused:  # who reads too slowly has a deadline already
            self._deadline = self._began + seconds

    def _read_on(self) -> None:
        """Read again after a pause; the client's time begins anew."""
        limits = self._server.limits
        if self._state != _LINGER:
            self._enter(self._state, (IDLE_SECONDS, limits.header_seconds, limits.request_seconds)[self._state])
        if self.transport is not None:
            self.transport.resume_reading()

    def _connection_line(self) -> bytes:
        """What the answer says about the connection; empty where HTTP/1.1's default holds."""
        if self._server.draining or not self._parser.should_keep_alive():
            self._refused = True
            return CLOSE
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
        self._refused, self._state, self._body = True, _LINGER, []
        self._deadline = time.monotonic() + self._server.limits.request_seconds + LINGER_SECONDS
        self._server.refuse(self, error)


def _head_too_large() -> BadInputError:
    return BadInputError("http.head-too-large", "The request head is too large.", fix="Send fewer or shorter headers.")
