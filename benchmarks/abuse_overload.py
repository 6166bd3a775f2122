"""Ten times the requests that a model can answer, then a noisy neighbour. Exit 1: a target is missed.

    python benchmarks/abuse_overload.py

The models take 20 ms: one runs each request by itself, the other runs requests together. The load is an open loop;
latency counts from the moment a request was due.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path

from kit.burden import slow
from kit.figures import machine
from kit.gateways import Gateway, Registry, token_of
from kit.load import Lines, asker, closed_loop, healthy, open_loop
from kit.targets import Targets, play

MODELS = ("alone", "together")


async def overload(gateway: Gateway, model: str, seconds: float, targets: Targets) -> None:
    one = asker(model, f"Authorization: Bearer {token_of('loud')}")
    capacity = (await closed_loop(Lines(gateway.port), clients=8, seconds=5, one=one)).goodput
    before = gateway.rss
    gateway.forget_peak()
    figures, health = await asyncio.gather(
        open_loop(Lines(gateway.port), rate=10 * capacity, seconds=seconds, one=one),
        open_loop(Lines(gateway.port), rate=20, seconds=seconds, one=healthy),
    )
    growth = gateway.peak - before
    after = await open_loop(Lines(gateway.port), rate=capacity / 4, seconds=5, one=one)
    normal = 2 * after.at(50) / 1000
    late = [index / (capacity / 4) for index, taken in enumerate(after.latency["good"]) if taken > normal]
    print(f"  {model}: capacity {capacity:.0f}/s, sent {figures.sent:,} in {seconds:.0f} s; {figures}")
    targets.at_least(f"{model}: goodput of capacity", 100 * figures.goodput / capacity, 75, "%")
    targets.at_most(f"{model}: accepted, p99", figures.at(99), 500, "ms")
    targets.at_most(f"{model}: refused, p99", figures.at(99, "refused"), 20, "ms")
    targets.at_most(f"{model}: clients that gave up", 100 * figures.count["gave-up"] / figures.sent, 0.1, "%")
    targets.at_most(f"{model}: connections that failed", figures.count["failed"], 0, "")
    targets.at_most(f"{model}: health, p99", health.at(99), 250, "ms")
    targets.at_most(f"{model}: memory", growth, 64, "MiB more")
    targets.at_most(f"{model}: normal again after", max(late, default=0.0), 2, "s")


async def neighbour(gateway: Gateway, model: str, seconds: float, targets: Targets) -> None:
    loud, quiet = (asker(model, f"Authorization: Bearer {token_of(name)}") for name in ("loud", "quiet"))
    capacity = (await closed_loop(Lines(gateway.port), clients=8, seconds=5, one=loud)).goodput
    alone = await open_loop(Lines(gateway.port), rate=capacity / 4, seconds=5, one=quiet)
    _, beside = await asyncio.gather(
        open_loop(Lines(gateway.port), rate=20 * capacity, seconds=seconds, one=loud),
        open_loop(Lines(gateway.port), rate=capacity / 4, seconds=seconds, one=quiet),
    )
    print(f"  {model}, quiet tenant: alone {alone}; beside 20 x capacity {beside}")
    targets.at_most(f"{model}: quiet tenant's errors", beside.sent - beside.count["good"], 0, "")
    targets.at_most(f"{model}: quiet tenant's p99, as often alone", beside.at(99) / alone.at(99), 2, "x")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    given = parser.parse_args()
    machine()
    targets = Targets()
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(Path(folder), ("loud", "quiet"))
        registry.publish(slow("alone", fixed=0.020), slow("together", fixed=0.015, per_row=0.003, row_independent=True))
        with registry.serving() as gateway:
            for model in MODELS:
                play(overload(gateway, model, given.seconds, targets))
                play(neighbour(gateway, model, given.seconds / 2, targets))
    return targets.verdict()


if __name__ == "__main__":
    raise SystemExit(main())
