"""Listening sockets: loopback unless somebody insists, and a clear word when a port is taken."""

from __future__ import annotations

import errno
import ipaddress
import socket

from modelwright.core.errors import BadInputError, ConflictError, RefusedError, UnavailableError
from modelwright.settings import address

BACKLOG = 1024


def is_loopback(host: str) -> bool:
    """True for ``localhost`` and the loopback networks 127.0.0.0/8 and ::1."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(text: str, *, name: str, insecure: bool = False) -> socket.socket:
    """A listening TCP socket on ``host:port`` (port 0: any free one).

    Args:
        text: the address.
        name: the setting it comes from, ``http`` or ``control``: named in the errors.
        insecure: allow an address that other machines can reach; right where the listener speaks TLS.

    Raises:
        RefusedError: ``serve.refused-bind``.
        ConflictError: ``serve.port-taken``.
        UnavailableError: ``serve.cannot-bind``.
        BadInputError: ``settings.bad-address``, ``serve.unknown-host``.
    """
    host, port = address(text)
    change = f"Set --{name} or MODELWRIGHT_{name.upper()}"
    if not is_loopback(host) and not insecure:
        raise RefusedError(
            "serve.refused-bind",
            f"{text} can be reached from other machines, and there is no TLS.",
            why="Tokens and data would cross the network readable.",
            fix=f"Give --tls-certificate and --tls-key, or {change.lower()} to a loopback address behind a TLS proxy, "
            "or add --i-know.",
        )
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise BadInputError("serve.unknown-host", f"There is no host {host!r}.", fix=f"{change}.") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(target)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            other = port + 10 if port < 65_000 else port - 10  # the next one is likely our own other plane's
            raise ConflictError(
                "serve.port-taken",
                f"Port {port} of {host} is taken by another program.",
                fix=f"Stop that program, or choose another port: {change} to {host}:{other}.",
            ) from error
        raise UnavailableError(
            "serve.cannot-bind", f"Cannot listen on {text}: {error.strerror}.", fix=f"{change}."
        ) from error
    return listener


def spoken(listener: socket.socket) -> str:
    """The socket's real address as ``host:port``."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
