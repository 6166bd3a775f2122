import asyncio
import socket
import time

import pytest

READY = b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def retiring(serve, sum_package):
    """``retiring(seconds)``: a served plane, a connection that asked once, and the retirement that began after."""

    def begin(seconds):
        server = serve(sum_package())
        client = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        client.sendall(READY)
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
        over = asyncio.Event()
        retired = asyncio.run_coroutine_threadsafe(server.server.retire(seconds, over), server.loop)
        while not server.server.dispatcher.draining:
            time.sleep(0.001)
        return server, client, retired, over

    return begin


def test_one_who_retires_answers_open_connections_once_more_and_is_ready_to_the_end(retiring):
    _server, client, retired, _over = retiring(20.0)
    client.sendall(READY)
    answer = b""
    while part := client.recv(4096):
        answer += part
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer
    retired.result(20)


def test_one_who_retires_accepts_nobody_and_waits_for_a_silent_connection_no_longer_than_told(retiring):
    server, client, retired, _over = retiring(0.2)
    retired.result(20)
    assert not server.server.ready()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))
    client.close()


def test_a_stop_ends_a_retirement_at_once(retiring):
    server, client, retired, over = retiring(60.0)
    assert not retired.done()
    server.loop.call_soon_threadsafe(over.set)
    retired.result(20)
    client.close()
