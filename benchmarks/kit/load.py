"""An open-loop load generator: a request is sent when it is due, whatever became of the ones before it.

Latency counts from the moment a request was due, so that a server which stalls is not flattered by a generator that
waits for it (coordinated omission). Each request carries a secret of its own and its answer is checked.
"""

import asyncio
import gzip
import itertools
import json
import math
import random
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from kit.burden import answer_to

PATIENCE = 1.0  # seconds until a client gives up
REFUSED = (429, 503)

_numbers = itertools.count(1)


def new_secret() -> int:
    """A number that no other request of this process carries."""
    return next(_numbers) * 1_000_003 % 2**40


@dataclass(slots=True)
class Reply:
    """What came back. Status 0: the connection failed; -1: the client gave up."""

    status: int
    headers: bytes = b""
    body: bytes = b""


class Line(asyncio.Protocol):
    """A connection that carries one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Reply] | None = None
        self._early: Reply | None = None
        self._buffer = b""

    @property
    def usable(self) -> bool:
        """True while the next request may be sent over it."""
        return self.transport is not None and not self.transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Whoever waits gets status 0."""
        self.transport = None
        self._give(Reply(0))

    def data_received(self, data: bytes) -> None:
        """Give a reply once all of it is here."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        start = head.find(b"content-length: ") + 16
        size = int(head[start : (head.find(b"\r\n", start) + 1 or end + 1) - 1])
        if len(self._buffer) < end + 4 + size:
            return
        body, self._buffer = self._buffer[end + 4 : end + 4 + size], self._buffer[end + 4 + size :]
        if b"connection: close" in head and self.transport is not None:
            self.transport.close()
        self._give(Reply(int(head[9:12]), head, body))

    def ask(self, request: bytes) -> asyncio.Future[Reply]:
        """Send a request; the future gets what comes back."""
        self._waiting = asyncio.get_running_loop().create_future()
        if self._early is not None:  # turned away before anything was asked
            self._waiting.set_result(self._early)
        elif self.usable:
            self.transport.write(request)
        else:
            self._waiting.set_result(Reply(0))
        return self._waiting

    def drop(self) -> None:
        """Go away without a word."""
        if self.transport is not None:
            self.transport.abort()

    def _give(self, reply: Reply) -> None:
        if self._waiting is None:
            self._early = self._early or reply
        elif not self._waiting.done():
            self._waiting.set_result(reply)
            self._waiting = None


class Lines:
    """Connections to one gateway; a new one is made when all are in use.

    ``opened`` counts those asked for, ``turned_down`` those that the system refused because nobody listens.
    """

    def __init__(self, port: int) -> None:
        self._port, self._free = port, []
        self.opened = self.turned_down = 0

    async def ask(self, request: bytes, patience: float = PATIENCE) -> Reply:
        """Send a request over a free connection; a client that gives up closes it."""
        line: Line | None = None
        try:
            async with asyncio.timeout(patience):
                line = await self.take()
                reply = await line.ask(request)
        except TimeoutError:
            reply = Reply(-1)
        except OSError as error:
            self.turned_down += isinstance(error, ConnectionRefusedError)
            reply = Reply(0)
        if line is not None:
            if reply.status > 0 and line.usable:
                self._free.append(line)
            else:
                line.drop()
        return reply

    async def take(self) -> Line:
        """A free connection."""
        while self._free:
            line = self._free.pop()
            if line.usable:
                return line
        self.opened += 1
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(Line, "127.0.0.1", self._port)
        return line

    def close(self) -> None:
        """Close what is free."""
        for line in self._free:
            if line.usable:
                line.transport.close()
        self._free = []


@dataclass
class Figures:
    """What became of the requests of one load: counts by kind, and seconds since each was due."""

    seconds: float = 0.0
    count: Counter[str] = field(default_factory=Counter)
    latency: dict[str, list[float]] = field(default_factory=lambda: {"good": [], "refused": []})
    wrong: list[str] = field(default_factory=list)
    behind: float = 0.0

    @property
    def sent(self) -> int:
        """How many requests."""
        return self.count.total()

    @property
    def goodput(self) -> float:
        """Right answers in time, per second."""
        return self.count["good"] / self.seconds if self.seconds else 0.0

    def add(self, kind: str, seconds: float) -> None:
        """Count one outcome."""
        self.count[kind] += 1
        if kind in self.latency:
            self.latency[kind].append(seconds)

    def at(self, share: float, kind: str = "good") -> float:
        """A percentile in milliseconds; 0 where there is nothing."""
        return 1000 * percentile(self.latency[kind], share)

    def __str__(self) -> str:
        counts = ", ".join(f"{number:,} {kind}" for kind, number in self.count.most_common())
        refused = f"; refused p99 {self.at(99, 'refused'):.1f} ms" if self.latency["refused"] else ""
        return f"{counts}; good p50 {self.at(50):.1f} p99 {self.at(99):.1f} ms{refused}"


def percentile(figures: Sequence[float], share: float) -> float:
    """The smallest figure that at least ``share`` percent do not exceed; 0 for none."""
    if not figures:
        return 0.0
    ordered = sorted(figures)
    return ordered[max(0, math.ceil(share / 100 * len(ordered)) - 1)]


def post(path: str, body: bytes, *headers: str) -> bytes:
    """The bytes of a request."""
    lines = "".join(f"{line}\r\n" for line in headers)
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


def infer(model: str, secret: int | Sequence[int], *headers: str, rows: int = 1, name: str = "") -> bytes:
    """A prediction of one secret, or of several in ``rows`` rows; ``name`` is its id, where it has one."""
    values = [secret] if isinstance(secret, int) else list(secret)
    tensor = {"name": "secret", "shape": [rows, len(values) // rows], "datatype": "INT64", "data": values}
    return post(
        f"/v2/models/{model}/infer",
        json.dumps({**({"id": name} if name else {}), "inputs": [tensor]}).encode(),
        *headers,
    )


def kind_of(reply: Reply, expected: Sequence[int]) -> str:
    """good, refused, gave-up, failed, or wrong: an answer that is not this request's."""
    if reply.status == 200:
        return "good" if json.loads(reply.body)["outputs"][0]["data"] == list(expected) else "wrong"
    if reply.status in REFUSED:
        return "refused"
    return {0: "failed", -1: "gave-up"}.get(reply.status, f"status-{reply.status}")


