"""A whole server at half of what it can do, while its processes are killed at random and bad input comes in (row E11).

    python benchmarks/abuse_soak.py --minutes 15

At the end every promise is looked at: each request has one answer and it is its own, what was answered is in the log
once, the keeper counted every row once, the ledger verifies, memory is flat, no process and no file is left. Only what
was under way at a gateway that was killed may fail. Exit 1: a target is missed.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import re
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from abuse_leak import bad
from kit.burden import answer_to, coded, secrets
from kit.figures import machine
from kit.load import Figures, Lines, closed_loop, infer, kind_of, new_secret, open_loop
from kit.servers import Server, alive, register
from kit.targets import Targets, play
from modelwright.core.access import Act
from modelwright.lifecycle.keep import SETTLE_SECONDS
from modelwright.record.log import DuckLog
from modelwright.settings import load
from modelwright.wiring import platform

MODELS, WORKERS, PATIENCE = ("secrets", "coded"), 2, 30.0
STEADY_SECONDS = 11.0  # a gateway that lived for ten seconds is started again without a longer wait
KEEP_SECONDS = 5.0


@dataclass
class Books:
    """What this side knows: ids that were answered, kills by role, and what became of bad input.

    ``at_risk`` is how many requests were under way when a gateway was killed, or were sent within 50 ms of that, over a
    connection whose end had not been heard of; all kills together.
    """

    acknowledged: dict[str, set[str]] = field(default_factory=lambda: {model: set() for model in MODELS})
    kills: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    why: Counter[str] = field(default_factory=Counter)
    under_way: int = 0
    at_risk: int = 0
    rate: float = 0.0
    bad: Counter[str] = field(default_factory=Counter)
    memory: dict[str, list[float]] = field(default_factory=dict)
    descriptors: list[int] = field(default_factory=list)


def asking(token: str, books: Books) -> Callable[[Lines], Awaitable[str]]:
    """One prediction of one of the models, with an id of its own, which is noted once it is answered."""
    turns = itertools.cycle((*[MODELS[0]] * 3, MODELS[1]))

    async def one(lines: Lines) -> str:
        model, secret = next(turns), new_secret()
        request = infer(model, secret, f"Authorization: Bearer {token}", name=f"{secret}")
        books.under_way += 1
        reply = await lines.ask(request, PATIENCE)
        kind = kind_of(reply, [answer_to(secret)])
        books.under_way -= 1
        if kind == "refused":
            books.why[f"{model}: {words_of(reply.body)}"] += 1
        books.refused[model] += kind == "refused"
        books.asked[model] += 1
        if kind == "good":
            books.acknowledged[model].add(str(secret))
        return kind

    return one


def words_of(body: bytes) -> str:
    """The first words of an error, without names and numbers."""
    said = json.loads(body).get("error", "") if body[:1] == b"{" else body.decode("utf-8", "replace")
    return re.sub(r"'[^']*'|[0-9.]+", "..", str(said))[:60]


async def disturb(server: Server, books: Books, choice: random.Random, ended: asyncio.Event) -> None:
    """Kill something, or send what nobody should, every few seconds."""
    steady = time.monotonic()
    while not ended.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), choice.uniform(1, 4))
        act = choice.choice(("model", "gateway", "control", "input", "input"))
        if act == "input":
            await send_bad(server, books, choice)
            continue
        if act == "gateway" and time.monotonic() < steady:
            continue
        found = {"model": server.models, "gateway": server.gateways, "control": [server.control]}[act]
        if len(found) < (WORKERS if act == "gateway" else 1) or 0 in found:
            continue  # the last one that was killed is not back yet
        if act == "gateway":
            steady = time.monotonic() + STEADY_SECONDS
            books.at_risk += books.under_way + round(books.rate / 20)
        with contextlib.suppress(ProcessLookupError):
            os.kill(choice.choice(found), signal.SIGKILL)
            books.kills[act] += 1


async def send_bad(server: Server, books: Books, choice: random.Random) -> None:
    """A burst of refused requests, and some that are cut off."""
    lines = Lines(server.port)
    for _ in range(50):
        reply = await lines.ask(bad(choice), PATIENCE)
        refused = 400 <= reply.status < 500 or reply.status in (0, 503)  # 0: its gateway was killed
        books.bad["refused" if refused else f"status-{reply.status}"] += 1
    for _ in range(10):
        with contextlib.suppress(OSError):
            line = await lines.take()
            request = infer("secrets", 1)
            line.transport.write(request[: choice.randrange(1, len(request))])
            await asyncio.sleep(0)
            line.drop()
            books.bad["cut off"] += 1
    lines.close()


async def measure(server: Server, books: Books, ended: asyncio.Event) -> None:
    """Resident memory of each role, and the supervisor's descriptors, every five seconds."""
    while not ended.is_set():
        roles = {"supervisor": [server.popen.pid], "control": [server.control], "gateway": server.gateways}
        for role, pids in roles.items():
            with contextlib.suppress(OSError, ValueError):  # gone meanwhile
                books.memory.setdefault(role, []).append(max(resident(pid) for pid in pids if pid))
        books.descriptors.append(opened(server.popen.pid))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), 5)


