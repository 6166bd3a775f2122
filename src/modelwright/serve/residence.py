"""What is in memory: versions are loaded aside when they are asked for, and those long unused make room."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from modelwright.core.errors import ModelwrightError, UnavailableError
from modelwright.ports.runner import Runner
from modelwright.serve import room
from modelwright.serve.drive import Driver
from modelwright.serve.load import Loaded, Proved
from modelwright.serve.loader import Closed, Loader
from modelwright.serve.route import LiveArm, LiveRoute
from modelwright.serve.tally import Tally

FIRST_BACKOFF, LONGEST_BACKOFF = 1.0, 60.0
"""Seconds after a failed load in which the version is not tried again; they double with every failure."""

Aside = Callable[[Callable[[], Any], Callable[[Any], None]], None]
"""Runs the first function in another thread and hands its result to the second one on the plane's thread."""

Told = Callable[[ModelwrightError | None], object]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be held in memory.

    ``memory_bytes`` is what the versions in memory may hold together (0: any); ``pinned`` models are never unloaded;
    ``threads`` are those of one version, no more than its share of ``cores``.
    """

    memory_bytes: int = 0
    pinned: frozenset[str] = frozenset()
    threads: int = 1
    cores: int = 1


NO_BUDGET = Budget()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a version could not be loaded, and until when (``time.monotonic``) it is not tried again."""

    error: ModelwrightError
    until: float
    seconds: float