async def open_loop(lines: Lines, *, rate: float, seconds: float, one: Callable[[Lines], Awaitable[str]]) -> Figures:
    """Start ``one`` as often as ``rate`` says for so many seconds; it gives the kind of its outcome."""
    figures, running, now = Figures(seconds), set(), time.perf_counter  # uvloop's own clock has milliseconds
    start = now()

    async def run(due: float) -> None:
        figures.behind = max(figures.behind, now() - due)
        kind = await one(lines)
        figures.add(kind, now() - due)

    for number in range(round(rate * seconds)):
        due = start + number / rate
        if (pause := due - now()) > 0:
            await asyncio.sleep(pause)
        task = asyncio.create_task(run(due))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    lines.close()
    return figures


async def closed_loop(lines: Lines, *, clients: int, seconds: float, one: Callable[[Lines], Awaitable[str]]) -> Figures:
    """So many clients, each asking again as soon as it is answered: what a server can do at most."""
    figures, now = Figures(seconds), time.perf_counter
    end = now() + seconds

    async def client() -> None:
        while (due := now()) < end:
            kind = await one(lines)
            figures.add(kind, now() - due)

    await asyncio.gather(*(client() for _ in range(clients)))
    lines.close()
    return figures


def asker(model: str, *headers: str, patience: float = PATIENCE, bias: int = 0) -> Callable[[Lines], Awaitable[str]]:
    """One prediction with a secret of its own."""

    async def one(lines: Lines) -> str:
        secret = new_secret()
        return kind_of(await lines.ask(infer(model, secret, *headers), patience), [answer_to(secret, bias)])

    return one


def versioned(model: str, seen: dict[int, int], *, bias: int, token: str) -> Callable[[Lines], Awaitable[str]]:
    """One prediction; the answer must be the one of the version it names, whose bias is ``bias`` times its number."""

    async def one(lines: Lines) -> str:
        secret = new_secret()
        reply = await lines.ask(infer(model, secret, f"Authorization: Bearer {token}"))
        version = int((re.search(rb"modelwright-version: (\d+)", reply.headers) or [b"", b"0"])[1])
        seen[version] = seen.get(version, 0) + (reply.status == 200)
        return kind_of(reply, [answer_to(secret, bias * version)])

    return one


async def healthy(lines: Lines) -> str:
    """One question after the gateway's health."""
    reply = await lines.ask(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    return "good" if reply.status == 200 else kind_of(reply, [])


class Secretive:
    """Clients that send secrets in every way, and look for others' secrets in what comes back.

    Most ask properly, with one value or several in a row or in rows; some leave in the middle, some allow too little
    time, some send what cannot be answered. Every number in an answer or in an error must come from its own request.
    """

    def __init__(self, models: Sequence[str], tenants: Sequence[str], choice: random.Random) -> None:
        self._models, self._tenants, self._choice = models, tenants, choice
        self.count: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def one(self, lines: Lines) -> str:
        """One request; gives the kind of its outcome."""
        model, way = self._choice.choice(self._models), self._choice.random()
        rows = self._choice.choice((1, 1, 1, 2, 3))
        width = self._choice.choice((1, 1, 2, 5)) if model == "secrets" else 1
        values = [_large_secret() for _ in range(rows * width)]
        headers = [f"Authorization: Bearer mw_{self._choice.choice(self._tenants)}"]
        if way < 0.05:
            headers.append("Modelwright-Timeout-Ms: 1")
        if way > 0.98:
            headers.append("Accept-Encoding: gzip")
        request = infer(model, values, *headers, rows=rows)
        if 0.05 <= way < 0.10:
            request = request.replace(b"INT64", b"INT32" if way < 0.075 else b"BYTES")
        kind = await (self._leave(lines, request) if 0.10 <= way < 0.15 else self._ask(lines, request, values))
        self.count[kind] += 1
        return kind

    async def _leave(self, lines: Lines, request: bytes) -> str:
        line = await lines.take()
        line.ask(request)
        await asyncio.sleep(self._choice.random() / 200)
        line.drop()
        return "cancelled"

    async def _ask(self, lines: Lines, request: bytes, values: Sequence[int]) -> str:
        reply = await lines.ask(request, 10)
        body = gzip.decompress(reply.body) if b"content-encoding: gzip" in reply.headers else reply.body
        if reply.status == 200:
            if json.loads(body)["outputs"][0]["data"] == [answer_to(value) for value in values]:
                return "good"
            self.wrong.append(body.decode()[:500])
            return "wrong"
        own = {str(number) for value in values for number in (value, answer_to(value))}
        if any(digits.decode() not in own for digits in re.findall(rb"\d{12,}", body)):
            self.wrong.append(body.decode()[:500])
            return "leaked"
        return {400: "bad-request", 503: "refused", 504: "too-late", 0: "failed", -1: "gave-up"}.get(
            reply.status, f"status-{reply.status}"
        )


def _large_secret() -> int:
    """Twelve digits and more: no such number is in a message by itself."""
    return 10**12 + new_secret()
