"""Processes of a model that runs as code, killed under load, hung, and in a crash loop beside another model.

    python benchmarks/abuse_native.py

Exit 1: a target is missed.
"""

import argparse
import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path

from kit import burden
from kit.figures import machine
from kit.gateways import Gateway, serving
from kit.load import Lines, asker, infer, new_secret, open_loop
from kit.targets import Targets, play

PATIENCE = 30.0
KILL_SECONDS = 2.1  # at most five restarts in ten seconds are made without giving the version up


async def kill(gateway: Gateway, times: int, targets: Targets) -> None:
    """Kill the process again and again while requests come."""
    slowest = 0.0
    one = asker("coded", patience=PATIENCE)
    load = asyncio.create_task(open_loop(Lines(gateway.port), rate=75, seconds=KILL_SECONDS * (times + 1), one=one))
    for _ in range(times):
        await asyncio.sleep(KILL_SECONDS)
        (process,) = gateway.children
        os.kill(process, signal.SIGKILL)
        slowest = max(slowest, await seconds_of(answer(Lines(gateway.port), new_secret(), 200)))
    figures = await load
    print(f"  {times} kills: {figures}")
    targets.at_least("kills counted", gateway.metric("modelwright_runner_kills"), times, "")
    targets.at_least("requests", figures.sent, 150 * times, "")
    targets.at_most("failed or wrong", figures.sent - figures.count["good"], 0, "")
    targets.at_most("longest wait of a request after a kill", slowest, 2.0, "s")


async def hang(gateway: Gateway, times: int, targets: Targets) -> None:
    """Requests that never end, each followed by one that does."""
    lines, late, after = Lines(gateway.port), 0.0, 0.0
    for number in range(times):
        secret = burden.ENDLESS if number % 2 else burden.ENDLESS - 10 * (number + 1)
        process = gateway.children[0]
        if secret != burden.ENDLESS:
            os.kill(process, signal.SIGSTOP)
        late = max(late, await seconds_of(answer(lines, secret, 504, "Modelwright-Timeout-Ms: 500")) - 0.5)
        after = max(after, await seconds_of(answer(lines, new_secret(), 200)))
        await asyncio.sleep(2.5)
    targets.at_most("hang: answered after its deadline", late, 1.0, "s")
    targets.at_most("hang: the next request answered", after, 1.0, "s")


async def loop(gateway: Gateway, seconds: float, targets: Targets) -> None:
    """A version whose processes end again and again, beside a model that is sound."""
    seen = set(gateway.children)
    beside = asyncio.create_task(open_loop(Lines(gateway.port), rate=300, seconds=seconds, one=asker("secrets")))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for process in gateway.children:
            seen.add(process)
            os.kill(process, signal.SIGKILL)
        await asyncio.sleep(0.02)
    figures = await beside
    print(f"  beside a crash loop: {figures}")
    targets.at_most("restarts in 10 s", (len(seen) - 1) * 10 / seconds, 5, "")
    targets.at_most("failed or wrong of the other model", figures.sent - figures.count["good"], 0, "")


async def answer(lines: Lines, secret: int, status: int, *headers: str) -> None:
    reply = await lines.ask(infer("coded", secret, *headers), PATIENCE)
    assert reply.status == status, (reply.status, reply.body[:200])


async def seconds_of(work: Awaitable[None]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    given = parser.parse_args()
    machine()
    targets = Targets()
    for story, much in ((kill, given.kills), (hang, 4), (loop, 10)):
        packages = burden.coded("coded"), burden.secrets()
        with tempfile.TemporaryDirectory() as folder, serving(Path(folder), *packages) as gateway:
            play(story(gateway, much, targets))
    return targets.verdict()


if __name__ == "__main__":
    raise SystemExit(main())
