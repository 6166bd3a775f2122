"""Connections that are many, slow, broken or strange (rows E3 and E6 to E9 of the abuse plan)."""

import asyncio
import contextlib
import itertools
import json
import os
import socket
import time

import pytest

from kit.burden import coded, secrets, slow
from kit.gateways import Gateway, Registry, serving, token_of
from kit.load import Lines, asker, infer, kind_of, new_secret, open_loop, post
from modelwright.adapters.stores.package_files import write_zip

HEAD = b"POST /v2/models/secrets/infer HTTP/1.1\r\nHost: x\r\n"
HALF_HEAD = HEAD + b"X-Slow: 1"
HALF_BODY = HEAD + b"Content-Length: 1000\r\n\r\n{"
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"


class Crowd:
    """Many raw connections that send a beginning and then nothing; some have been closed by the gateway."""

    def __init__(self, port, count, first):
        self.sockets = []
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", port), 20)
            client.sendall(first)
            client.setblocking(False)
            self.sockets.append(client)

    def closed(self):
        """How many the gateway has ended."""
        ended = 0
        for client in self.sockets:
            with contextlib.suppress(BlockingIOError):
                try:
                    while client.recv(65536):
                        pass
                except ConnectionError:
                    pass
                ended += 1
        return ended

    def close(self):
        for client in self.sockets:
            client.close()


def test_e3_two_thousand_connections_at_once_while_a_model_loads_are_each_told_something(play, tmp_path):
    registry = Registry(tmp_path, ("tenant",))
    registry.publish(secrets())

    async def story(gateway):
        lines, one = Lines(gateway.port), asker("secrets", f"Authorization: Bearer {token_of('tenant')}", patience=10)
        began = time.perf_counter()
        registry.publish(secrets(), slow("second", fixed=0.02))
        storm = asyncio.gather(*(one(lines) for _ in range(2000)))
        assert await asyncio.to_thread(registry.in_force)
        loaded = time.perf_counter() - began
        return loaded, await storm, time.perf_counter() - began

    with registry.serving() as gateway:
        loaded, kinds, took = play(story(gateway))
        assert gateway.settled(token_of("tenant"))
        assert gateway.log.read_text().count("table in force") == 2
    assert set(kinds) <= {"good", "refused"}
    assert kinds.count("good") >= 1000
    assert took <= loaded + 3


@pytest.mark.parametrize("beginning", [HALF_HEAD, HALF_BODY], ids=["head", "body"])
def test_e6_slow_connections_cost_the_others_nothing_and_are_closed(play, room, calm, tmp_path, beginning):
    count = 2000

    async def story(gateway):
        def good():
            return open_loop(Lines(gateway.port), rate=100, seconds=1, one=anew)

        alone = await good()
        crowd = await asyncio.to_thread(Crowd, gateway.port, count, beginning)
        await asyncio.sleep(0.25)  # who is late by less than 0.1 s makes no room for others yet
        beside = await good()
        deadline = time.monotonic() + 15
        while (closed := crowd.closed()) < 0.99 * count and time.monotonic() < deadline:  # noqa: ASYNC110 - raw sockets
            await asyncio.sleep(0.1)
        crowd.close()
        return alone, beside, closed

    async def anew(lines):
        """Each request over a connection of its own."""
        secret = new_secret()
        line = await lines.take()
        try:
            reply = await asyncio.wait_for(line.ask(infer("secrets", secret)), 1.0)
        finally:
            line.drop()
        return kind_of(reply, [7 * secret + 13])

    with serving(tmp_path, secrets(), header_seconds=1) as gateway:
        alone, beside, closed = play(story(gateway))
        assert gateway.settled()
    assert set(beside.count) <= {"good", "refused"}
    assert closed >= 0.99 * count
    calm(alone, beside)
    assert beside.count["good"] >= 0.95 * beside.sent
    assert beside.at(50) <= max(2 * alone.at(50), 30) * room()  # ms; the crowd is in this process too


@pytest.mark.alone  # "good" is an answer in time
def test_e7_a_client_that_never_reads_holds_no_worker_and_is_let_go(play, tmp_path):
    wide = list(range(20_000))

    async def story(gateway):
        before = gateway.rss
        stuck = [socket.create_connection(("127.0.0.1", gateway.port), 20) for _ in range(5)]
        for client in stuck:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.sendall(infer("secrets", wide) * 100)
        await asyncio.sleep(0.5)  # what they asked is answered
        figures = await open_loop(Lines(gateway.port), rate=100, seconds=1, one=asker("secrets"))
        growth = gateway.rss - before
        settled = await asyncio.to_thread(gateway.settled)
        for client in stuck:
            client.close()
        return figures, growth, settled

    with serving(tmp_path, secrets(), request_seconds=1) as gateway:
        figures, growth, settled = play(story(gateway))
    assert set(figures.count) == {"good"}
    assert settled
    assert growth <= 192  # what they asked is on its way to the log: 64 MiB may be


