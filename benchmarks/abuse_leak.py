"""A million requests, good and bad, cut off and compressed: memory, descriptors and threads stay what they were.

    python benchmarks/abuse_leak.py

The first tenth warms the gateway up. Exit 1: a target is missed.
"""

import argparse
import asyncio
import gzip
import json
import random
import tempfile
from pathlib import Path

from kit.burden import answer_to, secrets
from kit.figures import machine
from kit.gateways import Gateway, serving
from kit.load import Line, Lines, infer, new_secret, post
from kit.targets import Targets, play

CLIENTS = 32
READINGS = 9
WIDE = list(range(100))


def bad(choice: random.Random) -> bytes:
    """A request that gets a refusal."""
    body = choice.choice((b"{", b"", b"[" * 1000, b'{"inputs": []}', b"\xff" * 300))
    path = choice.choice(("/v2/models/secrets/infer", "/v2/models/nobody/infer", f"/{choice.random()}"))
    return choice.choice((post(path, body), post(path, body, "Content-Encoding: gzip"), infer("nobody", 1)))


def packed(secret: int) -> bytes:
    """A compressed request for a compressed answer."""
    body = infer("secrets", [secret, *WIDE]).partition(b"\r\n\r\n")[2]
    return post("/v2/models/secrets/infer", gzip.compress(body, 1), "Content-Encoding: gzip", "Accept-Encoding: gzip")


async def one(lines: Lines, choice: random.Random) -> str:
    """One request of a random kind; what became of it."""
    way, secret = choice.random(), new_secret()
    if way < 0.70:
        reply = await lines.ask(infer("secrets", secret), 20)
        right = reply.status == 200 and json.loads(reply.body)["outputs"][0]["data"] == [answer_to(secret)]
        return "good" if right else f"good-{reply.status}"
    if way < 0.85:
        reply = await lines.ask(bad(choice), 20)
        return "bad" if 400 <= reply.status < 500 else f"bad-{reply.status}"
    if way < 0.95:
        reply = await lines.ask(packed(secret), 20)
        return "packed" if reply.status == 200 else f"packed-{reply.status}"
    line: Line = await lines.take()
    request = infer("secrets", secret)
    line.transport.write(request[: choice.randrange(1, len(request) + 1)])
    await asyncio.sleep(0)
    line.drop()
    return "cancelled"


async def mixed(gateway: Gateway, count: int, counts: dict[str, int]) -> None:
    choice, lines = random.Random(count), Lines(gateway.port)

    async def run() -> None:
        for _ in range(count // CLIENTS):
            kind = await one(lines, choice)
            counts[kind] = counts.get(kind, 0) + 1

    await asyncio.gather(*(run() for _ in range(CLIENTS)))
    lines.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    given = parser.parse_args()
    machine()
    targets, counts = Targets(), {}
    part = given.requests // (READINGS + 1)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), secrets()) as gateway:
        play(mixed(gateway, part, counts))
        before = gateway.settled(), gateway.rss, gateway.descriptors, gateway.threads
        readings = []
        for _ in range(READINGS):
            play(mixed(gateway, part, counts))
            gateway.settled()
            readings.append(gateway.rss)
        after = gateway.settled(), gateway.rss, gateway.descriptors, gateway.threads
    print(f"  {', '.join(f'{number:,} {kind}' for kind, number in sorted(counts.items()))}")
    print(f"  memory after warm-up {before[1]:.1f} MiB, then {', '.join(f'{reading:.1f}' for reading in readings)}")
    targets.at_least("requests", sum(counts.values()), 0.99 * given.requests, "")
    targets.at_most("unexpected", sum(n for kind, n in counts.items() if "-" in kind), 0, "")
    targets.at_most("memory after warm-up", after[1] - before[1], 10, "MiB more")
    targets.at_most("descriptors", after[2] - before[2], 1, "more")
    targets.at_most("threads", after[3] - before[3], 0, "more")
    targets.at_least("nothing in flight at the end", float(after[0]), 1, "")
    return targets.verdict()


if __name__ == "__main__":
    raise SystemExit(main())
