"""Models that take all they can of one thing, each beside a sound one in the same gateway.

    python benchmarks/abuse_neighbours.py

Each is asked for it again and again, with a deadline of a second, while requests go to the sound model.
Exit 1: a target is missed.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from kit import burden, evil
from kit.figures import machine
from kit.gateways import Gateway, serving
from kit.load import Lines, asker, infer, open_loop
from kit.targets import Targets, play

RATE = 200


async def beside(gateway: Gateway, kind: str, seconds: float, targets: Targets) -> None:
    """One evil model."""
    quiet = await open_loop(Lines(gateway.port), rate=RATE, seconds=seconds, one=asker("secrets"))
    load = asyncio.create_task(open_loop(Lines(gateway.port), rate=RATE, seconds=seconds, one=asker("secrets")))
    lines, late, most, times = Lines(gateway.port), 0.0, 0.0, 0
    while not load.done():
        began = time.perf_counter()
        reply = await lines.ask(infer(kind, evil.NOW, "Modelwright-Timeout-Ms: 1000"), 30)
        assert reply.status in (400, 422, 503, 504), reply.body
        late, times = max(late, time.perf_counter() - began), times + 1
        most = max(most, gateway.rss)
        await asyncio.sleep(0.5)
    figures = await load
    print(f"  {kind}, {times} times: alone {quiet}; beside it {figures}")
    targets.at_most(f"{kind}: failed or wrong beside it", figures.sent - figures.count["good"], 0, "")
    targets.at_most(f"{kind}: p99 beside it, as often alone", figures.at(99) / quiet.at(99), 2, "x")
    targets.at_most(f"{kind}: stopped within", late, 2, "s")
    targets.at_most(f"{kind}: memory of the gateway", most, 400, "MiB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    given = parser.parse_args()
    machine()
    targets = Targets()
    for kind in evil.ACTS:
        packages = evil.evil(kind), burden.secrets()
        with (
            tempfile.TemporaryDirectory() as folder,
            serving(Path(folder), *packages, native_memory_bytes=2**30) as gateway,
        ):
            play(beside(gateway, kind, given.seconds, targets))
    return targets.verdict()


if __name__ == "__main__":
    raise SystemExit(main())
