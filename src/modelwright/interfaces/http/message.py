"""A request and a reply as values, and how a reply becomes bytes."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import msgspec

from modelwright.core.access import Actor
from modelwright.core.errors import BadInputError, ModelwrightError, TooLargeError

NOBODY = Actor("", "")
JSON = b"content-type: application/json\r\n"
COMPRESS_FROM_BYTES = 1024
MAX_MEMBERS = 256  # parts of one compressed body: for each, what follows it is copied

_REASONS = {
    200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    408: "Request Timeout", 409: "Conflict", 411: "Length Required", 413: "Content Too Large",
    415: "Unsupported Media Type", 422: "Unprocessable Content", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 500: "Internal Server Error", 501: "Not Implemented",
    503: "Service Unavailable", 504: "Gateway Timeout",
}  # fmt: skip
_STATUS_LINES = {status: f"HTTP/1.1 {status} {reason}\r\n".encode() for status, reason in _REASONS.items()}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

STATUS_OF_KIND = {
    "bad-input": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not-found": 404,
    "conflict": 409,
    "too-large": 413,
    "refused": 422,
    "internal": 500,
    "corrupt": 500,
    "unavailable": 503,
    "deadline": 504,
}
_STATUS_OF_CODE = {
    "http.method-not-allowed": 405,
    "http.request-timeout": 408,
    "http.unsupported-encoding": 415,
    "http.head-too-large": 431,
}
_HEADERS_OF_STATUS = {
    401: b"www-authenticate: Bearer\r\n",
    503: b"retry-after: 1\r\n",
    429: b"retry-after: 1\r\n",
}


class Logged(Enum):
    """What an answer claims about the prediction log."""

    NOTHING = "nothing"
    PREDICTION = "prediction"
    """Refused when the log cannot be written and ``log_required`` is set."""
    TRUTH = "truth"
    """Always refused when the log cannot be written: "accepted" means written."""


@dataclass(slots=True)
class Request:
    """One request; header names are in lower case. ``target`` is the raw request target."""

    method: bytes
    target: bytes
    headers: dict[bytes, bytes]
    body: bytes
    received_at: float
    started: float
    actor: Actor = NOBODY
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Reply:
    """One reply; ``headers`` are whole lines. ``series`` names the (model, version) its latency is counted under."""

    status: int
    body: bytes
    headers: bytes = JSON
    logged: Logged = Logged.NOTHING
    series: tuple[str, str] | None = None


def render(reply: Reply, *, connection: bytes = b"", head_only: bool = False) -> bytes:
    """The reply's bytes; ``connection`` is a whole header line or empty."""
    return b"%b%b%bcontent-length: %d\r\n\r\n%b" % (
        _STATUS_LINES[reply.status],
        reply.headers,
        connection,
        len(reply.body),
        b"" if head_only else reply.body,
    )


def json_reply(value: object, status: int = 200) -> Reply:
    """A JSON reply."""
    return Reply(status, msgspec.json.encode(value))


def error_reply(error: ModelwrightError) -> Reply:
    """The protocol's one error shape, ``{"error": "..."}``; the stable code travels in a header."""
    status = _STATUS_OF_CODE.get(error.code) or STATUS_OF_KIND[error.kind]
    body = msgspec.json.encode({"error": str(error).encode(errors="replace").decode()})
    extra = _HEADERS_OF_STATUS.get(status, b"")
    allow = error.details.get("allow")
    if allow:
        extra += b"allow: %b\r\n" % str(allow).encode()
    return Reply(status, body, b"%b%bmodelwright-error: %b\r\n" % (JSON, extra, error.code.encode()))


def compress(reply: Reply, accepted: bytes) -> None:
    """Compress a large body in place when the client takes gzip or deflate."""
    if len(reply.body) < COMPRESS_FROM_BYTES or b"content-encoding" in reply.headers:
        return
    accepted = accepted.lower()
    for name, window in ((b"gzip", 31), (b"deflate", 15)):
        if name in accepted and name + b";q=0" not in accepted.replace(b" ", b""):
            packer = zlib.compressobj(1, zlib.DEFLATED, window)
            reply.body = packer.compress(reply.body) + packer.flush()
            reply.headers += b"content-encoding: %b\r\nvary: accept-encoding\r\n" % name
            return


def decompress(body: bytes, encoding: bytes, limit: int) -> bytes:
    """A request body without its content coding; never holds more than ``limit`` bytes of output.

    Raises:
        TooLargeError: ``http.body-too-large``.
        BadInputError: not what it says, or a coding we do not know.
    """
    encoding = encoding.strip().lower()
    if encoding in (b"", b"identity"):
        return body
    if encoding not in (b"gzip", b"x-gzip", b"deflate"):
        raise BadInputError(
            "http.unsupported-encoding", "The content encoding is not supported.", fix="Use gzip or deflate."
        )
    parts: list[bytes] = []
    left, rest = limit, body
    while rest:
        if len(parts) == MAX_MEMBERS:
            raise BadInputError("http.bad-encoding", f"The compressed body has more than {MAX_MEMBERS} parts.")
        unpacker = zlib.decompressobj(47)  # gzip or zlib, by its own header
        try:
            parts.append(unpacker.decompress(rest, left + 1))
        except zlib.error as error:
            raise BadInputError(
                "http.bad-encoding", "The body is not what its content encoding says.", why=f"{error}."
            ) from error
        left -= len(parts[-1])
        if left < 0:
            raise body_too_large(limit)
        if not unpacker.eof:
            raise BadInputError("http.bad-encoding", "The compressed body is cut off.")
        rest = unpacker.unused_data
    return b"".join(parts)


def body_too_large(limit: int) -> TooLargeError:
    """The error for a body over the limit."""
    return TooLargeError(
        "http.body-too-large",
        f"The body is larger than {limit} bytes.",
        fix="Send fewer rows, or raise MODELWRIGHT_MAX_BODY_BYTES.",
    )