class Residence:
    """Keeps versions within a budget of memory, on the plane's thread.

    Args:
        loader: loads and closes, in whatever thread.
        driver: whose lanes wait for loads.
        tally: counts loads and unloadings.
        budget: how much may be held.
        aside: takes loads off this thread; None: they are made here.
    """

    def __init__(self, loader: Loader, driver: Driver, tally: Tally, *, budget: Budget, aside: Aside | None) -> None:
        self.loader, self.aside, self.budget = loader, aside, budget
        self.pending = False
        self._driver, self._tally = driver, tally
        self._versions: Mapping[str, Loaded] = {}
        self._champions: dict[str, Loaded] = {}
        self._pinned: set[Loaded] = set()
        self._wanted: dict[Loaded, LiveArm] = {}
        self._loading: dict[Loaded, int] = {}
        self._unloading: set[Loaded] = set()
        self._failures: dict[str, Failure] = {}
        self._watchers: dict[Loaded, list[Told]] = {}

    def put_in_force(self, routes: Mapping[str, LiveRoute], versions: Mapping[str, Loaded]) -> None:
        """A new table: what it names may be in memory, and what is over the budget goes."""
        self._versions = versions
        self._champions = {model: route.champion.loaded for model, route in routes.items()}
        self._pinned = {arm.loaded for model in self.budget.pinned if model in routes for arm in routes[model].arms}
        self._failures = {digest: failure for digest, failure in self._failures.items() if digest in versions}
        self._trim(())

    def want(self, arm: LiveArm) -> None:
        """Load this version at the next :meth:`step`: somebody waits for it."""
        if arm.loaded not in self._loading:
            self._wanted.setdefault(arm.loaded, arm)
            self.pending = True

    def warm(self, arm: LiveArm, told: Told) -> None:
        """Load this version if it is not in memory, and say when it is, or why it cannot be."""
        if arm.loaded.runner is None:
            self._failures.pop(arm.loaded.digest, None)
        self.when_open(arm, told)

    def when_open(self, arm: LiveArm, told: Told) -> None:
        """The same, but a version that could not be loaded a moment ago is not tried again sooner than for others."""
        if arm.loaded.runner is not None:
            told(None)
            return
        self._watchers.setdefault(arm.loaded, []).append(told)
        self.want(arm)

    def step(self) -> bool:
        """Begin the loads that there is room for; True when something was opened meanwhile, on this thread."""
        now, opened = time.monotonic(), False
        for loaded, arm in list(self._wanted.items()):
            failure = self._failures.get(loaded.digest)
            if loaded.package.native is None and self._measured():
                continue
            try:
                if failure is not None and now < failure.until:
                    raise failure.error
                victims = self._victims(arm)
            except ModelwrightError as error:
                del self._wanted[loaded]
                self._refuse(loaded, error)
                opened = True
                continue
            if victims is not None:
                del self._wanted[loaded]
                self._begin(arm, victims)
                opened = opened or self.aside is None
        self._trim(())
        return opened

    def release(self, loaded: Loaded) -> None:
        """Give back a version that is out of the table."""
        self._unload([loaded])

    def is_wanted(self, loaded: Loaded) -> bool:
        """Whether a load of this version is wanted or under way."""
        return loaded in self._loading or loaded in self._wanted

    def state(self, loaded: Loaded) -> tuple[str, str]:
        """State and reason of a version, in the words of the repository extension."""
        if loaded.runner is not None:
            why = loaded.runner.unready()
            return ("UNAVAILABLE", why) if why else ("READY", "")
        if loaded in self._loading:
            return "LOADING", ""
        failure = self._failures.get(loaded.digest)
        if failure is not None:
            return "UNAVAILABLE", str(failure.error)
        if loaded in self._unloading:
            return "UNLOADING", "its memory is being given back; its next request loads it"
        if not loaded.returned_bytes:
            return "READY", "not in memory; its next request loads it"
        figures = f"it held {loaded.memory_bytes:,} bytes, and {loaded.returned_bytes:,} came back"
        return "READY", f"not in memory: {figures}; its next request loads it"

    def figures(self) -> tuple[int, int]:
        """How many versions are in memory, and the bytes that they hold."""
        inside = [version for version in self._versions.values() if version.runner is not None]
        return len(inside), room.held(inside)

    def close(self) -> None:
        """Give back every runner."""
        self._unload(list(self._versions.values()))
        self._versions, self._champions, self._pinned = {}, {}, set()

    def _measured(self) -> bool:
        """Whether a load in this process is under way: what it really holds is known before the next one begins."""
        return any(loaded.package.native is None for loaded in self._loading)

    def _victims(self, arm: LiveArm) -> list[Loaded] | None:
        """Who must go for this one; None while nobody can. A version never drives its own champion out.

        Raises:
            UnavailableError: ``serve.over-budget``.
        """
        if not self.budget.memory_bytes:
            return []
        promised = sum(self._loading.values())
        return room.make_room(
            room.estimate(arm.loaded),
            self.budget.memory_bytes,
            self._versions.values(),
            self._kept(arm),
            promised,
        )

    def _kept(self, arm: LiveArm) -> set[Loaded]:
        champion = self._champions.get(arm.model)
        return (self._pinned | {champion} if champion is not None else self._pinned) - {arm.loaded}

    def _begin(self, arm: LiveArm, victims: Sequence[Loaded]) -> None:
        loaded = arm.loaded
        self._loading[loaded] = room.estimate(loaded)
        runners = self._take_out(victims)
        self._aside(partial(self.loader.replace, runners, loaded.package), partial(self._back, arm, victims))

    def _back(self, arm: LiveArm, victims: Sequence[Loaded], came: tuple[Closed, Proved | ModelwrightError]) -> None:
        loaded, (closed, outcome) = arm.loaded, came
        self._returned(victims, closed)
        del self._loading[loaded]
        if isinstance(outcome, ModelwrightError):
            self._refuse(loaded, self._note(arm, outcome))
            return
        self._failures.pop(loaded.digest, None)
        self._tally.load(arm.model, "loaded")
        loaded.take(outcome)
        loaded.used = time.perf_counter()
        kept, budget = self._kept(arm), self.budget.memory_bytes
        stays = room.held(kept)
        if budget and loaded.memory_bytes > budget - stays:
            self._refuse(loaded, room.over_budget(f"It holds {loaded.memory_bytes:,} bytes", stays, budget))
            self._unload([loaded])
            return
        self._trim({loaded, *kept})
        self._driver.open(loaded)
        self._tell(loaded, None)

    def _refuse(self, loaded: Loaded, error: ModelwrightError) -> None:
        self._driver.fail_all(loaded, error)
        self._tell(loaded, error)

    def _tell(self, loaded: Loaded, error: ModelwrightError | None) -> None:
        for told in self._watchers.pop(loaded, ()):
            told(error)

    def _note(self, arm: LiveArm, cause: ModelwrightError) -> ModelwrightError:
        """The error for everybody who waits for a version that could not be loaded."""
        before = self._failures.get(arm.loaded.digest)
        seconds = min(LONGEST_BACKOFF, 2 * before.seconds) if before else FIRST_BACKOFF
        error = load_failed(arm.model, arm.version, cause, seconds)
        self._failures[arm.loaded.digest] = Failure(error, time.monotonic() + seconds, seconds)
        self._tally.load(arm.model, "failed")
        _logger.error("not loaded", extra={"model": arm.model, "version": arm.version, **cause.to_json()})
        return error

    def _trim(self, keep: Iterable[Loaded]) -> None:
        """Unload what is over the budget, as far as nobody uses it."""
        over = False
        if self.budget.memory_bytes:
            kept = self._pinned.union(keep)
            excess = room.held(self._versions.values()) - self.budget.memory_bytes
            if excess > 0:
                idle = [v for v in self._versions.values() if v.runner and not v.in_flight and v not in kept]
                victims = []
                for version in sorted(idle, key=lambda version: version.used):
                    if excess <= 0:
                        break
                    victims.append(version)
                    excess -= version.memory_bytes
                self._unload(victims)
                over = excess > 0
        self.pending = over or bool(self._wanted)

    def _unload(self, victims: Sequence[Loaded]) -> None:
        runners = self._take_out(victims)
        if runners:
            self._aside(partial(self.loader.close, runners), partial(self._returned, victims))

    def _take_out(self, victims: Sequence[Loaded]) -> list[Runner]:
        runners = []
        for victim in victims:
            self._driver.forget(victim)
            runner = victim.drop()
            if runner is not None:
                self._unloading.add(victim)
                self._tally.load(victim.package.name, "unloaded")
                runners.append(runner)
        return runners

    def _returned(self, victims: Sequence[Loaded], closed: Closed) -> None:
        for victim in victims:
            self._unloading.discard(victim)
        if len(victims) == 1:
            victims[0].note(closed.returned_bytes, closed.freed_bytes)

    def _aside(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        if self.aside is None:
            then(work())
        else:
            self.aside(work, then)


def load_failed(model: str, version: str, cause: ModelwrightError, seconds: float) -> UnavailableError:
    """The error for whoever asks for a version that cannot be loaded."""
    return UnavailableError(
        "serve.load-failed",
        f"Version {version} of model {model!r} could not be loaded.",
        why=str(cause),
        fix=f"It is tried again after {seconds:g} s; the server's log tells more.",
        details={"cause": cause.code, "retry_after": max(1, round(seconds))},
    )
