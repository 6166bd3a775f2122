"""Long bodies: received straight into one buffer of their size, without a copy on the way."""

from __future__ import annotations

import asyncio
from typing import Protocol

import numpy as np

LONG_BYTES = 2**16
"""A body of which so much is still to come is received like this."""
ALIGNED = 8


class Receiver(Protocol):
    """The connection that a body belongs to."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        ...

    def eof_received(self) -> bool:
        """The client has sent its last byte."""
        ...

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        ...

    def resume_writing(self) -> None:
        """The client has caught up."""
        ...

    def body_grows(self, size: int) -> None:
        """So many bytes have come."""
        ...

    def body_is_whole(self, body: memoryview) -> None:
        """The last byte has come; no byte behind it was taken."""
        ...


class LongBody(asyncio.BufferedProtocol):
    """Stands in for its connection until the body is whole.

    Args:
        receiver: the connection.
        length: bytes of the whole body.
        begun: what of it has come.
        head: bytes before its tensors, which then stand where processors like numbers to stand.
    """

    def __init__(self, receiver: Receiver, length: int, begun: list[bytes], head: int = 0) -> None:
        self._receiver = receiver
        shift = -head % ALIGNED
        # takes no memory before bytes come, and is not cleared
        self._buffer = np.empty(length + shift, np.uint8).data[shift:]
        self._filled = 0
        for part in begun:
            self._buffer[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
        self.connection_lost = receiver.connection_lost  # type: ignore[method-assign]
        self.eof_received = receiver.eof_received  # type: ignore[method-assign]
        self.pause_writing = receiver.pause_writing  # type: ignore[method-assign]
        self.resume_writing = receiver.resume_writing  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """What is still to come, and no more: the next request is not for this buffer."""
        return self._buffer[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Some of it has come."""
        self._filled += nbytes
        self._receiver.body_grows(nbytes)
        if self._filled == len(self._buffer):
            self._receiver.body_is_whole(self._buffer)
