"""`modelwright.client` beside `tritonclient`: the same requests to the same server, threads and asyncio.

    python benchmarks/client.py

Time a call takes, and processor time that the client itself spends on it: the server's part is in the first and is the
same for both. Client and server have a core each where there are two, and each row says how busy the server's was: near
1 it is the server that is measured. The floor is a bare socket that sends the same bytes and looks at nothing in the
answer. Answers are in binary and not compressed. Needs `tritonclient[http]`.
"""

import argparse
import asyncio
import itertools
import os
import socket
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

import numpy as np
import uvloop

from kit import models
from kit.figures import machine, ratio, rounds_of, row, two_cores
from kit.gateways import Gateway, serving
from modelwright.client import AsyncClient, Client

AT_ONCE, THREADS = 32, 8


class Measure:
    """Microseconds a call, and microseconds of processor time a call and the share of it that the server was busy."""

    def __init__(self, run: Callable[[int], object], calls: int, server: Gateway) -> None:
        self._run, self._calls, self._server = run, calls, server
        self.processor: list[float] = []
        self.busy: list[float] = []
        run(min(calls, 50))  # warm up

    def __call__(self) -> float:
        """One round."""
        busy, began, spent = self._server.cpu, time.perf_counter(), time.process_time()
        self._run(self._calls)
        took = time.perf_counter() - began
        self.processor.append((time.process_time() - spent) / self._calls * 1e6)
        self.busy.append((self._server.cpu - busy) / took)
        return took / self._calls * 1e6


def floor(port: int, rows: np.ndarray) -> Callable[[int], None]:
    """Bytes as a client sends them, over a bare socket."""
    text = b'{"id":"%b","parameters":{"binary_data_output":true},"inputs":[%b]}' % (
        b"0" * 32,
        b'{"name":"X","datatype":"FP32","shape":[%d,%d],"parameters":{"binary_data_size":%d}}'
        % (*rows.shape, rows.nbytes),
    )
    head = b"POST /v2/models/linear/infer HTTP/1.1\r\nhost: x\r\ninference-header-content-length: %d\r\n" % len(text)
    data = b"%bcontent-length: %d\r\n\r\n%b%b" % (head, len(text) + rows.nbytes, text, rows.tobytes())
    least = len(rows) * 8  # two scores in FP32: an answer is longer than that by its head, and comes in few parts
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(calls: int) -> None:
        for _ in range(calls):
            connection.sendall(data)
            got = 0
            while got <= least:
                got += len(connection.recv(1 << 18))

    return run


def sync_calls(call: Callable[[], object]) -> Callable[[int], None]:
    def run(calls: int) -> None:
        for _ in range(calls):
            call()

    return run


def thread_calls(make: Callable[[], Callable[[], object]]) -> Callable[[int], None]:
    """Threads at once, each with a client of its own: tritonclient's must not be shared."""
    held = threading.local()

    def work(calls: int) -> None:
        if not hasattr(held, "call"):
            held.call = make()
        for _ in range(calls):
            held.call()

    pool = ThreadPoolExecutor(THREADS)

    def run(calls: int) -> None:
        wait([pool.submit(work, calls // THREADS) for _ in range(THREADS)])

    return run


def async_calls(runner: asyncio.Runner, call: Callable[[], Awaitable[object]]) -> Callable[[int], None]:
    async def work(turns: "itertools.repeat[None]") -> None:
        for _ in turns:
            await call()

    async def many(calls: int) -> None:
        turns = itertools.repeat(None, calls)
        await asyncio.gather(*(work(turns) for _ in range(AT_ONCE)))

    return lambda calls: runner.run(many(calls))


def compare(server: Gateway, rounds: int, calls: int) -> None:
    import tritonclient.http as triton
    import tritonclient.http.aio as triton_aio

    plain = {"Accept-Encoding": "identity"}  # asked for by aiohttp in its name, and then not read by it

    def given(rows: np.ndarray) -> "triton.InferInput":
        tensor = triton.InferInput("X", list(rows.shape), "FP32")
        tensor.set_data_from_numpy(rows)
        return tensor

    port, measure = server.port, partial(Measure, server=server)
    address = f"127.0.0.1:{port}"
    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        Client(f"http://{address}") as ours,
        triton.InferenceServerClient(address) as theirs,
    ):
        ours_aio = AsyncClient(f"http://{address}", pool=AT_ONCE)

        async def connected() -> "triton_aio.InferenceServerClient":
            return triton_aio.InferenceServerClient(address, conn_limit=AT_ONCE)

        theirs_aio = runner.run(connected())

        async def theirs_async(rows: np.ndarray) -> np.ndarray:
            return (await theirs_aio.infer("linear", [given(rows)], headers=plain)).as_numpy("scores")

        def theirs_in_a_thread(rows: np.ndarray) -> Callable[[], np.ndarray]:
            client = triton.InferenceServerClient(address)
            return lambda: client.infer("linear", [given(rows)]).as_numpy("scores")

        for count in (1, 1000):
            rows = np.random.default_rng(0).random((count, models.WIDTH), dtype=np.float32)
            expected = ours.predict("linear", rows).outputs["scores"]
            assert np.array_equal(theirs.infer("linear", [given(rows)]).as_numpy("scores"), expected)
            assert np.array_equal(runner.run(theirs_async(rows)), expected)
            some = calls if count == 1 else calls // 3
            measures = {
                "floor": measure(floor(port, rows), some),
                "one thread, modelwright": measure(sync_calls(lambda rows=rows: ours.predict("linear", rows)), some),
                "one thread, tritonclient": measure(
                    sync_calls(lambda rows=rows: theirs.infer("linear", [given(rows)]).as_numpy("scores")), some
                ),
                "threads, modelwright": measure(
                    thread_calls(lambda rows=rows: partial(Client(f"http://{address}").predict, "linear", rows)), some
                ),
                "threads, tritonclient": measure(thread_calls(lambda rows=rows: theirs_in_a_thread(rows)), some),
                "asyncio, modelwright": measure(
                    async_calls(runner, lambda rows=rows: ours_aio.predict("linear", rows)), some
                ),
                "asyncio, tritonclient": measure(async_calls(runner, lambda rows=rows: theirs_async(rows)), some),
            }
            report(count, rounds_of(rounds, measures), measures)
        runner.run(ours_aio.close())
        runner.run(theirs_aio.close())


def report(count: int, figures: dict[str, list[float]], measures: dict[str, Measure]) -> None:
    print(f"\n{count} x {models.WIDTH} FP32; threads: {THREADS} at once; asyncio: {AT_ONCE} at once")
    for label, took in figures.items():
        row(label, took, "us/call")
        row("    processor time of the client", measures[label].processor, "us/call")
        row("    the server's core was busy", measures[label].busy, "")
    for kind in ("one thread", "threads", "asyncio"):
        ours, theirs = f"{kind}, modelwright", f"{kind}, tritonclient"
        cpu = ratio(measures[theirs].processor, measures[ours].processor)
        line = f"  {kind}: {ratio(figures[theirs], figures[ours])} as fast, {cpu} less processor time"
        if kind == "one thread":
            over = [
                [took - least for took, least in zip(figures[label], figures["floor"], strict=True)]
                for label in (theirs, ours)
            ]
            line += f", {ratio(*over)} less time over the floor"
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=600)
    given = parser.parse_args()
    machine()
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), models.linear()) as gateway:
        theirs, ours = two_cores()
        for task in Path(f"/proc/{gateway.popen.pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {theirs})
        os.sched_setaffinity(0, {ours})
        compare(gateway, given.rounds, given.calls)


if __name__ == "__main__":
    main()
