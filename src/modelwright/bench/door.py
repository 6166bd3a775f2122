"""Questions to a server beside the load: what the model is, what was counted."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from modelwright.core.errors import BadInputError, ForbiddenError, NotFoundError, UnauthenticatedError, UnavailableError

PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Door:
    """Where a server answers over HTTP. ``ca``: a PEM file to trust instead of the system's certificates."""

    host: str
    port: int
    tls: bool = False
    token: str = ""
    ca: str = ""

    @classmethod
    def of(cls, url: str, token: str = "", ca: str = "") -> Door:
        """From ``http://HOST:PORT`` or ``https://HOST:PORT``.

        Raises:
            BadInputError: ``bench.bad-url``.
        """
        parts = urlsplit(url if "//" in url else f"http://{url}")
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in {"http", "https"} or not parts.hostname or port == -1 or parts.path not in {"", "/"}:
            raise BadInputError(
                "bench.bad-url", f"{url!r} is no address of a server.", fix="Write http://HOST:PORT, without a path."
            )
        tls = parts.scheme == "https"
        return cls(parts.hostname, port or (443 if tls else 80), tls, token, ca)

    @property
    def url(self) -> str:
        """The address again, without the token."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    def ask(self, path: str) -> bytes:
        """The body behind GET ``path``.

        Raises:
            UnavailableError: ``bench.no-server`` (nobody answers), ``bench.server-refused`` (any other status).
            UnauthenticatedError, ForbiddenError: ``bench.bad-token``, ``bench.not-allowed``.
            NotFoundError: ``bench.unknown-model``.
        """
        if self.tls:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                self.host,
                self.port,
                timeout=PATIENCE,
                context=ssl.create_default_context(cafile=self.ca or None),
            )
        else:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"} if self.token else {})
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(
                "bench.no-server",
                f"No server answers at {self.url}.",
                why=f"{error}." if str(error) else "",
                fix="Start it (`modelwright serve`), or let bench start its own: leave --url out, or give --package.",
            ) from error
        finally:
            connection.close()
        self._judge(answer.status, body)
        return body

    def json(self, path: str) -> Any:
        """The JSON behind GET ``path``. Raises as :meth:`ask`."""
        return json.loads(self.ask(path))

    def _judge(self, status: int, body: bytes) -> None:
        if status == 200:
            return
        said = body.decode(errors="replace")[:300]
        if status == 401:
            raise UnauthenticatedError(
                "bench.bad-token",
                f"{self.url} does not know this token.",
                fix="`modelwright token issue --subject bench --role predictor` makes one; give it as --token.",
            )
        if status == 403:
            raise ForbiddenError(
                "bench.not-allowed",
                "The token may not do this.",
                why=said,
                fix="Use a token of role predictor or deployer; only the latter reads the metrics too.",
            )
        if status == 404:
            raise NotFoundError(
                "bench.unknown-model",
                f"{self.url} serves no such model.",
                why=said,
                fix="`modelwright status` names what is served.",
            )
        raise UnavailableError("bench.server-refused", f"{self.url} answers {status}.", why=said, fix="Is it ready?")
