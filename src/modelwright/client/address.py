"""Where the server is, and how a connection to it is proved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from modelwright.core.errors import BadInputError

if TYPE_CHECKING:
    import ssl

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """A server: ``prefix`` is the path before every route, ``context`` None where TLS is not spoken."""

    url: str
    host: str
    port: int
    prefix: str
    context: ssl.SSLContext | None

    @property
    def authority(self) -> str:
        """The value of the header ``Host``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.context else "http"] else f"{host}:{self.port}"


def address(url: str, ca: str = "", certificate: str | tuple[str, str] = "") -> Address:
    """The server of a URL; without a scheme it is taken for ``http://``.

    Args:
        url: ``http://host:port`` or ``https://host:port``, with a path where the server stands behind one.
        ca: PEM file of the authority that signed the server's certificate; empty: the system's authorities.
        certificate: this client's own certificate: a PEM file with its key, or the two files.

    Raises:
        BadInputError: ``client.bad-url``, ``client.bad-certificate``.
    """
    text = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("")
    plain = text.isascii() and text.isprintable() and " " not in text
    if parts.scheme not in _PORTS or not host or not plain or parts.query or parts.fragment or parts.username:
        raise BadInputError(
            "client.bad-url",
            f"{url[:200]!r} is not the URL of a server.",
            fix="Write http://HOST:PORT or https://HOST:PORT; a token goes into `token`.",
        )
    secure = parts.scheme == "https"
    if not secure and (ca or certificate):
        raise BadInputError(
            "client.bad-url", f"{url[:200]!r} speaks no TLS, but a certificate is given.", fix="Write https://."
        )
    context = _context(ca, certificate) if secure else None
    return Address(text.rstrip("/"), host, port or _PORTS[parts.scheme], parts.path.rstrip("/"), context)


def _context(ca: str, certificate: str | tuple[str, str]) -> ssl.SSLContext:
    import ssl  # lazy: most servers are on the same machine or behind a mesh

    try:
        context = ssl.create_default_context(cafile=ca or None)
        if certificate:
            context.load_cert_chain(*((certificate,) if isinstance(certificate, str) else certificate))
    except (OSError, ssl.SSLError) as error:
        raise BadInputError(
            "client.bad-certificate",
            "The certificates for this connection cannot be read.",
            why=f"{error}.",
            fix="Give PEM files: `ca` of the server's authority, `certificate` with its unencrypted key.",
        ) from error
    context.set_alpn_protocols(["http/1.1"])
    return context
