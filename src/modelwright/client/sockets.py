"""Kept connections for threads: each thread borrows one for one request."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Generator

import httptools

from modelwright.client.address import Address
from modelwright.client.failures import late, lost, not_http, unreachable
from modelwright.client.wire import Buffer, Lost, Reader, Reply, size_of

_CHUNK = 1 << 16
_JOINED = 1 << 14  # what is shorter is copied into one piece: that is faster than a list of pieces
_TIMEVAL = struct.Struct("@ll")


class _Connection:
    """One connection; ``used`` tells that it has carried an answer."""

    __slots__ = ("_allowed", "_secure", "reader", "socket", "used")

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
        self._secure, self._allowed = context is not None, 0.0
        if not self._secure:
            self.socket.settimeout(None)

    def ask(self, parts: list[Buffer], limit: float) -> Reply | None:
        """The answer; None where the connection ended before it did.

        Raises:
            TimeoutError, BlockingIOError: the moment ``limit`` has come.
        """
        self._allow(limit)
        try:  # noqa: SIM105 - ``suppress`` costs more than the rest of this function
            self._send(parts)
        except (BrokenPipeError, ConnectionResetError):
            pass  # a server that refuses a long body answers and closes before it has read it: the answer may be there
        while True:
            part = self.socket.recv(_CHUNK)
            if not part:
                return self.reader.end()
            reply = self.reader.feed(part)
            if reply is not None:
                self.used = True
                return reply
            self._allow(limit)

    def _send(self, parts: list[Buffer]) -> None:
        size = sum(map(size_of, parts))
        if size < _JOINED or self._secure:
            self.socket.sendall(b"".join(parts))
            return
        sent = self.socket.sendmsg(parts)
        if sent < size:
            self.socket.sendall(memoryview(b"".join(parts))[sent:])

    def _allow(self, limit: float) -> None:
        """Let the next operation take what is left of the time, to one in a hundred.

        The system keeps the time itself, and is told only of a new one: with a timeout of Python's every operation
        would cost a second system call.
        """
        left = _left(limit)
        if self._secure:
            self.socket.settimeout(left)
        elif not 0.99 * self._allowed < left <= self._allowed:
            self._allowed = left
            moment = _TIMEVAL.pack(int(left), int(left % 1 * 1e6) + 1)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, moment)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, moment)


class SocketPool:
    """At most ``size`` connections to one server, made as they are needed. Safe to use from many threads."""

    def __init__(self, address: Address, size: int) -> None:
        self._address, self._size = address, size
        self._reset()

    def exchange(self, parts: list[Buffer], limit: float) -> Reply | Lost:
        """Send a request and wait for its answer, until the moment ``limit`` of ``time.monotonic``."""
        if self._process != os.getpid():
            self._reset()  # the connections belong to the parent of this process
        started = time.monotonic()
        if not self._take_place(limit - started):
            return late(self._address.url, limit - started)
        try:
            return self._exchange(parts, started, limit)
        finally:
            self._give_place()

    def bytes_of(self, parts: list[Buffer], seconds: float) -> Generator[bytes, None, None]:
        """What comes as the answer, over a connection of its own; empty at its end.

        Raises:
            UnavailableError, DeadlineError: ``client.*``; ``seconds`` passed without a byte.
        """
        connection: _Connection | None = None
        try:
            connection = _Connection(self._address, time.monotonic() + seconds)
            connection.socket.settimeout(seconds)
            connection.socket.sendall(b"".join(parts))
            while True:
                yield (data := connection.socket.recv(_CHUNK))
                if not data:
                    return
        except (TimeoutError, BlockingIOError) as error:
            raise late(self._address.url, seconds).error from error
        except OSError as error:
            failed = (
                unreachable(self._address.url, error) if connection is None else lost(self._address.url, begun=True)
            )
            raise failed.error from error
        finally:
            if connection is not None:
                connection.socket.close()

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().socket.close()

    def _reset(self) -> None:
        self._idle: deque[_Connection] = deque()
        self._lock, self._free = threading.Lock(), self._size
        self._waiting: deque[threading.Lock] = deque()
        self._process = os.getpid()

    def _take_place(self, seconds: float) -> bool:
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        try:
            if turn.acquire(timeout=max(0.0, seconds)):
                return True
        except BaseException:
            self._leave(turn)
            raise
        self._leave(turn)
        return False

    def _leave(self, turn: threading.Lock) -> None:
        """Stop waiting; a place that came in the meantime goes to the next."""
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return
        self._give_place()

    def _give_place(self) -> None:
        """Hand the place on to who has waited longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1

    def _take_idle(self) -> _Connection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _exchange(self, parts: list[Buffer], started: float, limit: float) -> Reply | Lost:
        anew = False
        while True:
            connection: _Connection | None = None
            try:
                connection = (None if anew else self._take_idle()) or _Connection(self._address, limit)
                reply = connection.ask(parts, limit)
            except (TimeoutError, BlockingIOError):
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
                anew = True
                continue
            return outcome


def _left(limit: float) -> float:
    left = limit - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
