"""`modelwright.client` beside `tritonclient`: the same requests to the same server, threads and asyncio.

    python benchmarks/client.py

Time a call takes, and processor time that the client itself spends on it: the server's part is in the first and is the
same for both. The floor is a bare socket that sends the same bytes and looks at nothing in the answer. Answers are in
binary and not compressed. Needs `tritonclient[http]`; on fewer than three cores client and server disturb each other.
"""

import argparse
import asyncio
import itertools
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import uvloop

from kit import models
from kit.figures import machine, ratio, rounds_of, row
from kit.gateways import serving
from modelwright.client import AsyncClient, Client

AT_ONCE = 32


class Measure:
    """Microseconds a call, and microseconds of processor time a call, round by round."""

    def __init__(self, run: Callable[[int], object], calls: int) -> None:
        self._run, self._calls = run, calls
        self.processor: list[float] = []
        run(min(calls, 50))  # warm up

    def __call__(self) -> float:
        """One round."""
        began, spent = time.perf_counter(), time.process_time()
        self._run(self._calls)
        self.processor.append((time.process_time() - spent) / self._calls * 1e6)
        return (time.perf_counter() - began) / self._calls * 1e6


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


def async_calls(runner: asyncio.Runner, call: Callable[[], Awaitable[object]]) -> Callable[[int], None]:
    async def work(turns: "itertools.repeat[None]") -> None:
        for _ in turns:
            await call()

    async def many(calls: int) -> None:
        turns = itertools.repeat(None, calls)
        await asyncio.gather(*(work(turns) for _ in range(AT_ONCE)))

    return lambda calls: runner.run(many(calls))


def compare(port: int, rounds: int, calls: int) -> None:
    import tritonclient.http as triton
    import tritonclient.http.aio as triton_aio

    plain = {"Accept-Encoding": "identity"}  # asked for by aiohttp in its name, and then not read by it

    def given(rows: np.ndarray) -> "triton.InferInput":
        tensor = triton.InferInput("X", list(rows.shape), "FP32")
        tensor.set_data_from_numpy(rows)
        return tensor

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

        for count in (1, 1000):
            rows = np.random.default_rng(0).random((count, models.WIDTH), dtype=np.float32)
            expected = ours.predict("linear", rows).outputs["scores"]
            assert np.array_equal(theirs.infer("linear", [given(rows)]).as_numpy("scores"), expected)
            assert np.array_equal(runner.run(theirs_async(rows)), expected)
            some = calls if count == 1 else calls // 3
            measures = {
                "floor": Measure(floor(port, rows), some),
                "threads, modelwright": Measure(sync_calls(lambda rows=rows: ours.predict("linear", rows)), some),
                "threads, tritonclient": Measure(
                    sync_calls(lambda rows=rows: theirs.infer("linear", [given(rows)]).as_numpy("scores")), some
                ),
                "asyncio, modelwright": Measure(
                    async_calls(runner, lambda rows=rows: ours_aio.predict("linear", rows)), some
                ),
                "asyncio, tritonclient": Measure(async_calls(runner, lambda rows=rows: theirs_async(rows)), some),
            }
            report(count, rounds_of(rounds, measures), measures)
        runner.run(ours_aio.close())
        runner.run(theirs_aio.close())


def report(count: int, figures: dict[str, list[float]], measures: dict[str, Measure]) -> None:
    print(f"\n{count} x {models.WIDTH} FP32; threads: one call after the other; asyncio: {AT_ONCE} at once")
    for label, took in figures.items():
        row(label, took, "us/call")
        row("    processor time of the client", measures[label].processor, "us/call")
    for kind in ("threads", "asyncio"):
        ours, theirs = f"{kind}, modelwright", f"{kind}, tritonclient"
        cpu = ratio(measures[theirs].processor, measures[ours].processor)
        line = f"  {kind}: {ratio(figures[theirs], figures[ours])} as fast, {cpu} less processor time"
        if kind == "threads":
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
        compare(gateway.port, given.rounds, given.calls)


if __name__ == "__main__":
    main()
