"""The plane behind every interface: named tensors in, named tensors out, each answer recorded."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from modelwright.core.errors import BadInputError, InternalError, ModelwrightError, NotFoundError
from modelwright.core.package import Package
from modelwright.core.prediction import PredictionRecord, Record
from modelwright.core.version import Arm, Route, RoutingTable
from modelwright.ports.record import RecordSink
from modelwright.ports.runner import RunnerLoader
from modelwright.serve.call import MAX_ID_LENGTH, Answer, PredictCall
from modelwright.serve.load import Loaded, load
from modelwright.serve.route import LiveArm, LiveRoute, new_prediction_id

Feeds = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A table with everything loaded and proved, ready to be swapped in."""

    table: RoutingTable
    routes: dict[str, LiveRoute]
    loaded: dict[str, Loaded]


@dataclass(slots=True)
class Tally:
    """What the plane counted since it started. ``rows`` by (model, version, role, status)."""

    rows: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    swaps: int = 0
    refused_tables: int = 0


class Plane:
    """Serves what a routing table says.

    One call of :meth:`predict` is one request. It runs on one thread, the one that also calls :meth:`commit` and
    :meth:`run_shadows`; only :meth:`prepare` may run beside it.

    Args:
        sink: where records go; the caller flushes it before answers leave (promise D2).
        runners: what loads packages.
        threads: threads per loaded version.
    """

    def __init__(self, sink: RecordSink, runners: RunnerLoader, *, threads: int = 1) -> None:
        self.tally = Tally()
        self._sink, self._runners, self._threads = sink, runners, threads
        self._routes: dict[str, LiveRoute] = {}
        self._loaded: dict[str, Loaded] = {}
        self._retired: list[Loaded] = []
        self._shadow_work: deque[tuple[LiveArm, PredictCall, int]] = deque()
        self.table: RoutingTable | None = None

    def apply(self, table: RoutingTable, open_package: Callable[[str], Package]) -> None:
        """:meth:`prepare` and :meth:`commit` in one; raises as ``prepare`` does, and then keeps the old table."""
        self.commit(self.prepare(table, open_package))

    def prepare(self, table: RoutingTable, open_package: Callable[[str], Package]) -> Prepared:
        """Load aside every digest the table needs and this plane does not hold; may run in another thread.

        Raises:
            ModelwrightError: the reason; nothing changed, and what was loaded aside is closed again.
        """
        held = self._loaded
        fresh: dict[str, Loaded] = {}
        try:
            for route in table.routes.values():
                for arm in _arms(route):
                    if arm.digest not in held and arm.digest not in fresh:
                        fresh[arm.digest] = load(open_package(arm.digest), self._runners, threads=self._threads)
            loaded = {
                arm.digest: held.get(arm.digest) or fresh[arm.digest]
                for route in table.routes.values()
                for arm in _arms(route)
            }
            routes = {name: LiveRoute(route, loaded) for name, route in table.routes.items()}
        except BaseException:
            self.tally.refused_tables += 1
            for version in fresh.values():
                version.runner.close()
            raise
        return Prepared(table, routes, loaded)

    def commit(self, prepared: Prepared) -> None:
        """Swap in one assignment; runners nobody needs are closed once nothing of theirs is in flight."""
        old = self._loaded
        self._routes, self._loaded, self.table = prepared.routes, prepared.loaded, prepared.table
        self._retired += [version for digest, version in old.items() if digest not in prepared.loaded]
        self.tally.swaps += 1
        self._close_idle()

    def predict(self, call: PredictCall) -> Answer:
        """Answer one request and append its record.

        Raises:
            NotFoundError: ``serve.unknown-model``, ``serve.unknown-version``.
            BadInputError: the request does not fit the signature, or the model rejected it.
        """
        route = self.route(call.model)
        if not call.prediction_id:
            call.prediction_id = new_prediction_id()
        elif len(call.prediction_id) > MAX_ID_LENGTH:
            raise BadInputError("serve.id-too-long", f"The id has more than {MAX_ID_LENGTH} characters.")
        arm = route.pinned(call.version) if call.version else route.pick(call.prediction_id)
        if arm.role == "canary":
            answer = self._canary(route, arm, call)
        else:
            feeds, rows = _fit(arm, call)
            answer = self._run(arm, call, feeds, rows)
        if route.shadows and not call.version:
            for shadow in route.shadows:
                shadow.loaded.in_flight += 1
                self._shadow_work.append((shadow, call, answer.rows))
        return answer

    def _canary(self, route: LiveRoute, arm: LiveArm, call: PredictCall) -> Answer:
        """A failing canary costs its caller nothing: the champion answers, and the failure stays on record."""
        try:
            feeds, rows = _fit(arm, call)
        except BadInputError as error:
            feeds, rows = _fit(route.champion, call)  # raises when it is the caller's mistake, not the canary's
            self._record(arm, call, {}, {}, rows, 0.0, error.code)
        else:
            try:
                return self._run(arm, call, feeds, rows)
            except ModelwrightError:
                feeds, rows = _fit(route.champion, call)
        return self._run(route.champion, call, feeds, rows)

    def run_shadows(self) -> int:
        """Run what waits for the shadows, after the answers left; returns how many requests were run."""
        ran = 0
        while self._shadow_work:
            arm, call, answered = self._shadow_work.popleft()
            try:
                self._shadow(arm, call, answered)
            finally:
                arm.loaded.in_flight -= 1
            ran += 1
        if self._retired:
            self._close_idle()
        return ran

    def _shadow(self, arm: LiveArm, call: PredictCall, answered: int) -> None:
        """Run one request on a shadow; a failure is on record and fails nobody."""
        try:
            feeds, rows = _fit(arm, call)
        except BadInputError as error:
            self._record(arm, call, {}, {}, answered, 0.0, error.code)
            return
        with contextlib.suppress(ModelwrightError):
            self._run(arm, call, feeds, rows)

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

    @property
    def routes(self) -> Mapping[str, LiveRoute]:
        """Every live route by model name."""
        return self._routes

    def close(self) -> None:
        """Run the waiting shadows and give back every runner."""
        self.run_shadows()
        for version in self._loaded.values():
            version.runner.close()
        self._routes, self._loaded = {}, {}

    def _run(self, arm: LiveArm, call: PredictCall, feeds: Feeds, rows: int) -> Answer:
        """Run one arm and append its record, whether it answers or fails."""
        loaded = arm.loaded
        status, outputs = "ok", {}
        began = time.perf_counter()
        try:
            outputs = loaded.run(feeds)
        except ModelwrightError as error:
            status = error.code
            raise
        except Exception as error:
            status = "serve.runner-failed"
            raise InternalError(
                status, f"Model {arm.model!r} version {arm.version} failed.", why=type(error).__name__
            ) from error
        finally:
            duration = time.perf_counter() - began
            self._record(arm, call, feeds, outputs, rows, duration, status)
        if call.outputs is not None:
            outputs = {name: outputs[name] for name in call.outputs}
        return Answer(arm.model, arm.version, arm.role, call.prediction_id, outputs, rows, duration, loaded.signature)

    def _record(
        self,
        arm: LiveArm,
        call: PredictCall,
        feeds: Feeds,
        outputs: Feeds,
        rows: int,
        duration: float,
        status: str,
    ) -> None:
        self.tally.rows[(arm.model, arm.version, arm.role, status)] += rows
        event_time = call.received_at if call.event_time is None else call.event_time
        self._sink.append(
            PredictionRecord(
                arm.model,
                arm.version,
                arm.role,
                call.prediction_id,
                event_time,
                call.received_at,
                duration,
                call.actor,
                status,
                rows,
                feeds if arm.loaded.check.batched else _by_row(feeds, rows),
                _by_row(outputs, rows),
            )
        )

    def _close_idle(self) -> None:
        for version in self._retired:
            if not version.in_flight:
                version.runner.close()
        self._retired = [version for version in self._retired if version.in_flight]


def _arms(route: Route) -> tuple[Arm, ...]:
    if not route.arms:
        raise BadInputError("serve.no-arms", f"The route of model {route.model!r} has no arm.")
    return (*route.arms, *route.shadows)


def _fit(arm: LiveArm, call: PredictCall) -> tuple[Feeds, int]:
    """Feeds and row count of this call for this arm; BadInputError when it does not fit the arm's signature."""
    loaded = arm.loaded
    for name in call.outputs or ():
        if loaded.signature.output(name) is None:
            raise BadInputError(
                "serve.unknown-output",
                f"Model {call.model!r} has no output {name[:100]!r}.",
                fix=f"It gives {', '.join(spec.name for spec in loaded.signature.outputs)}.",
            )
    return loaded.check.check(call.inputs, call.nulls)


def _by_row(tensors: Feeds, rows: int) -> Feeds:
    """Tensors whose first axis has ``rows`` entries, as a record wants them; without a row axis one is added."""
    for tensor in tensors.values():
        if tensor.shape[:1] != (rows,):
            return {
                name: t if t.shape[:1] == (rows,) else t.reshape(1, *t.shape)
                for name, t in tensors.items()
                if rows == 1 or t.shape[:1] == (rows,)
            }
    return tensors
