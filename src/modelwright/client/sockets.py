"""Kept connections for threads: each thread borrows one for one request."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections import deque

import httptools

from modelwright.client.address import Address
from modelwright.client.failures import late, lost, not_http, unreachable
from modelwright.client.wire import Lost, Reader, Reply

_CHUNK = 1 << 18


class _Connection:
    """One connection; ``used`` tells that it has carried an answer."""

    __slots__ = ("reader", "socket", "used")

    def __init__(self, address: Address, limit: float) -> None:
        plain = socket.create_connection((address.host, address.port), timeout=_left(limit))
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            context = address.context
            self.socket = plain if context is None else context.wrap_socket(plain, server_hostname=address.host)
        except BaseException:
            plain.close()
            raise
        self.reader, self.used = Reader(), False

    def ask(self, data: bytes, limit: float) -> Reply | None:
        """The answer; None where the connection ended before it did."""
        self.socket.settimeout(_left(limit))
        # A server that refuses a long body answers and closes before it has read it: the answer is there all the same.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)
        while True:
            self.socket.settimeout(_left(limit))
            part = self.socket.recv(_CHUNK)
            if not part:
                return self.reader.end()
            reply = self.reader.feed(part)
            if reply is not None:
                self.used = True
                return reply


class SocketPool:
    """At most ``size`` connections to one server, made as they are needed. Safe to use from many threads."""

    def __init__(self, address: Address, size: int) -> None:
        self._address, self._size = address, size
        self._reset()

    def exchange(self, data: bytes, limit: float) -> Reply | Lost:
        """Send a request and wait for its answer, until the moment ``limit`` of ``time.monotonic``."""
        if self._process != os.getpid():
            self._reset()  # the connections belong to the parent of this process
        started = time.monotonic()
        places = self._places
        if not places.acquire(timeout=max(0.0, limit - started)):
            return late(self._address.url, limit - started)
        try:
            return self._exchange(data, started, limit)
        finally:
            places.release()

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().socket.close()

    def _reset(self) -> None:
        self._idle: deque[_Connection] = deque()
        self._places = threading.BoundedSemaphore(self._size)
        self._process = os.getpid()

    def _exchange(self, data: bytes, started: float, limit: float) -> Reply | Lost:
        while True:
            connection: _Connection | None = None
            try:
                try:
                    connection = self._idle.pop()
                except IndexError:
                    connection = _Connection(self._address, limit)
                reply = connection.ask(data, limit)
            except TimeoutError:
                outcome: Reply | Lost = late(self._address.url, limit - started)
            except httptools.HttpParserError:
                outcome = not_http(self._address.url)
            except OSError as error:
                if connection is None:
                    return unreachable(self._address.url, error)
                outcome = lost(self._address.url, begun=connection.reader.begun)
            except BaseException:  # interrupted: the answer that may still come is nobody's
                if connection is not None:
                    connection.socket.close()
                raise
            else:
                if reply is not None and connection.reader.reusable:
                    self._idle.append(connection)
                    return reply
                outcome = reply or lost(self._address.url, begun=connection.reader.begun)
            if connection is None:
                return outcome
            connection.socket.close()
            if isinstance(outcome, Lost) and outcome.again and connection.used:
                self.close()  # closed by the server while it was idle, as the others may be: it may be in good health
                continue
            return outcome


def _left(limit: float) -> float:
    left = limit - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
