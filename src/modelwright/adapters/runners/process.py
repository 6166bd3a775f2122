"""Runs native packages in processes of their own: replaced when they end, killed when they hang or misbehave."""

from __future__ import annotations

import itertools
import logging
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from modelwright.adapters.runners.answers import AnswerCheck
from modelwright.adapters.runners.frames import WINDOW
from modelwright.adapters.runners.idle_watch import IDLE_WATCH, Idleness
from modelwright.adapters.runners.package_files import PackageFiles
from modelwright.adapters.runners.process_errors import not_started, run_lost, runner_closed, version_failed
from modelwright.adapters.runners.quarantine import Quarantine
from modelwright.adapters.runners.restarts import Restarts
from modelwright.adapters.runners.stream_book import Said
from modelwright.adapters.runners.worker import LostError, Opening, Worker, open_worker
from modelwright.core.device import ON_CPU, Placement
from modelwright.core.errors import BadInputError, ModelwrightError, RefusedError, UnavailableError
from modelwright.core.native import IDLE_SHARE, Isolation
from modelwright.core.package import Package
from modelwright.ports.runner import (
    LOST,
    ChunkSink,
    Feeds,
    Observer,
    Outcome,
    SequenceMark,
    Watch,
)

RUN_SECONDS = 30.0
MAX_STREAMS = 16
"""So many answers in chunks one process makes at a time."""
_LEVELS = ("off", "standard", "strict")

_seats = itertools.count(1)  # of all processes: none has the number of one before it
_logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Place:
    """Where a process of this version stands: idle, running ``done``'s request, or being started again.

    ``seat`` is the process's own number; ``streams`` are the answers in chunks that it makes, with their requests;
    ``begun`` counts the requests of both kinds; ``wanted`` is what a start waits for that no thread could be had for.
    """

    number: int
    worker: Worker | None = None
    run: int = 0
    done: Callable[[Outcome], None] | None = None
    feeds: Feeds = field(default_factory=dict)
    seat: int = 0
    begun: int = 0
    wanted: tuple[Worker | None, float] | None = None
    idleness: Idleness = field(default_factory=partial(Idleness, 0.0))
    streams: dict[int, tuple[ChunkSink, Feeds]] = field(default_factory=dict)


