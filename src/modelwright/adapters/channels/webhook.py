"""Alerts as signed HTTP POSTs, in the form of the Standard Webhooks specification (standardwebhooks.com)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import secrets
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from modelwright.core.errors import BadInputError, UnavailableError
from modelwright.core.finding import Alert
from modelwright.core.record_codec import to_json

SECONDS = 5.0
TRIES = 3


class WebhookChannel:
    """POSTs an alert as JSON to one address, three times at most.

    With a secret, ``webhook-signature`` is ``v1,`` and the base64 of HMAC-SHA256 over
    ``<webhook-id>.<webhook-timestamp>.<body>``. A secret ``whsec_<base64>`` is decoded first, any other is used as it
    is. Redirects are not followed and proxies from the environment are not used. The host's addresses are resolved
    and checked before each try, and the connection goes to the address that was checked; with ``allow_private`` false,
    private, loopback, link-local and reserved addresses are refused.

    Args:
        url: ``https://...`` or ``http://...``.
        secret: shared with the receiver.
        allow_private: allow receivers in private networks and on this machine.
        pause: waits between tries, in seconds (1, then 2).

    Raises:
        BadInputError: ``channel.bad-address``.
    """

    name = "webhook"

    def __init__(
        self, url: str, secret: str = "", *, allow_private: bool = False, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._address = urlsplit(url)
        try:
            port = self._address.port
        except ValueError:
            port = -1
        if self._address.scheme not in {"http", "https"} or not self._address.hostname or port == -1:
            raise BadInputError(
                "channel.bad-address",
                f"{url!r} is not the address of a webhook.",
                fix="Write https://host/path or http://host:port/path.",
            )
        self._host, self._port = self._address.hostname, port or (443 if self._address.scheme == "https" else 80)
        self._key, self._allow_private, self._pause = _key(secret), allow_private, pause

    def send(self, alert: Alert) -> None:
        """Deliver, or raise UnavailableError (``channel.undelivered``).

        A 2xx answer is delivery; 408, 429 and 5xx answers and broken connections are tried again, others are final.
        """
        body = json.dumps({"type": "alert", "data": to_json(alert)}, sort_keys=True, default=str).encode()
        identity, why = f"msg_{secrets.token_hex(16)}", ""
        for attempt in range(TRIES):
            if attempt:
                self._pause(2.0 ** (attempt - 1))
            why, again = self._attempt(identity, body)
            if not why:
                return
            if not again:
                break
        raise UnavailableError(
            "channel.undelivered",
            f"The alert could not be delivered to {self._host}.",
            why=why,
            fix="Check the receiver and its address; the findings are kept with the model's reports.",
        )

    def _attempt(self, identity: str, body: bytes) -> tuple[str, bool]:
        """Why it failed (empty when delivered) and whether to try again."""
        import httpx  # lazy: most processes never send a webhook

        try:
            target = self._checked_address()
        except OSError as error:
            return f"The host name does not resolve ({error}).", True
        if target is None:
            return "Its address is private or reserved, and private receivers are not allowed (allow_private).", False
        host = f"[{self._host}]" if ":" in self._host else self._host
        url = httpx.URL(self._address.geturl()).copy_with(host=target, username=None, password=None)
        headers = {
            "host": host if self._address.port is None else f"{host}:{self._port}",
            "content-type": "application/json",
            "user-agent": "modelwright",
            **self._signature(identity, body),
        }
        try:
            with (
                httpx.Client(timeout=SECONDS, follow_redirects=False, trust_env=False) as client,
                client.stream(
                    "POST", url, content=body, headers=headers, extensions={"sni_hostname": self._host}
                ) as answer,
            ):
                status = answer.status_code
        except httpx.HTTPError as error:
            return f"The connection failed ({type(error).__name__}).", True
        if 200 <= status < 300:
            return "", False
        return f"The receiver answered with status {status}.", status in {408, 429} or status >= 500

    def _checked_address(self) -> str | None:
        """The first of the host's addresses, when all of them may be connected to.

        Connecting to the address that was checked leaves no moment for the name to resolve to another one.
        """
        found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        if not self._allow_private and not all(_is_public(address) for address in addresses):
            return None
        return addresses[0]

    def _signature(self, identity: str, body: bytes) -> dict[str, str]:
        moment = str(int(time.time()))
        headers = {"webhook-id": identity, "webhook-timestamp": moment}
        if self._key:
            digest = hmac.new(self._key, f"{identity}.{moment}.".encode() + body, hashlib.sha256).digest()
            headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
        return headers


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return ip.is_global and not ip.is_multicast


def _key(secret: str) -> bytes:
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError as error:
        raise BadInputError(
            "channel.bad-secret", "The webhook's secret is not base64 after whsec_.", fix="Copy the secret again."
        ) from error
