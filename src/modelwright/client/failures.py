"""What went wrong, as the errors that a user sees."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import msgspec

from modelwright.client.wire import Lost, Reply
from modelwright.core.errors import DeadlineError, InternalError, ModelwrightError, UnavailableError, from_json
from modelwright.core.statuses import HTTP_STATUS

RETRIED = frozenset({429, 502, 503, 504})
_KINDS = {status: kind for kind, status in HTTP_STATUS.items() if kind != "corrupt"} | {502: "unavailable"}


def unreachable(url: str, error: OSError) -> Lost:
    """No connection could be made."""
    if type(error).__name__ == "SSLCertVerificationError":
        return Lost(
            UnavailableError(
                "client.untrusted",
                f"The server at {url} cannot be proved to be the one that is meant.",
                why=f"{getattr(error, 'verify_message', '') or error}.",
                fix="Give the PEM file of its authority as `ca`, and the name that its certificate names.",
            ),
            again=False,
        )
    why = error.strerror or str(error) or type(error).__name__
    return Lost(
        UnavailableError(
            "client.unreachable",
            f"No connection to {url}.",
            why=f"{why.rstrip('.')}.",
            fix="Is the server started (`modelwright serve`), and is the URL right?",
        ),
        again=True,
    )


def lost(url: str, *, begun: bool) -> Lost:
    """The connection ended before the answer did."""
    if begun:
        error = UnavailableError(
            "client.answer-cut-off",
            f"The answer of {url} ended in the middle.",
            why="The connection was closed.",
            fix="Ask again with the same id: it stays one prediction.",
        )
    else:
        error = UnavailableError(
            "client.no-answer",
            f"{url} closed the connection before it answered.",
            fix="Try again; look into the server's log if it stays so.",
        )
    return Lost(error, again=not begun)


def late(url: str, seconds: float) -> Lost:
    """The time allowed is over."""
    return Lost(
        DeadlineError(
            "client.deadline",
            f"{url} did not answer within {seconds:.3g} s.",
            fix="Give a longer `deadline`, or send fewer rows.",
        ),
        again=False,
    )


def not_http(url: str) -> Lost:
    """What came is no HTTP."""
    return Lost(
        UnavailableError(
            "client.not-http",
            f"What answers at {url} does not speak HTTP.",
            fix="Check scheme and port: https:// where the server has a certificate, and not its gRPC port.",
        ),
        again=False,
    )


_SIGN_IN = "Give a token (token=, --token or MODELWRIGHT_TOKEN); `modelwright token issue` makes one."


def refused(url: str, reply: Reply) -> ModelwrightError:
    """The error that an answer tells: its code, kind and words."""
    status = reply.status
    if 300 <= status < 400:
        place = reply.text(b"location")[:200]
        return UnavailableError(
            "client.redirected",
            f"{url} points to another place{f': {place}' if place else ''}.",
            why="Redirects are not followed: they would carry the token elsewhere.",
            fix="Give the URL of the server itself.",
        )
    body = _json(reply.body)
    said = body.get("error") or body.get("message") or body.get("detail") if isinstance(body, dict) else None
    if isinstance(said, dict):
        return from_json(said)
    code = reply.text(b"modelwright-error")
    kind = _KINDS.get(status, "bad-input" if 400 <= status < 500 else "internal")
    if status == 408:
        kind = "deadline"
    what = said if isinstance(said, str) and said else f"{url} answered with status {status}."
    details = {"status": status} | (
        {"retry_after": reply.text(b"retry-after")} if b"retry-after" in reply.headers else {}
    )
    fix = _SIGN_IN if status == 401 else ""
    return from_json({"kind": kind, "code": code or "client.refused", "what": what, "fix": fix, "details": details})


def unexpected(url: str, what: str) -> InternalError:
    """An answer that is none of the protocol."""
    return InternalError(
        "client.bad-answer",
        f"The answer of {url} is not understood: {what}.",
        fix="Is this a server of the Open Inference Protocol, version 2?",
    )


def warnings_of(reply: Reply) -> tuple[str, ...]:
    """What the model's input policy reports."""
    if b"modelwright-warnings" not in reply.headers:
        return ()
    return tuple(unquote(one) for one in reply.text(b"modelwright-warnings").split(", "))


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
