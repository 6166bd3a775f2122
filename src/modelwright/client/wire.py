"""Requests as bytes, and answers out of bytes. No socket here: both clients share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import httptools

from modelwright.client.address import Address
from modelwright.core.errors import BadInputError, ModelwrightError

Buffer = bytes | memoryview
JSON, BINARY = b"application/json", b"application/octet-stream"


@dataclass(slots=True)
class Reply:
    """An answer; header names are in lower case."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    def text(self, name: bytes) -> str:
        """A header as text, empty where it is missing."""
        return self.headers.get(name, b"").decode("latin-1")


@dataclass(slots=True)
class Lost:
    """No answer: ``again`` tells that not a byte of one came, so that the request may be sent once more."""

    error: ModelwrightError
    again: bool


@dataclass(slots=True)
class Request:
    """What is asked. ``json_length`` is the length of the body's JSON where tensors follow it.

    The body is in parts, which may be the caller's own arrays: the largest thing in a request is copied once at most.
    """

    method: bytes
    path: str
    body: Sequence[Buffer] = ()
    content_type: bytes = b""
    json_length: int | None = None


class Writer:
    """Makes the bytes of requests to one server."""

    def __init__(self, address: Address, token: str) -> None:
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise BadInputError(
                "client.bad-token", "The token holds characters that no token has.", fix="Copy it anew."
            )
        self._prefix = address.prefix.encode()
        self._fixed = b"host: %b\r\n" % address.authority.encode()
        if token:
            self._fixed += b"authorization: Bearer %b\r\n" % token.encode()

    def write(self, request: Request, milliseconds: int, attempt: int) -> list[Buffer]:
        """The parts of the request; ``attempt`` 1 is the first."""
        head = b"%b %b%b HTTP/1.1\r\n%bmodelwright-timeout-ms: %d\r\n" % (
            request.method,
            self._prefix,
            request.path.encode(),
            self._fixed,
            milliseconds,
        )
        if attempt > 1:
            head += b"x-envoy-attempt-count: %d\r\n" % attempt
        if request.method == b"GET":
            return [head + b"\r\n"]
        if request.json_length is not None:
            head += b"inference-header-content-length: %d\r\n" % request.json_length
        length = sum(map(size_of, request.body))
        return [
            b"%bcontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (head, request.content_type, length),
            *request.body,
        ]


def size_of(part: Buffer) -> int:
    """Bytes of a part."""
    return len(part) if isinstance(part, bytes) else part.nbytes


@dataclass(slots=True)
class Reader:
    """Reads the answers of one connection, one after the other.

    ``begun`` tells that a byte of the present answer has come, ``reusable`` that another may follow it.
    """

    begun: bool = False
    reusable: bool = False
    _parser: httptools.HttpResponseParser = field(init=False)
    _headers: dict[bytes, bytes] = field(default_factory=dict)
    _parts: list[bytes] = field(default_factory=list)
    _open: bool = False
    _reply: Reply | None = None

    def __post_init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> Reply | None:
        """The answer once it is whole.

        Raises:
            httptools.HttpParserError: this is no HTTP, or more came than was asked for.
        """
        self.begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            raise httptools.HttpParserError("an upgrade that nobody asked for") from error
        reply, self._reply = self._reply, None
        if reply is not None:
            self.begun = self._open
            self.reusable &= not self._open
        return reply

    def end(self) -> Reply | None:
        """The server closed the connection: the answer, where that is what ends it."""
        if not self._open or {b"content-length", b"transfer-encoding"} & self._headers.keys():
            return None
        self._complete()
        self.reusable = False
        return self._reply

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """The body begins."""
        self._open = True

    def on_body(self, part: bytes) -> None:
        """Keep a part of the body."""
        self._parts.append(part)

    def on_message_complete(self) -> None:
        """An answer is whole; one of the 1xx only announces it."""
        if self._parser.get_status_code() >= 200:
            self._complete()
        self._headers, self._parts, self._open = {}, [], False

    def _complete(self) -> None:
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self.reusable = bool(self._parser.should_keep_alive()) and self._reply is None
        self._reply = Reply(self._parser.get_status_code(), self._headers, body)
