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
    return _bound(text, name, insecure=insecure, shared=False, backlog=BACKLOG)


def listen_together(text: str, count: int, *, name: str, insecure: bool = False) -> list[socket.socket]:
    """Listening sockets on one address, among which the kernel spreads the connections (SO_REUSEPORT).

    Raises as :func:`listen` does.
    """
    alone = listen(text, name=name, insecure=insecure)  # another server that shares its port would be noticed by this
    if count == 1:
        return [alone]
    with alone:
        place = spoken(alone)
    return [_bound(place, name, insecure=insecure, shared=True, backlog=BACKLOG) for _ in range(count)]


def reserve(text: str, *, name: str, insecure: bool = False) -> socket.socket:
    """A socket that keeps an address for listeners with SO_REUSEPORT and takes no connection itself.

    Raises as :func:`listen` does.
    """
    with listen(text, name=name, insecure=insecure) as alone:
        place = spoken(alone)
    return _bound(place, name, insecure=insecure, shared=True, backlog=0)


def _bound(text: str, name: str, *, insecure: bool, shared: bool, backlog: int) -> socket.socket:
    """A bound socket; it listens where there is a backlog."""
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
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(target)
        if backlog:
            listener.listen(backlog)
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
