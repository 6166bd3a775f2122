"""A small HTTP server whose moods are known."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest


class Moody:
    """Answers every request with ``reply(number)``: (status, seconds to stall everybody first). Keep-alive."""

    def __init__(self, reply: Callable[[int], tuple[int, float]]) -> None:
        self._reply, self.asked, self.port = reply, 0, 0
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._up.wait(10)

    def _run(self) -> None:
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        self._up.set()
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import time

        while await reader.readline():
            size = 0
            while (line := await reader.readline()).strip():
                if line.lower().startswith(b"content-length:"):
                    size = int(line.split(b":")[1])
            if size:
                await reader.readexactly(size)
            self.asked += 1
            status, stall = self._reply(self.asked)
            if stall:
                time.sleep(stall)  # noqa: ASYNC251 - on the loop's own thread: nobody is served meanwhile
            if status < 0:
                writer.close()
                return
            code = b"modelwright-error: serve.queue-full\r\n" if status == 503 else b""
            writer.write(b"HTTP/1.1 %d X\r\n%bContent-Length: 2\r\n\r\n{}" % (status, code))

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


@pytest.fixture
def moody() -> Iterator[Callable[..., Moody]]:
    made: list[Moody] = []

    def make(reply: Callable[[int], tuple[int, float]] = lambda _number: (200, 0.0)) -> Moody:
        made.append(Moody(reply))
        return made[-1]

    yield make
    for server in made:
        server.stop()
