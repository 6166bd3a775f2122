"""Gateways and supervisors killed or stopped under load, a champion that changes under load, and too few open files.

    python benchmarks/abuse_deaths.py

Exit 1: a target is missed.
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import resource
import signal
import socket
import tempfile
import time
from pathlib import Path

from kit.burden import coded, secrets
from kit.figures import machine
from kit.gateways import serving
from kit.load import Figures, Lines, asker, open_loop, percentile, versioned
from kit.servers import Server, alive, promote, register
from kit.targets import Targets, play

PATIENCE, BIAS, FILES = 30.0, 1_000_000, 64


async def killed(server: Server, kills: int, targets: Targets) -> None:
    """A3: SIGKILL of a gateway, again and again; a new connection is made at once after each."""
    one = asker("secrets", f"Authorization: Bearer {server.token}", patience=PATIENCE)
    lines, workers, waits = Lines(server.port), len(server.gateways), []
    load = asyncio.create_task(open_loop(lines, rate=200, seconds=12.0 * kills, one=one))
    for _ in range(kills):
        await asyncio.sleep(11)  # one that lived for ten seconds is started again without a longer wait
        while len(server.gateways) < workers:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
        os.kill(server.gateways[0], signal.SIGKILL)
        began = time.perf_counter()
        answers = [one(Lines(server.port)) for _ in range(4 * workers)]  # some of them for the one that is gone
        assert set(await asyncio.gather(*answers)) <= {"good", "failed"}
        waits.append(time.perf_counter() - began)
    figures = await load
    print(f"  {kills} kills, {workers} gateway{'s' * (workers > 1)}: {figures}")
    targets.at_most("connections refused", lines.turned_down, 0, "")
    targets.at_most("requests lost for each kill", figures.count["failed"] / kills, 8, "")
    targets.at_most("wrong or other outcomes", figures.sent - figures.count["good"] - figures.count["failed"], 0, "")
    targets.at_most("new connections answered after, median", 1e3 * percentile(waits, 50), 500, "ms")
    targets.at_most("new connections answered after, longest", 1e3 * max(waits), 500, "ms")


async def answers(server: Server, token: str) -> set[str]:
    """What becomes of a request to each of the three models."""
    lines = Lines(server.port)
    asks = [
        asker(model, f"Authorization: Bearer {token}", patience=PATIENCE) for model in ("secrets", "others", "coded")
    ]
    return {await ask(lines) for ask in asks}


def supervisor(folder: Path, times: int, targets: Targets) -> None:
    """A5: SIGKILL of the supervisor, and a start on the same data."""
    register(folder / "home", secrets(), secrets("others"), coded("coded"))
    server = Server(folder / "home")
    token, left, longest, slowest = server.token, 0, 0.0, 0.0
    for _ in range(times):
        started = server.everything
        server.popen.kill()
        server.popen.wait()
        began = time.perf_counter()
        while alive(started) and time.perf_counter() < began + PATIENCE:
            time.sleep(0.01)
        longest = max(longest, time.perf_counter() - began)
        left += len(alive(started))
        began = time.perf_counter()
        server = Server(folder / "home")
        with asyncio.Runner() as runner:
            assert runner.run(answers(server, token)) == {"good"}
        slowest = max(slowest, time.perf_counter() - began)
    targets.at_most("supervisor killed: processes left", left, 0, "")
    targets.at_most("supervisor killed: all gone after, longest", longest, 3, "s")
    targets.at_most("supervisor killed: ready again, longest", slowest, 3, "s")
    targets.at_most("exit status when told to stop", server.stop(), 0, "")


async def stopped(folder: Path, targets: Targets) -> None:
    """A9: SIGTERM under load, with a model that runs as code and takes half a second."""
    with serving(folder, coded("coded", seconds=0.5), secrets(), native_instances=2, queue_seconds=5) as gateway:
        outcomes: list[tuple[float, str]] = []
        turns = itertools.cycle(("coded", "secrets"))

        async def one(lines: Lines) -> str:
            begun, model = time.perf_counter(), next(turns)
            kind = await asker(model, patience=PATIENCE)(lines)
            outcomes.append((begun, kind))
            return kind

        load = asyncio.create_task(open_loop(Lines(gateway.port), rate=40, seconds=6, one=one))
        await asyncio.sleep(4)
        told = time.perf_counter()
        gateway.popen.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(gateway.popen.wait, 60)
        took = time.perf_counter() - told
        await load
    before = [kind for begun, kind in outcomes if begun < told]
    print(f"  SIGTERM: {len(before)} requests before it")
    targets.at_most("SIGTERM: failed of those asked before", len(before) - before.count("good"), 0, "")
    targets.at_most("SIGTERM: seconds to the end", took, 0.5 + 0.5 + 1, "s")  # a run under way, one that waits
    targets.at_most("SIGTERM: exit status", status, 0, "")


async def moved(server: Server, versions: list[object], home: Path, targets: Targets) -> None:
    """A champion that changes under load: how long until only the new one answers."""
    seen: dict[int, int] = {}
    one = versioned("secrets", seen, bias=BIAS, token=server.token)
    load = asyncio.create_task(open_loop(Lines(server.port), rate=500, seconds=1.5 * len(versions), one=one))
    swaps = []
    for version in versions:
        await asyncio.sleep(0.5)
        began = time.perf_counter()
        await asyncio.to_thread(promote, home, version)
        swaps.append(time.perf_counter() - began)
        answered = {number: count for number, count in seen.items() if number != int(version.number)}
        await asyncio.sleep(0.3)
        late = sum(count - answered.get(number, 0) for number, count in seen.items() if number != int(version.number))
        targets.at_most(f"version {version.number}: answers of others after it is in force", late, 2, "")
    figures: Figures = await load
    print(f"  {len(versions)} moves: {figures}; versions seen: {len(seen)}")
    targets.at_most("failed or wrong while it moved", figures.sent - figures.count["good"], 0, "")
    targets.at_most("until the new version answers everything, longest", 1e3 * max(swaps), 1000, "ms")


async def starved(folder: Path, targets: Targets) -> None:
    """A12: more connections than a gateway has descriptors for."""
    with serving(folder, coded("coded")) as gateway, contextlib.ExitStack() as opened:
        one = asker("coded", patience=PATIENCE)
        assert await one(Lines(gateway.port)) == "good"
        resource.prlimit(gateway.popen.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
        for _ in range(400):
            connection = opened.enter_context(socket.socket())
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                connection.connect(("127.0.0.1", gateway.port))
        await asyncio.sleep(1)
        cpu, began = gateway.cpu, time.perf_counter()
        await asyncio.sleep(4)
        share = (gateway.cpu - cpu) / (time.perf_counter() - began)
        opened.close()
        began = time.perf_counter()
        while await one(Lines(gateway.port)) != "good":  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
        targets.at_most("no descriptors: processor used", 100 * share, 5, "%")
        targets.at_most("no descriptors: answers after there are", 1e3 * (time.perf_counter() - began), 1000, "ms")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5)
    given = parser.parse_args()
    machine()
    targets = Targets()
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as place:
            home = Path(place) / "home"
            register(home, secrets())
            server = Server(home, "--workers", str(workers))
            try:
                play(killed(server, given.kills, targets))
            finally:
                server.stop()
    with tempfile.TemporaryDirectory() as place:
        supervisor(Path(place), given.kills, targets)
    with tempfile.TemporaryDirectory() as place:
        home = Path(place) / "home"
        versions = register(home, *(secrets(bias=BIAS * number) for number in range(1, 9)))
        server = Server(home, "--workers", "2")
        try:
            play(moved(server, versions[::-1], home, targets))
        finally:
            server.stop()
    for story in (stopped, starved):
        with tempfile.TemporaryDirectory() as place:
            play(story(Path(place), targets))
    return targets.verdict()


if __name__ == "__main__":
    raise SystemExit(main())
