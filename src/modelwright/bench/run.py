"""One load in this process: a closed loop, or an open one that sends each request when it is due."""

from __future__ import annotations

import asyncio
import resource
import time
from abc import ABC, abstractmethod
from array import array
from collections import Counter, deque
from collections.abc import Awaitable, Callable

from modelwright.bench.job import Job, Load, Outcome
from modelwright.bench.lines import GrpcLine, HttpLine, Line, Lines
from modelwright.bench.schedule import due_times
from modelwright.bench.timer import Timer

_clock = time.perf_counter


class _Run(ABC):
    """The load under way; :class:`_Closed` and :class:`_Open` say what follows an answer."""

    def __init__(self, job: Job, load: Load) -> None:
        self.job, self.load = job, load
        self.lines: list[HttpLine | GrpcLine] = []
        self.busy: set[Line] = set()
        self.latencies, self.lateness = array("d"), array("d")
        self.errors: Counter[str] = Counter()
        self.samples: list[tuple[int, bytes]] = []
        self.unanswered = self.completed = 0
        self.begin = self.counted = self.end = 0.0
        self.done = asyncio.Event()
        self.opener = Lines(job, self.answered)
        self._turn = load.part * 7 + load.seed
        self._stride, self._since = 1, 0
        self._reopening: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Connect."""
        self.lines = list(await asyncio.gather(*(self.opener.open() for _ in range(self.load.connections))))

    @abstractmethod
    def start(self) -> None:
        """Ask the first time."""

    @abstractmethod
    def go_on(self, line: HttpLine | GrpcLine) -> None:
        """A line is free."""

    def last(self) -> None:  # noqa: B027 - a closed loop has nothing left to ask
        """The time is over: ask what is still to be asked."""

    def waiting(self) -> list[float]:
        """When those were due that were never sent."""
        return []

    async def run(self) -> Outcome:
        """Load until the end, wait for what is under way, and close."""
        self.begin = _clock()
        self.counted = self.begin + self.load.warm
        self.end = self.counted + self.load.seconds
        self.start()
        cpu = _cpu()
        await asyncio.sleep(self.end - _clock())
        cpu = _cpu() - cpu
        self.last()
        if self.busy or self.waiting():
            try:
                await asyncio.wait_for(self.done.wait(), self.job.patience)
            except TimeoutError:
                self._give_up()
        lasted = _clock() - self.begin
        await self._close()
        seconds = self.load.warm + self.load.seconds
        return Outcome(
            self.latencies.tobytes(),
            self.lateness.tobytes(),
            dict(self.errors),
            self.unanswered,
            self.completed,
            self.load.seconds,
            cpu * self.load.seconds / seconds,
            lasted,
            self.samples,
        )

    def ask(self, line: HttpLine | GrpcLine, due: float) -> None:
        """Send the next request over a free line."""
        self._turn = index = (self._turn + 1) % len(self.job.requests)
        line.due, line.index = due, index
        self._since += 1
        line.keep = self._since >= self._stride and due >= self.counted
        self.busy.add(line)
        line.send(self.job.requests[index])

    def answered(self, line: Line, error: str, body: bytes) -> None:
        """An answer, or the end of a connection that owed one."""
        now = _clock()
        self.busy.discard(line)
        self.completed += not error and self.counted <= now < self.end
        if line.due >= self.counted and line.due < self.end:
            if error:
                self.errors[error] += 1
            else:
                self.latencies.append(now - line.due)
        if line.keep and not error:
            self._keep(line.index, body)
        assert isinstance(line, HttpLine | GrpcLine)
        if line.alive:
            self.go_on(line)
        elif now < self.end:
            task = asyncio.get_running_loop().create_task(self._reopen(line))
            self._reopening.add(task)
            task.add_done_callback(self._reopening.discard)
        if now >= self.end and not self.busy and not self.waiting():
            self.done.set()

    def _keep(self, index: int, body: bytes) -> None:
        """Answers are looked at all along the load: the more have come, the rarer."""
        self._since = 0
        self.samples.append((index, body))
        if len(self.samples) >= 2 * self.load.samples:
            self.samples, self._stride = self.samples[::2], self._stride * 2

    async def _reopen(self, lost: HttpLine | GrpcLine) -> None:
        while _clock() < self.end:
            try:
                line = await self.opener.open()
            except OSError:
                self.errors["cannot connect"] += 1
                await asyncio.sleep(0.05)
            else:
                self.lines.remove(lost)
                self.lines.append(line)
                self.go_on(line)
                return

    def _give_up(self) -> None:
        """Who still waits has waited at least so long."""
        now = _clock()
        for due in (*(line.due for line in self.busy), *self.waiting()):
            if self.counted <= due < self.end:
                self.unanswered += 1
                self.latencies.append(now - due)
        self.busy.clear()

    async def _close(self) -> None:
        for task in self._reopening:
            task.cancel()
        for line in self.lines:
            line.close()
        await self.opener.close()


class _Closed(_Run):
    """Every connection asks again as soon as it is answered."""

    def start(self) -> None:
        for line in list(self.lines):
            self.go_on(line)

    def go_on(self, line: HttpLine | GrpcLine) -> None:
        now = _clock()
        if now < self.end:
            self.ask(line, now)


class _Open(_Run):
    """A request is sent when it is due, or as soon as a connection is free after that."""

    def __init__(self, job: Job, load: Load) -> None:
        super().__init__(job, load)
        seconds = load.warm + load.seconds
        self._due = due_times(
            load.rate, seconds, load.arrivals, seed=load.seed, part=load.part, parts=load.parts
        ).tolist()
        self._next = 0
        self._free: deque[HttpLine | GrpcLine] = deque()
        self._backlog: deque[float] = deque()
        self._timer = Timer(asyncio.get_running_loop(), self._fire)

    def start(self) -> None:
        self._due = [self.begin + moment for moment in self._due]
        self._free.extend(self.lines)
        self._fire()

    def last(self) -> None:
        self._fire()  # a loop that was held up may not have come to the last ones yet

    def waiting(self) -> list[float]:
        return list(self._backlog)

    def go_on(self, line: HttpLine | GrpcLine) -> None:
        if self._backlog:
            self.ask(line, self._backlog.popleft())
        else:
            self._free.append(line)

    def _fire(self) -> None:
        due, now = self._due, _clock()
        while self._next < len(due) and due[self._next] <= now:
            moment = due[self._next]
            self._next += 1
            if not self._free:
                self._backlog.append(moment)
                continue
            line = self._free.popleft()
            if not line.alive:  # closed by the server while it was idle: answered() opens another
                self.busy.add(line)
                line.due, line.keep = moment, False
                self.answered(line, "connection lost", b"")
                continue
            self.ask(line, moment)
            now = _clock()
            if moment >= self.counted:
                self.lateness.append(now - moment)
        if self._next < len(due):
            self._timer.wake(due[self._next] - _clock())

    async def _close(self) -> None:
        self._timer.close()
        await super()._close()


async def measure(job: Job, load: Load, ready: Callable[[], Awaitable[None]]) -> Outcome:
    """Connect, say that it is ``ready`` and wait for it, then load.

    Raises:
        OSError: nobody answers there.
    """
    run = (_Open if load.rate else _Closed)(job, load)
    await run.open()
    await ready()
    return await run.run()


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