def test_e8_clients_that_leave_in_the_middle_leave_nothing_behind(play, tmp_path):
    async def leaver(lines):
        line = await lines.take()
        request = infer("alone", new_secret())
        line.transport.write(request[: len(request) // 2] if new_secret() % 2 else request)
        await asyncio.sleep(0.005)
        line.drop()
        return "left"

    numbers = itertools.count()

    async def half_leave(lines):
        return await (leaver(lines) if next(numbers) % 2 else asker("alone")(lines))

    async def story(gateway):
        await open_loop(Lines(gateway.port), rate=100, seconds=0.5, one=half_leave)
        assert await asyncio.to_thread(gateway.settled)
        before = gateway.descriptors, gateway.threads
        figures = await open_loop(Lines(gateway.port), rate=1500, seconds=1, one=half_leave)
        assert await asyncio.to_thread(gateway.settled)
        return figures, before, (gateway.descriptors, gateway.threads)

    with serving(tmp_path, slow("alone", fixed=0.003)) as gateway:
        figures, before, after = play(story(gateway))
    assert figures.count["left"] == figures.sent // 2
    assert set(figures.count) <= {"left", "good", "refused", "gave-up"}
    assert after[0] <= before[0] + 1
    assert after[1] <= before[1] + len(os.sched_getaffinity(0))  # the pool for long runs is filled when it is needed


ODD = {
    "idle": b"",
    "a head of 10,000 bytes": LIVE[:-2] + b"A: " + b"b" * 10_000 + b"\r\n\r\n",
    "a head of 100,000 bytes": LIVE[:-2] + b"A: " + b"b" * 100_000 + b"\r\n\r\n",
    "1,000 headers": LIVE[:-2] + b"".join(b"H%d: v\r\n" % number for number in range(1000)) + b"\r\n",
    "1,000 pipelined": LIVE * 1000,
    "a million chunks of a byte": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1_000_000,
}


@pytest.mark.parametrize("kind", ODD)
def test_e9_a_hundred_strange_requests_leave_less_than_a_mebibyte(tmp_path, kind):
    count = 15 if "million" in kind else 100

    def send(port):
        for _ in range(count):
            with socket.create_connection(("127.0.0.1", port), 20) as client, contextlib.suppress(OSError):
                client.sendall(ODD[kind])
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass

    with serving(tmp_path, secrets()) as gateway:
        for _ in range(2):
            send(gateway.port)
            assert gateway.settled()
        before, cpu = gateway.rss, gateway.cpu
        send(gateway.port)
        assert gateway.settled()
        growth = gateway.rss - before
        assert growth < count / 100
        assert gateway.cpu - cpu < count * 0.2


@pytest.fixture(params=["ONNX", "native"])
def cold(request, tmp_path, heavy_package):
    """A folder of two models, whether they run as code, and a budget that one of them fits into."""
    folder = tmp_path / "models"
    folder.mkdir()
    for name in "ab":
        package = coded(name) if request.param == "native" else heavy_package(name, 2.0, 100_000)
        write_zip(package, folder / f"{name}.mw")
    return folder, request.param == "native", 60_000_000 if request.param == "native" else 15_000_000


def test_e3_a_herd_of_connections_for_a_model_that_is_not_in_memory_loads_it_once(play, cold, tmp_path):
    folder, native, budget = cold

    async def loads(gateway):
        return await asyncio.to_thread(gateway.metric, "modelwright_model_loads", label='outcome="loaded"')

    async def one(lines, model):
        tensor = {"name": "X", "shape": [1, 1], "datatype": "FP32", "data": [3.0]}
        secret = new_secret()
        request = (
            infer(model, secret)
            if native
            else post(f"/v2/models/{model}/infer", json.dumps({"inputs": [tensor]}).encode())
        )
        return kind_of(await lines.ask(request, 60), [7 * secret + 13] if native else [6.0])

    async def story(gateway):
        lines = Lines(gateway.port)
        reply = await lines.ask(b"GET /v2/models/stats HTTP/1.1\r\nHost: x\r\n\r\n")
        inside = {told["name"] for told in json.loads(reply.body)["model_stats"] if "memory_usage" in told}
        (outside,) = {"a", "b"} - inside
        before = await loads(gateway)
        kinds = await asyncio.gather(*(one(lines, outside) for _ in range(1200)))
        lines.close()
        assert await asyncio.to_thread(gateway.settled)
        return kinds, await loads(gateway) - before, lines.opened

    patient = {"memory_budget": budget, "max_connections": 2048, "queue_seconds": 30}
    gateway = Gateway(tmp_path / "home", ["--models", folder, "--no-auth"], patient)
    try:
        gateway.wait_ready()
        kinds, loaded, opened = play(story(gateway))
    finally:
        assert gateway.stop() == 0
    assert opened == 1200
    assert loaded == 1
    assert set(kinds) <= {"good", "refused"}
    assert kinds.count("good") >= 1000
