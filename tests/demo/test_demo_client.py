from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from modelwright.core.errors import UnavailableError
from modelwright.demo.client import Client

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of the next request."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    return head, await reader.readexactly(length)


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def with_client(
    serve: Serve, use: Callable[[Client], Awaitable[list[tuple[int, bytes]]]], connections: int
) -> list[tuple[int, bytes]]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with Client("127.0.0.1", port, "mw_secret", connections) as client:
            return await use(client)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head, body = await read_request(reader)
            assert b"Authorization: Bearer mw_secret\r\n" in head
            writer.write(answer(body))
    except asyncio.IncompleteReadError:
        writer.close()


def test_answers_come_in_the_order_of_the_requests_over_all_connections() -> None:
    bodies = [b"%d" % number for number in range(23)]

    async def use(client: Client) -> list[tuple[int, bytes]]:
        assert await client.post_all("/x", []) == []
        return await client.post_all("/x", bodies)

    assert asyncio.run(with_client(echo, use, 4)) == [(200, body) for body in bodies]


def test_a_connection_that_the_server_closed_while_idle_is_opened_again() -> None:
    opened = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        _, body = await read_request(reader)
        writer.write(answer(body))
        await writer.drain()
        writer.close()

    async def use(client: Client) -> list[tuple[int, bytes]]:
        first = await client.post_all("/x", [b"first"])
        (connection,) = client._connections
        assert connection.transport is not None
        while not connection.transport.is_closing():  # noqa: ASYNC110 - the client has no event for it
            await asyncio.sleep(0)
        return first + await client.post_all("/x", [b"second"])

    assert asyncio.run(with_client(once, use, 1)) == [(200, b"first"), (200, b"second")]
    assert opened == 2


def test_whoever_waits_on_a_connection_that_is_lost_is_told() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.close()

    async def use(client: Client) -> list[tuple[int, bytes]]:
        return await client.post_all("/x", [b"lost"])

    with pytest.raises(UnavailableError, match="closed the connection"):
        asyncio.run(with_client(hang_up, use, 1))
