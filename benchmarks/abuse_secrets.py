"""Requests of 64 clients and two tenants, each with secrets of its own: no answer holds another's.

    python benchmarks/abuse_secrets.py

Shapes vary, requests run together, clients leave in the middle, allow too little time, or send what cannot be answered.
Exit 1: a target is missed.
"""

import argparse
import asyncio
import random
import tempfile
from pathlib import Path

from kit.burden import secrets, slow
from kit.figures import machine
from kit.gateways import Gateway, Registry
from kit.load import Lines, Secretive
from kit.targets import Targets, play

CLIENTS = 64


async def mix(gateway: Gateway, count: int, targets: Targets) -> None:
    client, lines = Secretive(("secrets", "together"), ("red", "blue"), random.Random(7)), Lines(gateway.port)

    async def run() -> None:
        for _ in range(count // CLIENTS):
            await client.one(lines)

    await asyncio.gather(*(run() for _ in range(CLIENTS)))
    lines.close()
    print(f"  {', '.join(f'{number:,} {kind}' for kind, number in client.count.most_common())}")
    targets.at_least("requests", client.count.total(), count - CLIENTS, "")
    targets.at_most("answers with anything of another request", len(client.wrong), 0, "")
    targets.at_most(
        "server errors and failed connections",
        sum(
            number
            for kind, number in client.count.items()
            if kind in {"failed", "gave-up"} or kind.startswith("status")
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
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(Path(folder), ("red", "blue"))
        registry.publish(secrets(), slow("together", fixed=0.002, per_row=0.0002, row_independent=True))
        with registry.serving() as gateway:
            play(mix(gateway, given.requests, targets))
    return targets.verdict()


if __name__ == "__main__":
    raise SystemExit(main())
