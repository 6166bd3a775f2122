"""Requests of 64 clients and two tenants, each with secrets of its own: no answer holds another's.

    python benchmarks/abuse_secrets.py

Shapes vary, requests run together, clients leave in the middle, allow too little time, or send what cannot be answered.
Then the same with a model that runs as code in two processes, one of which is killed now and then.
Exit 1: a target is missed.
"""

import argparse
import asyncio
import os
import random
import signal
import tempfile
from pathlib import Path

from kit.burden import coded, secrets, slow
from kit.figures import machine
from kit.gateways import Gateway, Registry, token_of
from kit.load import Lines, Secretive
from kit.targets import Targets, play

CLIENTS = 64


async def mix(gateway: Gateway, count: int, targets: Targets) -> None:
    """Two models that the gateway runs itself."""
    client = Secretive(("secrets", "together"), ("red", "blue"), random.Random(7))
    await ask(client, gateway, count)
    judge(client, count, targets)


async def mix_killed(gateway: Gateway, count: int, targets: Targets) -> None:
    """A model that runs as code."""
    client, choice = Secretive(("coded",), ("red", "blue"), random.Random(7)), random.Random(8)
    load = asyncio.create_task(ask(client, gateway, count))
    while not load.done():
        await asyncio.sleep(2 + choice.random())
        if processes := gateway.children:
            os.kill(choice.choice(processes), signal.SIGKILL)
    await load
    print(f"  {await asyncio.to_thread(gateway.metric, 'modelwright_runner_kills', token_of('red')):.0f} kills")
    judge(client, count, targets)


async def ask(client: Secretive, gateway: Gateway, count: int) -> None:
    """All requests, by so many clients at once."""
    lines = Lines(gateway.port)

    async def run() -> None:
        for _ in range(count // CLIENTS):
            await client.one(lines)

    await asyncio.gather(*(run() for _ in range(CLIENTS)))
    lines.close()


def judge(client: Secretive, count: int, targets: Targets) -> None:
    """What came back."""
    print(f"  {', '.join(f'{number:,} {kind}' for kind, number in client.count.most_common())}")
    targets.at_least("requests", client.count.total(), count - CLIENTS, "")
    targets.at_most("answers with anything of another request", len(client.wrong), 0, "")
    targets.at_most(
        "server errors and failed connections",
        sum(
            number
            for kind, number in client.count.items()
            if kind in {"failed", "gave-up"} or kind.startswith("status-5")
        ),
        0,
        "",
    )
    for words in client.wrong[:5]:
        print(f"  {words}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200_000)
    given = parser.parse_args()
    machine()
    targets = Targets()
    together = slow("together", fixed=0.002, per_row=0.0002, row_independent=True)
    for story, packages in ((mix, (secrets(), together)), (mix_killed, (coded("coded"),))):
        with tempfile.TemporaryDirectory() as folder:
            registry = Registry(Path(folder), ("red", "blue"))
            registry.publish(*packages)
            with registry.serving(native_instances=2) as gateway:
                play(story(gateway, given.requests, targets))
    return targets.verdict()


if __name__ == "__main__":
    raise SystemExit(main())
