"""What stands in front of every route of the control process, pages included: Host, Origin, body cap, headers."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Collection
from urllib.parse import urlsplit

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modelwright.core.errors import BadInputError, DeadlineError, ForbiddenError, ModelwrightError, TooLargeError
from modelwright.core.statuses import HTTP_STATUS

# Nothing else than this: a parser of whole addresses would see a loopback host in `127.0.0.1:.evil.example`.
_AUTHORITY = re.compile(r"(?:(?P<name>[a-z0-9._-]+)|\[(?P<v6>[0-9a-f:.]+)\])(?::[0-9]{1,5})?", re.ASCII)
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_BODY_BYTES = 2**20
BODY_SECONDS = 10.0
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
SECURITY_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def host_name(authority: str) -> str:
    """Lower-case host of ``host[:port]`` or ``[v6][:port]``; empty when it is anything else."""
    found = _AUTHORITY.fullmatch(authority.lower())
    return (found["name"] or found["v6"]).rstrip(".") if found else ""


def host_allowed(authority: str, allowed: Collection[str]) -> bool:
    """True for a loopback name or address and for the configured names (defence against DNS rebinding)."""
    host = host_name(authority)
    if host == "localhost" or host in allowed:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def origin_allowed(method: str, origin: str | None, authority: str, site: str | None) -> bool:
    """May this request change something? Browsers send ``Origin`` (or at least ``Sec-Fetch-Site``); programs send none.

    Args:
        method: the request's method; safe methods always pass.
        origin: the ``Origin`` header.
        authority: the ``Host`` header.
        site: the ``Sec-Fetch-Site`` header.
    """
    if method in SAFE_METHODS:
        return True
    if site is not None and site not in {"same-origin", "none"}:
        return False
    return origin is None or urlsplit(origin).netloc.lower() == authority.lower()


class Guard:
    """ASGI middleware: refuses before any route is looked at, and puts the security headers on every answer."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Collection[str] = (),
        max_body_bytes: int = MAX_BODY_BYTES,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._body_seconds = body_seconds
        self._app, self._hosts, self._max_body = app, frozenset(host.lower() for host in hosts), max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, read the body under its cap, and pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            self._check(scope)
            async with asyncio.timeout(self._body_seconds):
                body = await self._read(receive)
        except TimeoutError:
            late = DeadlineError(
                "control.body-too-slow",
                f"The request body did not arrive within {self._body_seconds:g} seconds.",
                fix="Send the whole body at once.",
            )
            await _refuse(late, send_guarded)
            return
        except ModelwrightError as error:
            await _refuse(error, send_guarded)
            return
        sent = False

        async def replay() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send_guarded)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        authority = headers.get("host", "")
        if not host_allowed(authority, self._hosts):
            raise BadInputError(
                "control.unknown-host",
                "This server does not answer under that host name.",
                why="Only loopback names and the configured host are allowed, so that no web page can rebind to it.",
                fix="Use the address that `modelwright serve` printed.",
            )
        if not origin_allowed(scope["method"], headers.get("origin"), authority, headers.get("sec-fetch-site")):
            raise ForbiddenError(
                "control.cross-origin", "A request from another web site was refused.", fix="Open the page itself."
            )
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._max_body:
            raise _too_large(self._max_body)

    async def _read(self, receive: Receive) -> bytes:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return bytes(body)
            body += message.get("body", b"")
            if len(body) > self._max_body:
                raise _too_large(self._max_body)
            if not message.get("more_body", False):
                return bytes(body)


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError("control.body-too-large", f"The request body is over {limit} bytes.")


async def _refuse(error: ModelwrightError, send: Send) -> None:
    body = msgspec.json.encode({"error": error.to_json()})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": HTTP_STATUS[error.kind], "headers": headers})
    await send({"type": "http.response.body", "body": body})
