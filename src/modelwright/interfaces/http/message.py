"""A request and a reply as values, and how a reply becomes bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import msgspec

from modelwright.core.access import Actor
from modelwright.core.errors import ModelwrightError, TooLargeError
from modelwright.core.statuses import HTTP_STATUS
from modelwright.serve.call import Answer, PredictCall

NOBODY = Actor("", "")
JSON = b"content-type: application/json\r\n"

_REASONS = {
    200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    408: "Request Timeout", 409: "Conflict", 411: "Length Required", 413: "Content Too Large",
    415: "Unsupported Media Type", 422: "Unprocessable Content", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 500: "Internal Server Error", 501: "Not Implemented",
    503: "Service Unavailable", 504: "Gateway Timeout",
}  # fmt: skip
_STATUS_LINES = {status: f"HTTP/1.1 {status} {reason}\r\n".encode() for status, reason in _REASONS.items()}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"  # RFC 2518; a client takes any 1xx (RFC 9110, section 15.2)

_STATUS_OF_CODE = {
    "http.method-not-allowed": 405,
    "http.request-timeout": 408,
    "http.unsupported-encoding": 415,
    "http.unsupported-type": 415,
    "http.head-too-large": 431,
}
_HEADERS_OF_STATUS = {
    401: b"www-authenticate: Bearer\r\n",
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
    """One request; header names are in lower case. ``target`` is the raw request target.

    ``long`` is the body where it is long, and ``body`` is empty then; a route that does not say ``long`` gets it as
    ``body``.
    """

    method: bytes
    target: bytes
    headers: dict[bytes, bytes]
    body: bytes
    received_at: float
    started: float
    actor: Actor = NOBODY
    parameters: Mapping[str, str] = field(default_factory=dict)
    long: memoryview | None = None


@dataclass(slots=True)
class Asked:
    """What an endpoint asks of the plane; ``finish`` makes the reply of the answer."""

    call: PredictCall
    finish: Callable[[Answer], Reply]


@dataclass(slots=True)
class AskedStream:
    """A call whose answer is wanted in chunks; ``event`` makes the JSON of each, ``headers`` those of the reply."""

    call: PredictCall
    event: Callable[[Answer], bytes]
    headers: Callable[[Answer], bytes]


@dataclass(slots=True)
class AskedAll:
    """Several calls that one reply answers; ``finish`` gets an answer or an error for each, in their order."""

    calls: Sequence[PredictCall]
    finish: Callable[[Sequence[Answer | ModelwrightError]], Reply]


@dataclass(slots=True)
class Later:
    """A reply that waits for something else than a prediction.

    ``begin`` is given whom to tell when it is done, or why it could not be.
    """

    begin: Callable[[Callable[[ModelwrightError | None], object]], object]
    reply: Reply


@dataclass(slots=True)
class Reply:
    """One reply; ``headers`` are whole lines.

    ``series`` names the (model, version) its latency is counted under; ``error`` is the stable code of a refusal.
    """

    status: int
    body: bytes
    headers: bytes = JSON
    logged: Logged = Logged.NOTHING
    series: tuple[str, str] | None = None
    error: str = ""


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
    """The Open Inference Protocol's one error shape, ``{"error": "..."}``."""
    return error_with_body(error, {"error": words(error)})


def words(error: ModelwrightError) -> str:
    """What an error says, as text that is valid in every encoding."""
    return str(error).encode(errors="replace").decode()


def status_of(error: ModelwrightError) -> int:
    """The HTTP status of an error."""
    return _STATUS_OF_CODE.get(error.code) or HTTP_STATUS[error.kind]


def error_with_body(error: ModelwrightError, value: object) -> Reply:
    """An error in the shape of some dialect; status and headers are the same in all of them, the stable code too."""
    status, body = status_of(error), msgspec.json.encode(value)
    extra = _HEADERS_OF_STATUS.get(status, b"")
    if status in (429, 503):
        extra += b"retry-after: %d\r\n" % int(str(error.details.get("retry_after", 1)))
    allow = error.details.get("allow")
    if allow:
        extra += b"allow: %b\r\n" % str(allow).encode()
    return Reply(status, body, b"%b%bmodelwright-error: %b\r\n" % (JSON, extra, error.code.encode()))


def body_too_large(limit: int) -> TooLargeError:
    """The error for a body over the limit."""
    return TooLargeError(
        "http.body-too-large",
        f"The body is larger than {limit} bytes.",
        fix="Send fewer rows, or raise MODELWRIGHT_MAX_BODY_BYTES.",
    )
