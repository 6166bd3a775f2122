"""Connections that carry one request at a time; who holds one is told what came back."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any, Protocol

import httptools

from modelwright.bench.job import Job

Answered = Callable[["Line", str, bytes], None]
"""Gets the line, an error (empty: a right answer), and the body where it is kept."""
GRPC_METHOD = "/inference.GRPCInferenceService/ModelInfer"


class Line(Protocol):
    """One connection. ``due`` and ``index`` belong to who sends over it; ``keep`` asks for the next answer's body."""

    due: float
    index: int
    keep: bool

    def send(self, request: bytes) -> None:
        """Send a request; the answer is told to the line's owner."""

    def close(self) -> None:
        """Close it, whatever is under way."""


class HttpLine(asyncio.Protocol):
    """HTTP/1.1 with keep-alive. A connection that is lost under a request is an error; the owner opens a new one."""

    def __init__(self, answered: Answered) -> None:
        self._answered = answered
        self.due, self.index, self.keep = 0.0, 0, False
        self.alive = False
        self._busy = self._left = False
        self._error = ""
        self._body: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport, self.alive = transport, True  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner, where an answer was awaited."""
        del exc
        self.alive = False
        self._end("connection lost")

    def send(self, request: bytes) -> None:
        """Send whole bytes of a request."""
        self._busy = True
        if not self.alive or self._transport is None:
            self._end("connection lost")
            return
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Parse."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()
            self._end("not HTTP")

    def on_header(self, name: bytes, value: bytes) -> None:
        """The stable code of an error is in a header."""
        if name.lower() == b"modelwright-error":
            self._error = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Kept only where it is asked for."""
        if self.keep:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Tell the owner."""
        status = self._parser.get_status_code()
        self.alive = self.alive and self._parser.should_keep_alive()
        if not self.alive:
            self.close()
        self._end("" if status == 200 else f"{status} {self._error}".rstrip())

    def close(self) -> None:
        """Close the connection."""
        self.alive = False
        if self._transport is not None:
            self._transport.abort()

    def _end(self, error: str) -> None:
        if not self._busy:
            return
        self._busy, self._error = False, ""
        body, self._body = b"".join(self._body) if self._body else b"", []
        self._answered(self, error, body)


class GrpcLine:
    """A channel of its own for gRPC (extra ``grpc``)."""

    def __init__(self, answered: Answered, channel: Any, token: str) -> None:
        self._answered, self._channel = answered, channel
        self.due, self.index, self.keep, self.alive = 0.0, 0, False, True
        self._call = channel.unary_unary(GRPC_METHOD)
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._task: asyncio.Task[None] | None = None

    def send(self, request: bytes) -> None:
        """Send one message."""
        self._task = asyncio.get_running_loop().create_task(self._ask(request))

    async def _ask(self, request: bytes) -> None:
        import grpc  # lazy: an extra

        try:
            body = await self._call(request, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            self._answered(self, error.code().name.lower(), b"")
        else:
            self._answered(self, "", body if self.keep else b"")

    def close(self) -> None:
        """Take back what is under way; the owner closes the channels together."""
        self.alive = False
        if self._task is not None:
            self._task.cancel()


class Lines:
    """Opens connections as a job says."""

    def __init__(self, job: Job, answered: Answered) -> None:
        self._job, self._answered = job, answered
        self._tls = ssl.create_default_context(cafile=job.ca or None) if job.tls else None
        self._channels: list[Any] = []

    async def open(self) -> HttpLine | GrpcLine:
        """One more connection.

        Raises:
            OSError: nobody answers there.
        """
        job = self._job
        if job.protocol == "grpc":
            return await self._channel()
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(lambda: HttpLine(self._answered), job.host, job.port, ssl=self._tls)
        return line

    async def _channel(self) -> GrpcLine:
        import grpc.aio  # lazy: an extra

        # or all channels would share one connection
        options, place = [("grpc.use_local_subchannel_pool", 1)], f"{self._job.host}:{self._job.port}"
        if self._job.tls:
            roots = await asyncio.to_thread(_read, self._job.ca) if self._job.ca else None
            channel = grpc.aio.secure_channel(place, grpc.ssl_channel_credentials(roots), options)
        else:
            channel = grpc.aio.insecure_channel(place, options)
        self._channels.append(channel)
        try:
            await asyncio.wait_for(channel.channel_ready(), self._job.patience)
        except TimeoutError as error:
            raise OSError("gRPC did not connect") from error
        return GrpcLine(self._answered, channel, self._job.token)

    async def close(self) -> None:
        """Close what is not closed by its line."""
        for channel in self._channels:
            with contextlib.suppress(Exception):
                await channel.close(None)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - one read
        return file.read()
