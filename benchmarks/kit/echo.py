"""The limit: httptools on uvloop that reads a request and answers a fixed body. Prints its port.

python benchmarks/kit/echo.py
"""

import asyncio

import httptools
import uvloop

ANSWER = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{"outputs": []}'


class Echo(asyncio.Protocol):
    """Answers every message; looks at nothing in it."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """One parser per connection."""
        self.transport, self.parser = transport, httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        """Parse."""
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Answer."""
        self.transport.write(ANSWER)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    print(f"ready http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
