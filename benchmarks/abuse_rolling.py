"""Fifty updates of a model under load: no request fails, each answer is that of the version it names.

    python benchmarks/abuse_rolling.py

Exit 1: a target is missed.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path

from kit.burden import secrets
from kit.figures import machine
from kit.gateways import Gateway, Registry, token_of
from kit.load import Figures, Lines, open_loop, versioned
from kit.targets import Targets, play

RATE = 500
BIAS = 1_000_000


async def roll(gateway: Gateway, registry: Registry, updates: int, targets: Targets) -> None:
    seen: dict[int, int] = {}
    one, lines = versioned("secrets", seen, bias=BIAS, token=token_of("tenant")), Lines(gateway.port)
    quiet = await open_loop(lines, rate=RATE, seconds=10, one=one)
    seconds = 0.6 * updates

    packages = [secrets(bias=BIAS * (registry.epoch + number)) for number in range(1, updates + 1)]

    async def publish() -> None:
        for package in packages:
            await asyncio.to_thread(registry.publish, package)
            assert await asyncio.to_thread(registry.in_force)
            await asyncio.sleep(0.3)

    load: Figures
    load, _ = await asyncio.gather(open_loop(lines, rate=RATE, seconds=seconds, one=one), publish())
    print(f"  without updates {quiet}; with them {load}; versions seen: {len(seen)}")
    targets.at_least("requests while updates went on", load.sent, 300 * updates, "")
    targets.at_most("failed or wrong", load.sent - load.count["good"], 0, "")
    targets.at_least("versions that answered", len(seen), updates + 1, "")
    targets.at_most("p99, as often without updates", load.at(99) / quiet.at(99), 1.5, "x")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=50)
    given = parser.parse_args()
    machine()
    targets = Targets()
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(Path(folder))
        registry.publish(secrets(bias=BIAS))
        with registry.serving() as gateway:
            play(roll(gateway, registry, given.updates, targets))
    return targets.verdict()


if __name__ == "__main__":
    raise SystemExit(main())