def resident(pid: int) -> float:
    """MiB in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def opened(pid: int) -> int:
    """Descriptors."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def soak(server: Server, books: Books, minutes: float, choice: random.Random) -> tuple[float, Figures, list[int]]:
    """Capacity, the load's figures, and the processes at its end."""
    one = asking(server.token, books)
    most = await closed_loop(Lines(server.port), clients=16, seconds=5, one=one)
    ended = asyncio.Event()
    beside = [
        asyncio.create_task(each) for each in (disturb(server, books, choice, ended), measure(server, books, ended))
    ]
    books.rate = most.goodput / 2
    figures = await open_loop(Lines(server.port), rate=books.rate, seconds=60 * minutes, one=one)
    ended.set()
    await asyncio.gather(*beside)
    await asyncio.sleep(SETTLE_SECONDS + 3 * KEEP_SECONDS)  # the last rows settle, and a round looks at them
    return most.goodput, figures, server.everything


def recount(home: Path, books: Books, targets: Targets) -> None:
    """The log against what was answered, the keeper's windows against the log, and the ledger."""
    log = DuckLog(home / "log")
    with platform(load({"home": home})) as parts:
        for model in MODELS:
            version = parts.versions.version(model, "champion")
            signature = secrets().signature if model == "secrets" else coded("coded").signature
            rows = log.joined(model, signature=signature)
            logged = Counter(rows["prediction_id"].tolist())
            answered = books.acknowledged[model]
            asked = sum(arm.ok for arm in log.arms(model, since=0.0) if arm.version == version.number)
            targets.at_most(f"{model}: answered, not logged", len(answered - logged.keys()), 0, "")
            targets.at_most(f"{model}: logged more than once", asked - len(logged), 0, "")
            lost = len(logged.keys() - answered)
            targets.at_most(f"{model}: logged, answer lost in a kill", lost, books.at_risk, "")
            looks = parts.findings.reports(model, limit=100_000)[::-1]
            gaps = sum(a.window.until != b.window.since for a, b in itertools.pairwise(looks))
            until = looks[-1].window.until if looks else 0.0
            uncounted = int((rows["event_time"] < until).sum()) - sum(look.rows for look in looks)
            targets.at_least(f"{model}: looks of the keeper", len(looks), 1, "")
            targets.at_most(f"{model}: gaps and overlaps of its windows", gaps, 0, "")
            targets.at_most(f"{model}: rows not counted once", abs(uncounted), 0, "")
        targets.at_least("the ledger verifies", float(parts.ledger.verify().verified), 1, "")
        counts = parts.log.counts()
        targets.at_most("damaged segments, lost records", counts["corrupt_segments"] + counts["lost_records"], 0, "")


def flat(books: Books, targets: Targets) -> None:
    """Memory at the end against memory after the first fifth, as medians of a fifth each."""
    for role, limit in (("supervisor", 5), ("gateway", 20), ("control", 150)):
        read = books.memory[role]
        part = max(1, len(read) // 5)
        first, last = sorted(read[part : 2 * part] or read)[part // 2], sorted(read[-part:])[part // 2]
        print(
            f"  {role}: {first:.0f} MiB in memory after the first fifth, {last:.0f} at the end, {max(read):.0f} at most"
        )
        targets.at_most(f"memory of the {role}", last - first, limit, "MiB more")
    targets.at_most("descriptors of the supervisor", books.descriptors[-1] - books.descriptors[0], 2, "more")


def run(folder: Path, minutes: float, choice: random.Random, targets: Targets) -> None:
    home, temporary, books = folder / "home", folder / "tmp", Books()
    temporary.mkdir()
    os.environ["TMPDIR"] = str(temporary)
    with platform(load({"home": home})):
        versions = register(home, secrets(), coded("coded"))
    with platform(load({"home": home})) as parts:
        for version in versions:
            parts.versions.set_alias(version.model, "champion", version.number, act=Act("kit"))
    server, outcome = Server(home, "--workers", str(WORKERS), keep_seconds=KEEP_SECONDS), []

    async def story() -> None:
        outcome.extend(await soak(server, books, minutes, choice))

    try:
        play(story())
    finally:
        status = server.stop()
    capacity, figures, processes = outcome
    killed = ", ".join(f"{number} {role}" for role, number in sorted(books.kills.items()))
    print(
        f"  {capacity:,.0f}/s answered to 16 clients; {minutes:g} minutes at half of that; killed: {killed or 'none'}"
    )
    print(f"  {figures}; the generator was {figures.behind:.2f} s behind at most")
    print(f"  bad input: {', '.join(f'{number:,} {kind}' for kind, number in sorted(books.bad.items()))}")
    print(f"  refused: {', '.join(f'{number:,} {code}' for code, number in books.why.most_common()) or 'none'}")
    targets.at_most("wrong answers", figures.count["wrong"], 0, "")
    allowed = books.at_risk
    targets.at_most("failed, with gateways that were killed", figures.count["failed"], allowed, "")
    others = figures.sent - sum(figures.count[kind] for kind in ("good", "failed", "wrong", "refused"))
    targets.at_most("other outcomes", others, 0, "")
    for model, limit in zip(MODELS, (1, 25), strict=True):  # the second one waits for its only process after a kill
        targets.at_most(f"{model}: refused", 100 * books.refused[model] / books.asked[model], limit, "%")
    targets.at_most(
        "bad input answered with 5xx", books.bad.total() - books.bad["refused"] - books.bad["cut off"], 0, ""
    )
    recount(home, books, targets)
    flat(books, targets)
    targets.at_most("exit status", abs(status), 0, "")
    targets.at_most("processes left", len(alive(processes)), 0, "")
    targets.at_most("temporary files left", len(list(temporary.iterdir())), 0, "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0, help="of load; 2 when left out, which `make abuse` does")
    parser.add_argument("--seed", type=int, default=11, help="of what is killed when")
    given = parser.parse_args()
    machine()
    targets = Targets()
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), given.minutes, random.Random(given.seed), targets)
    return targets.verdict()


if __name__ == "__main__":
    raise SystemExit(main())