class ProcessRunner:
    """One native package, in one process or several.

    Args:
        package: verified; kept, to put right what a process may have done to its files before the next one starts.
        instances: how many processes.
        threads: of each.
        memory_bytes: of each, at most.
        isolation: the least that each must hold, where the package does not ask for more.
        run_seconds: how long :meth:`run` waits for an answer.
        devices: what the model is told to run on, one process after the other.
        idle_share: the share of a core that each may use while no request is with it; 0: any.
        site: folder of the libraries that it runs with; None: those of this process.
    """

    def __init__(
        self,
        package: Package,
        *,
        instances: int,
        threads: int,
        memory_bytes: int,
        isolation: Isolation,
        run_seconds: float = RUN_SECONDS,
        devices: Sequence[str] = ("cpu",),
        idle_share: float = IDLE_SHARE,
        site: Path | None = None,
    ) -> None:
        self._idle_share = idle_share
        native = package.native
        assert native is not None
        self.name, self.idempotent, self.window = package.name, native.idempotent, WINDOW
        self._run_seconds = run_seconds
        self._check, self._quarantine, self._restarts = (
            AnswerCheck(package.signature),
            Quarantine(package.name),
            Restarts(),
        )
        self._files = _files(package)
        level = max(isolation, native.isolation, key=_LEVELS.index)
        self._opening = Opening(
            package.name, self._files.files, level, threads, memory_bytes, streams=native.streams, site=site
        )
        self._devices = (",".join(devices),) if native.split else devices
        self.placement = Placement(instances=instances) if instances > 1 else ON_CPU
        weakref.finalize(self, self._files.remove)
        self._places = [_Place(number) for number in range(instances)]
        self._watch: Watch | None = None
        self._observer: Observer | None = None
        self._closed, self._asking = threading.Event(), threading.Lock()
        self._failure: UnavailableError | None = None
        self._runs = 0
        self._in_company = False
        try:
            self._seat(self._places[0], self._open(self._places[0]))
        except BaseException:
            self._files.remove()
            raise

    @property
    def remote(self) -> ProcessRunner:
        """Itself."""
        return self

    @property
    def level(self) -> str:
        """The isolation that its processes hold; empty while none stands."""
        return next((place.worker.level for place in self._places if place.worker), "")

    @property
    def processes(self) -> tuple[int, ...]:
        """Process ids of those that stand."""
        return tuple(place.worker.process.pid for place in self._places if place.worker)

    @property
    def memory_bytes(self) -> int:
        """Resident memory of its processes."""
        return sum(place.worker.memory_bytes for place in self._places if place.worker)

    @property
    def idle(self) -> int:
        """How many runs can start now."""
        return sum(place.worker is not None and place.done is None for place in self._places)

    @property
    def seats(self) -> Mapping[int, bool]:
        """The processes that stand, by their numbers, and which of them can start a run."""
        return {place.seat: place.done is None for place in self._places if place.worker is not None}

    @property
    def stream_slots(self) -> int:
        """How many more answers in chunks can begin now."""
        return sum(MAX_STREAMS - len(place.streams) for place in self._places if place.worker is not None)

    @property
    def failure(self) -> UnavailableError | None:
        """Why there is no process and will be none for a while."""
        return self._failure

    def unready(self) -> str:
        """Why it could not answer now; empty when it could."""
        if self._closed.is_set():
            return "it is closed"
        if any(place.worker for place in self._places):
            return ""
        return "its processes end again and again" if self._failure else "its process is being started again"

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Answers of the named outputs (all when None), waiting for them; one that is lost is asked for once more.

        From any thread, one at a time, until an event loop drives the runner; then it starts runs itself.

        Raises:
            BadInputError: ``serve.model-rejected-input``.
            InternalError: ``serve.runner-failed``.
            RefusedError: ``serve.poison-request``.
            UnavailableError: ``serve.runner-closed``, ``serve.runner-lost``, ``serve.runner-failed-to-start``.
        """
        with self._asking:
            if self._closed.is_set():
                raise runner_closed(self.name)
            if poison := self.quarantined(inputs):
                raise poison
            found = self._exchange(inputs)
            if isinstance(found, ModelwrightError):
                raise found
            self.clear(inputs)
        return found if outputs is None else {name: found[name] for name in outputs}

    def _exchange(self, inputs: Feeds) -> Outcome:
        place = self._places[0]
        while True:
            if place.worker is None:
                self._seat(place, self._open(place))
                assert place.worker is not None
            try:
                return place.worker.exchange(inputs, self._run_seconds)
            except LostError as lost:
                self._ended(place, lost)
                if not self.idempotent or lost.reason == "hung":
                    raise run_lost(self.name, lost.reason) from lost
                if poison := self.blame(inputs):
                    raise poison from lost

    def attach(self, watch: Watch, observer: Observer) -> None:
        """Be driven by an event loop; the other processes are started now."""
        self._watch, self._observer = watch, observer
        IDLE_WATCH.add(self)
        for place in self._places:
            if place.worker is not None:
                self._look_after(place, place.worker)
            else:
                self._start_aside(place, None, 0.0)

    def start(
        self, feeds: Feeds, done: Callable[[Outcome], None], sequence: SequenceMark | None = None, seat: int = 0
    ) -> int:
        """Begin a run in an idle process, or in the one named."""
        place = next(
            place
            for place in self._places
            if place.worker is not None and place.done is None and seat in (0, place.seat)
        )
        assert place.worker is not None
        assert self._watch is not None
        self._runs += 1
        place.run, place.done, place.feeds = self._runs, done, feeds
        place.begun += 1
        try:
            place.worker.start(feeds, sequence)
        except BadInputError as error:
            self._watch.call_soon(partial(self._settle, place, place.run, error))
        except LostError as lost:
            self._watch.call_soon(partial(self._gone, place, place.worker, lost))
        return place.run

    def forget(self, seat: int, key: int) -> None:
        """Let a process throw away what it keeps of a sequence."""
        for place in self._places:
            if place.seat == seat and place.worker is not None:
                with suppress(LostError):  # its end is heard in a moment
                    place.worker.forget(key)

    def stream(self, feeds: Feeds, sink: ChunkSink) -> int:
        """Begin an answer in chunks in the process that does least."""
        able = [place for place in self._places if place.worker is not None and len(place.streams) < MAX_STREAMS]
        place = min(able, key=lambda place: len(place.streams) + (place.done is not None))
        assert place.worker is not None
        assert self._watch is not None
        try:
            run = place.worker.stream(feeds)
        except BadInputError as error:
            self._watch.call_soon(partial(sink.ended, error))
            return 0
        except LostError as lost:
            self._watch.call_soon(partial(sink.ended, run_lost(self.name, lost.reason)))
            self._watch.call_soon(partial(self._gone, place, place.worker, lost))
            return 0
        place.begun += 1
        place.streams[run] = sink, feeds
        return run

    def welcome(self, run: int) -> None:
        """Let one more chunk come."""
        self._tell(run, Worker.welcome)

    def cancel(self, run: int) -> None:
        """Let no more chunks come."""
        self._tell(run, Worker.cancel)

    def _tell(self, run: int, tell: Callable[[Worker, int], None]) -> None:
        for place in self._places:
            if run in place.streams and place.worker is not None:
                with suppress(LostError):  # as above
                    tell(place.worker, run)

    def abandon(self, run: int) -> None:
        """Kill the process of a run, or of an answer in chunks, that hangs."""
        for place in self._places:
            mine = (place.run == run and place.done is not None) or run in place.streams
            if mine and place.worker is not None:
                self._gone(place, place.worker, LostError("hung"))

    def look(self, now: float) -> None:
        """See what each process does while no request is with it; from another thread."""
        for place in self._places:
            worker = place.worker
            if worker is None:
                if place.wanted is not None and self._watch is not None:
                    with suppress(RuntimeError):  # as below
                        self._watch.call_soon(partial(self._start_wanted, place))
                continue
            busy = place.done is not None or bool(place.streams)
            share = place.idleness.look(now, worker.cpu_seconds, place.begun, busy=busy)
            if share and self._watch is not None:
                with suppress(RuntimeError):  # the loop is closed
                    self._watch.call_soon(partial(self._burned, place, worker, share))

    def _start_wanted(self, place: _Place) -> None:
        if place.wanted is not None and not self._closed.is_set():
            self._start_aside(place, *place.wanted)

    def _burned(self, place: _Place, worker: Worker, share: float) -> None:
        """End a process that is busy with nothing, unless it was given something meanwhile: then the next look will."""
        if place.done is None and not place.streams:
            self._gone(place, worker, LostError("burned", f"it used {share:.2f} of a core without a request"))

    def blame(self, feeds: Feeds) -> RefusedError | None:
        """Count a lost process against a request that was alone with it."""
        if self._in_company:
            return None
        return self._quarantine.blame(feeds, time.monotonic())

    def clear(self, feeds: Feeds) -> None:
        """Take that back."""
        self._quarantine.clear(feeds)

    def quarantined(self, feeds: Feeds) -> RefusedError | None:
        """Why these feeds may not run."""
        return self._quarantine.error(feeds, time.monotonic())

    def close(self) -> None:
        """End every process. They are gone, and their directories, soon after."""
        if self._closed.is_set():
            return
        self._closed.set()
        IDLE_WATCH.discard(self)
        ended = []
        for place in self._places:
            worker, place.worker = place.worker, None
            if worker is not None:
                self._unwatch(worker)
                worker.kill()
                ended.append(worker)
            if place.done is not None:
                self._settle(place, place.run, runner_closed(self.name))
            self._end_streams(place, runner_closed(self.name))
        # Waiting for memory to be given back takes long for a large process; nobody here need wait for it.
        try:
            threading.Thread(target=self._clean, args=(ended,), name="reap").start()
        except RuntimeError:  # no more threads may be started
            self._clean(ended)

    def _clean(self, ended: Sequence[Worker]) -> None:
        for worker in ended:
            worker.reap()
        self._files.remove()

    def _open(self, place: _Place) -> Worker:
        try:
            self._files.restore()
            opening = replace(self._opening, device=self._devices[place.number % len(self._devices)])
            worker = open_worker(opening, self._files.scratch(place.number), self._check)
        except OSError as error:
            raise not_started(self.name, error) from error
        told = {"model": self.name, "pid": worker.process.pid, "isolation": worker.level}
        _logger.info("model process started", extra=told)
        return worker

    def _seat(self, place: _Place, worker: Worker) -> None:
        place.worker, place.seat, place.idleness = worker, next(_seats), Idleness(self._idle_share)

    def _look_after(self, place: _Place, worker: Worker) -> None:
        assert self._watch is not None
        self._watch.add_reader(worker.fileno(), partial(self._heard, place, worker))

    def _unwatch(self, worker: Worker) -> None:
        if self._watch is not None and worker.fileno() >= 0:
            self._watch.remove_reader(worker.fileno())

    def _heard(self, place: _Place, worker: Worker) -> None:
        """Its process said something, or is gone."""
        try:
            found = worker.answer()
        except LostError as lost:
            self._gone(place, worker, lost)
            return
        if isinstance(found, Said):
            self._said(place, found)
        elif found is not None:
            self._settle(place, place.run, found)

    def _said(self, place: _Place, said: Said) -> None:
        if not said.ended:
            place.streams[said.run][0].chunk(said.chunk)
            return
        sink, feeds = place.streams.pop(said.run)
        self.clear(feeds)
        sink.ended(said.error)

    def _end_streams(self, place: _Place, error: ModelwrightError) -> None:
        streams, place.streams = place.streams, {}
        for sink, _ in streams.values():
            sink.ended(error)

    def _settle(self, place: _Place, run: int, outcome: Outcome) -> None:
        done = place.done
        if done is None or place.run != run:
            return
        place.done, place.feeds = None, {}
        done(outcome)

    def _gone(self, place: _Place, worker: Worker, lost: LostError) -> None:
        """A process is of no more use: its run is lost, and another one takes its place."""
        if place.worker is not worker or self._closed.is_set():
            return
        self._unwatch(worker)
        wait = self._ended(place, lost)
        if self._observer is not None:
            self._observer.killed(lost.reason)
        if self._restarts.failed and not any(other.worker for other in self._places):
            self._failure = version_failed(self.name, lost.reason)
        self._start_aside(place, worker, wait)
        streams, self._in_company = list(place.streams.values()), bool(place.streams) and place.done is not None
        if place.done is not None:
            self._settle(place, place.run, run_lost(self.name, lost.reason))
        poison = self.blame(streams[0][1]) if len(streams) == 1 else None
        self._in_company = False
        self._end_streams(place, poison or run_lost(self.name, lost.reason))
        if self._observer is not None:
            self._observer.changed()

    def _ended(self, place: _Place, lost: LostError) -> float:
        """Take a process out of its place; seconds until the next one may start."""
        worker, place.worker = place.worker, None
        if worker is None:
            return 0.0
        worker.kill()
        code = "serve.runner-violated" if lost.reason == "violated" else LOST
        told = {
            "code": code,
            "model": self.name,
            "pid": worker.process.pid,
            "reason": lost.reason,
            "detail": lost.detail,
        }
        _logger.warning("model process ended", extra=told)
        now = time.monotonic()
        if lost.reason == "burned":
            return self._restarts.burned(now)
        return self._restarts.delay(now, now - worker.born)

    def _start_aside(self, place: _Place, before: Worker | None, wait: float) -> None:
        place.wanted = None
        try:
            threading.Thread(target=self._restart, args=(place, before, wait), name="restart", daemon=True).start()
        except RuntimeError as error:  # no more threads may be started: the idle watch, which has its own, asks again
            place.wanted = before, wait
            _logger.warning("model process did not start", extra={"model": self.name, "reason": f"{error}"})

    def _restart(self, place: _Place, before: Worker | None, wait: float) -> None:
        """In a thread of its own: starting takes as long as the model takes to open."""
        if before is not None:
            before.reap()
        if self._closed.wait(wait):
            return
        found: Worker | Exception
        try:
            found = self._open(place)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            found = error
        assert self._watch is not None
        try:
            self._watch.call_soon(partial(self._started, place, found))
        except RuntimeError:  # the loop is closed
            if isinstance(found, Worker):
                found.kill()

    def _started(self, place: _Place, found: Worker | Exception) -> None:
        if self._closed.is_set():
            if isinstance(found, Worker):
                found.kill()
            return
        assert self._observer is not None
        if isinstance(found, Exception):
            _logger.warning("model process did not start", extra={"model": self.name, "reason": str(found)})
            wait = self._restarts.delay(time.monotonic(), 0.0)
            if self._restarts.failed and not any(other.worker for other in self._places):
                self._failure = version_failed(self.name, str(found))
            self._start_aside(place, None, wait)
        else:
            self._seat(place, found)
            self._failure = None
            self._look_after(place, found)
            self._observer.restarted()
        self._observer.changed()


def _files(package: Package) -> PackageFiles:
    try:
        return PackageFiles(package)
    except OSError as error:
        raise not_started(package.name, error) from error
