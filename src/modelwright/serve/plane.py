"""The plane behind every interface: named tensors in, named tensors out, each answer recorded."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from modelwright.core.errors import BadInputError, ModelwrightError, NotFoundError
from modelwright.core.package import Package
from modelwright.core.prediction import Record
from modelwright.core.prediction_id import new_prediction_id
from modelwright.core.version import RoutingTable
from modelwright.ports.counters import Counters
from modelwright.ports.record import RecordSink
from modelwright.ports.runner import Outcome, RunnerLoader, Watch
from modelwright.ports.trace import Trace, Traced
from modelwright.serve.cache import ResponseCache
from modelwright.serve.call import MAX_ID_LENGTH, Answer, PredictCall
from modelwright.serve.drive import RUN_SECONDS, Driver, Offload
from modelwright.serve.fitting import ticket_of
from modelwright.serve.lane import Done, Ticket
from modelwright.serve.load import Loaded
from modelwright.serve.loader import Loader
from modelwright.serve.prepare import Preparation, Prepared, Without
from modelwright.serve.recording import Recording
from modelwright.serve.residence import NO_BUDGET, Aside, Budget, Residence
from modelwright.serve.reuse import Reuse
from modelwright.serve.route import LiveArm, LiveRoute
from modelwright.serve.sequences import IDLE_SECONDS, MOST, Sequences, no_chunks
from modelwright.serve.streaming import Chunks, Listener, Streaming, Streams, Whole
from modelwright.serve.tally import OwnCounters, Tally

QUEUE_SECONDS = 0.3
SHADOW_SECONDS = 5.0
UNAVAILABLE = "UNAVAILABLE"
_SHADOW = "\0shadow"  # no caller's name: what waits for shadows has a queue of its own


class Plane:
    """Serves what a routing table says.

    A request is submitted, and run when :meth:`run` is next called: by then others may have come that run with it.
    Everything happens on one thread, the one that also calls :meth:`commit`; only :meth:`prepare` may run beside it.

    Args:
        sink: where records go; the caller flushes it before answers leave (promise D2).
        runners: what loads packages.
        budget: how much may be held in memory.
        queue_seconds: a request that would wait longer than this is refused at once.
        offload: takes long runs off this thread; None: every run is made here.
        aside: takes loads off this thread; None: they are made here.
        counters: where to count; None: in this process alone.
        cache: answers that are kept for equal requests; None: none are.
        watch: the event loop, for models in other processes; None: runs wait for them.
        run_seconds: a run in another process that takes longer hangs.
        max_sequences: sequences at once.
        sequence_idle_seconds: a sequence that nobody asks about for so long is over.
    """

    def __init__(
        self,
        sink: RecordSink,
        runners: RunnerLoader,
        *,
        budget: Budget = NO_BUDGET,
        queue_seconds: float = QUEUE_SECONDS,
        offload: Offload | None = None,
        aside: Aside | None = None,
        counters: Counters | None = None,
        watch: Watch | None = None,
        run_seconds: float = RUN_SECONDS,
        cache: ResponseCache | None = None,
        max_sequences: int = MOST,
        sequence_idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self.tally = Tally(counters or OwnCounters())
        self._sink = sink
        self._recording = Recording(sink, self.tally)
        self._driver = Driver(
            self._finish,
            self.tally,
            queue_seconds=queue_seconds,
            offload=offload,
            absent=self._load_for,
            watch=watch,
            run_seconds=run_seconds,
        )
        self._reuse = None if cache is None else Reuse(cache, self.tally, self._driver.put, self._finish)
        self._sequences = Sequences(
            self._driver, self.tally, most=max_sequences, idle_seconds=sequence_idle_seconds, run_seconds=run_seconds
        )
        self._driver.freed = self._sequences.go_on
        self._streams = Streams(self._recording.stream, self.tally, self._as_champion, chunk_seconds=run_seconds)
        loader = Loader(runners, threads=budget.threads, cores=budget.cores)
        self.residence = Residence(loader, self._driver, self.tally, budget=budget, aside=aside)
        self._routes: dict[str, LiveRoute] = {}
        self._loaded: dict[str, Loaded] = {}
        self._retired: list[Loaded] = []
        self._shadow_work: deque[tuple[LiveArm, PredictCall, int]] = deque()
        self.table: RoutingTable | None = None

    def apply(self, table: RoutingTable, open_package: Callable[[str], Package]) -> None:
        """:meth:`prepare` and :meth:`commit` in one; raises as ``prepare`` does, and then keeps the old table."""
        self.commit(self.prepare(table, open_package))

    def prepare(
        self, table: RoutingTable, open_package: Callable[[str], Package], without: Without | None = None
    ) -> Prepared:
        """Load aside what the table needs and this plane does not hold, within the budget; may run in another thread.

        Raises:
            ModelwrightError: the reason; nothing changed, and what was loaded aside is closed again. Where ``without``
                is given, a package that cannot be loaded is left out of the table instead.
        """
        preparation = Preparation(self.residence, self._loaded, open_package, first=self.table is None)
        try:
            return preparation.prepare(table, without)
        except BaseException:
            self.tally.refuse_table()
            raise

    def commit(self, prepared: Prepared) -> None:
        """Swap in one assignment; runners nobody needs are closed once nothing of theirs is in flight."""
        old = self._loaded
        self._routes, self._loaded, self.table = prepared.routes, prepared.loaded, prepared.table
        self._retired += [version for digest, version in old.items() if digest not in prepared.loaded]
        for version in prepared.loaded.values():
            self._driver.adopt(version)
        self.residence.put_in_force(self._routes, self._loaded)
        self.tally.swap()
        self._close_idle()

    def submit(self, call: PredictCall, done: Done) -> Ticket:
        """Take one request. ``done`` gets its answer or its error once it has run; its record is appended by then.

        Raises:
            NotFoundError: ``serve.unknown-model``, ``serve.unknown-version``.
            BadInputError: the request does not fit the signature.
            UnavailableError: ``serve.overloaded``: it would wait too long; ``serve.version-failed``.
            RefusedError: ``serve.poison-request``.
        """
        ticket = self._fitted(call, done)
        arm = ticket.arm
        if arm.loaded.remote is not None and arm.role != "canary":  # where a canary fails, the champion answers
            self._driver.refuse(arm.loaded, call, ticket.feeds)
        ticket.started = call.started
        if call.sequence is not None:
            if arm.loaded.sequences:
                self._sequences.put(ticket)
                self.residence.when_open(arm, partial(self._go_on, arm.loaded))
                return ticket
            self._sequences.touch(call)
        reuse = self._reuse
        if reuse is not None and reuse.takes(ticket):
            return ticket
        self._driver.admit(arm.loaded, call)
        if reuse is not None:
            reuse.lead(ticket)
        self._driver.put(ticket)
        return ticket

    def _go_on(self, loaded: Loaded, error: ModelwrightError | None) -> None:
        """A version with sequences is in memory, or cannot be."""
        if error is not None:
            self._sequences.fail(loaded, error)
            return
        self._driver.adopt(loaded)
        self._sequences.go_on(loaded)

    def stream(self, call: PredictCall, listener: Listener) -> Streaming:
        """Take one request whose answer is wanted in chunks; a model that gives none answers in one.

        Raises:
            ModelwrightError: as :meth:`submit`.
        """
        ticket = self._fitted(call, _nobody)
        if not ticket.arm.loaded.streams:
            whole = Whole()
            whole.ticket = self.submit(call, partial(in_one_chunk, listener))
            return whole
        if call.sequence is not None and ticket.arm.loaded.sequences:
            raise no_chunks()
        ticket.started = call.started
        chunks = self._streams.open(ticket, listener)
        self.residence.when_open(ticket.arm, lambda error: chunks.ended(error) if error else self._begin(chunks))
        return chunks

    def _begin(self, chunks: Chunks) -> None:
        self._driver.adopt(chunks.ticket.arm.loaded)
        self._streams.begin(chunks)

    def _fitted(self, call: PredictCall, done: Done) -> Ticket:
        """The request as the arm takes it that answers it."""
        route = self.route(call.model)
        if not call.prediction_id:
            call.prediction_id = new_prediction_id()
        elif len(call.prediction_id) > MAX_ID_LENGTH:
            raise BadInputError("serve.id-too-long", f"The id has more than {MAX_ID_LENGTH} characters.")
        if call.sequence is not None:
            arm = self._arm_of_sequence(call, route)
        else:
            arm = route.pinned(call.version) if call.version else route.pick(call.group or call.prediction_id)
        try:
            ticket = ticket_of(arm, call, done)
        except BadInputError as error:
            if arm.role != "canary" or call.group:
                raise
            canary, arm = arm, route.champion
            ticket = ticket_of(arm, call, done)  # raises when it is the caller's mistake, not the canary's
            self._recording.request(canary, call, {}, {}, ticket.rows, 0.0, error.code)
        return ticket

    def _arm_of_sequence(self, call: PredictCall, route: LiveRoute) -> LiveArm:
        """The arm that answers all requests of a sequence."""
        assert call.sequence is not None
        call.group = call.group or call.sequence.id
        return self._sequences.arm(
            call, lambda: route.pinned(call.version) if call.version else route.pick(call.group), self._loaded
        )

    def predict(self, call: PredictCall) -> Answer:
        """:meth:`submit` and :meth:`run` in one, for a plane without ``offload``.

        Raises:
            ModelwrightError: as ``submit``, and whatever the model failed with.
        """
        outcomes: list[Answer | ModelwrightError] = []
        self.submit(call, outcomes.append)
        while not outcomes:
            self.run()
        if isinstance(outcomes[0], ModelwrightError):
            raise outcomes[0]
        return outcomes[0]

    def run(self) -> bool:
        """Run what waits; True when some of it is left for the next turn."""
        if self._reuse is not None:
            self._reuse.run()
        more = self._driver.run()
        if self.residence.pending:
            more = self.residence.step() or more
        return more

    def run_shadows(self) -> int:
        """Run what waits for the shadows, after the answers left; returns how many requests were taken up."""
        taken = 0
        while self._shadow_work:
            arm, call, answered = self._shadow_work.popleft()
            arm.loaded.in_flight -= 1
            self._shadow(arm, call, answered)
            taken += 1
        if taken:
            self._driver.run()
        if self._retired:
            self._close_idle()
        return taken

    def give_up_late(self, now: float) -> None:
        """Fail those whose time (``time.perf_counter``) ran out while their run is under way in another thread."""
        self._driver.give_up_late(now)
        if self._reuse is not None:
            self._reuse.sweep()
            for ticket in self._reuse.late(now):
                self._driver.give_up(ticket, now)
        self._streams.give_up_late(now)
        self._sequences.sweep(now)

    @property
    def able(self) -> bool:
        """False when there are models and the champion of none could answer."""
        champions = (route.champion.loaded for route in self._routes.values())
        return not self._routes or any(self.residence.state(loaded)[0] != UNAVAILABLE for loaded in champions)

    def longest_wait(self, loaded: Loaded) -> float:
        """Seconds that a request for this version would wait at most, if it came now."""
        return self._driver.longest_wait(loaded)

    def append(self, record: Record) -> None:
        """Append a record that is no prediction of this plane (ground truth)."""
        self._sink.append(record)

    def route(self, model: str) -> LiveRoute:
        """The live route of a model.

        Raises:
            NotFoundError: ``serve.unknown-model``.
        """
        route = self._routes.get(model)
        if route is None:
            raise NotFoundError(
                "serve.unknown-model",
                f"Model {model[:100]!r} is not served here.",
                fix=f"Served: {', '.join(sorted(self._routes)[:20]) or 'none'}.",
            )
        return route

    def unready(self, model: str = "", version: str = "") -> list[str]:
        """Why requests could not be answered now; empty when all could.

        Of all models, of one, or of a version of it. Shadows answer nobody, so they count only where they are named.

        Raises:
            NotFoundError: ``serve.unknown-model``, ``serve.unknown-version``.
        """
        if version:
            arms: Iterable[LiveArm] = (self.route(model).pinned(version),)
        else:
            routes = [self.route(model)] if model else self._routes.values()
            arms = (arm for route in routes for arm in route.arms)
        states = ((arm, *self.residence.state(arm.loaded)) for arm in arms)
        return [
            f"Model {arm.model!r} version {arm.version}: {why}" for arm, state, why in states if state == UNAVAILABLE
        ]

    @property
    def routes(self) -> Mapping[str, LiveRoute]:
        """Every live route by model name."""
        return self._routes

    def close(self) -> None:
        """Run what waits and give back every runner."""
        self._driver.offload = self.residence.aside = None
        self.end_streams()
        while self.run() or self.run_shadows():
            pass
        self.residence.close()
        self._routes, self._loaded = {}, {}

    def end_streams(self) -> None:
        """End every answer in chunks: the server stops."""
        self._streams.close()

    def _load_for(self, arm: LiveArm) -> None:
        self.residence.want(arm)

    def _finish(self, ticket: Ticket, outcome: Outcome, seconds: float) -> None:
        """Record what a run brought for one ticket, and tell whoever asked."""
        arm, call = ticket.arm, ticket.call
        sent = ticket.feeds if ticket.sent is None else ticket.sent
        if ticket.key and self._reuse is not None:
            self._reuse.settle(ticket, outcome, seconds)
        if isinstance(outcome, ModelwrightError):
            self._recording.request(arm, call, sent, {}, ticket.rows, seconds, outcome.code)
            if "node" in outcome.details:
                failed = Trace(str(outcome.details["node"]), ticket.rows, {}, seconds, outcome.code)
                self._recording.nodes(arm, call, (failed,))
            if arm.role != "canary" or not self._stand_in(ticket):
                ticket.done(outcome)
            return
        self._recording.request(arm, call, sent, outcome, ticket.rows, seconds, "ok")
        warnings = ticket.warnings
        if isinstance(outcome, Traced):
            self._recording.nodes(arm, call, outcome.traces)
            warnings += outcome.notes
        if call.outputs is not None:
            outcome = {name: outcome[name] for name in call.outputs}
        signature, identity = arm.loaded.signature, call.prediction_id
        if arm.role != "shadow":
            for warning in ticket.warnings:
                self.tally.warn(arm.model, warning)
            for note in warnings[len(ticket.warnings) :]:
                self.tally.fall_back(arm.model, note)
        ticket.done(
            Answer(arm.model, arm.version, arm.role, identity, outcome, ticket.rows, seconds, signature, warnings)
        )
        if not call.version and arm.role != "shadow":
            for shadow in self._routes[call.model].shadows if call.model in self._routes else ():
                shadow.loaded.in_flight += 1
                self._shadow_work.append((shadow, call, ticket.rows))

    def _stand_in(self, ticket: Ticket) -> bool:
        """A failing canary costs its caller nothing: the champion answers. False where there is none any more."""
        other = self._as_champion(ticket)
        if other is not None:
            self._driver.put(other)
        return other is not None

    def _as_champion(self, ticket: Ticket) -> Ticket | None:
        """The request as the champion takes it; None where it may not, or cannot."""
        route = self._routes.get(ticket.call.model)
        if route is None or ticket.call.group:
            return None
        try:
            return ticket_of(route.champion, ticket.call, ticket.done)
        except BadInputError:
            return None

    def _shadow(self, arm: LiveArm, call: PredictCall, answered: int) -> None:
        """Queue one request for a shadow; a failure is on record and fails nobody."""
        try:
            ticket = ticket_of(arm, call, _nobody)
        except BadInputError as error:
            self._recording.request(arm, call, {}, {}, answered, 0.0, error.code)
            return
        if self._driver.wait_seconds(arm.loaded, _SHADOW) > SHADOW_SECONDS:
            self.tally.refuse(call.model, "shadow")
            return
        ticket.actor, ticket.limit = _SHADOW, math.inf
        self._driver.put(ticket)

    def _close_idle(self) -> None:
        busy = []
        for version in self._retired:
            if version.in_flight or self.residence.is_wanted(version):
                busy.append(version)
            else:
                self.residence.release(version)
        self._retired = busy


def _nobody(_outcome: Answer | ModelwrightError) -> None:
    """Nobody waits for a shadow."""


def in_one_chunk(listener: Listener, outcome: Answer | ModelwrightError) -> None:
    """The answer of a model that gives no chunks."""
    if isinstance(outcome, ModelwrightError):
        listener.end(outcome)
        return
    listener.chunk(outcome)
    listener.end(None)
