"""Making a routing table ready beside the traffic: what is new is loaded and proved before it gets any."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.core.package import Package
from modelwright.core.version import Arm, Route, RoutingTable
from modelwright.serve import room
from modelwright.serve.load import Loaded
from modelwright.serve.loader import Closed, told
from modelwright.serve.residence import Residence
from modelwright.serve.route import LiveRoute

_RANK = {"champion": 0, "canary": 1, "shadow": 2, "pinned": 3}

Without = Callable[[RoutingTable, Mapping[str, ModelwrightError]], RoutingTable]
"""The table that leaves out the digests that could not be loaded."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A table ready to be swapped in. ``failed`` says why a digest was left out of it."""

    table: RoutingTable
    routes: dict[str, LiveRoute]
    loaded: dict[str, Loaded]
    failed: dict[str, ModelwrightError] = field(default_factory=dict)


def arms_of(route: Route) -> tuple[Arm, ...]:
    """Every arm and shadow.

    Raises:
        BadInputError: ``serve.no-arms``.
    """
    if not route.arms:
        raise BadInputError("serve.no-arms", f"The route of model {route.model!r} has no arm.")
    return (*route.arms, *route.shadows)


class Preparation:
    """One table on its way into force.

    Args:
        residence: what loads, and within which budget.
        held: by digest, what the plane holds now; nothing of it is changed here.
        open_package: gives the package of a digest.
        first: no table is in force yet.
    """

    def __init__(
        self,
        residence: Residence,
        held: Mapping[str, Loaded],
        open_package: Callable[[str], Package],
        *,
        first: bool,
    ) -> None:
        self._residence, self._held, self._open, self._first = residence, held, open_package, first
        self._fresh: dict[str, Loaded] = {}
        self._failed: dict[str, ModelwrightError] = {}

    def prepare(self, table: RoutingTable, without: Without | None) -> Prepared:
        """Load what the table needs and is not held, as far as the budget allows.

        Raises:
            ModelwrightError: the reason; what was loaded is closed again. Where ``without`` is given, a package that
                cannot be loaded is left out instead.
        """
        self._residence.loader.spread(len(table.routes))
        try:
            while self._fill(table, without) and without is not None:
                table = without(table, self._failed)
            digests = {arm.digest for route in table.routes.values() for arm in arms_of(route)}
            loaded = {digest: self._held.get(digest) or self._fresh[digest] for digest in digests}
            routes = {name: LiveRoute(route, loaded) for name, route in table.routes.items()}
            self._require_room_for_pinned(table, loaded)
        except BaseException:
            self._close(self._fresh)
            raise
        self._close({digest: version for digest, version in self._fresh.items() if digest not in loaded})
        return Prepared(table, routes, loaded, self._failed)

    def _fill(self, table: RoutingTable, without: Without | None) -> bool:
        """Load every new digest, the most urgent first; True when some could not be."""
        before, new = len(self._failed), self._in_order(table)
        for digest in new:
            try:
                self._fresh[digest] = Loaded(self._open(digest))
            except Exception as error:
                if without is None:
                    raise
                self._failed[digest] = told(error)
        self._require_room_for_pinned(table, {**self._held, **self._fresh})
        must, room_left = self._at_once(table), self._room(table)
        urgent = time.perf_counter()
        for place, digest in enumerate(new):
            version = self._fresh.get(digest)
            if version is None:
                continue
            if self._first and digest not in must and room.estimate(version) > room_left:
                continue
            try:
                proved = self._residence.loader.prove(version.package)
            except Exception as error:
                if without is None:
                    raise
                self._failed[digest] = told(error)
                continue
            version.take(proved)
            version.used = urgent - place * 1e-6  # the most urgent is unloaded last
            if digest not in must and version.memory_bytes > room_left:
                closed = self._close({digest: version})
                version.note(closed.returned_bytes, closed.freed_bytes)  # proved, and loaded again by its first request
            else:
                room_left -= version.memory_bytes
        return len(self._failed) > before

    def _in_order(self, table: RoutingTable) -> list[str]:
        """The digests that are not held: pinned models and champions first, recently used models first."""
        ranked: dict[str, tuple[bool, int, float]] = {}
        for model, route in table.routes.items():
            arms = arms_of(route)
            used = max((self._held[arm.digest].used for arm in arms if arm.digest in self._held), default=0.0)
            for arm in arms:
                if not any(arm.digest in known for known in (self._held, self._fresh, self._failed)):
                    rank = (model not in self._residence.budget.pinned, _RANK[arm.role], -used)
                    ranked[arm.digest] = min(rank, ranked.get(arm.digest, rank))
        return sorted(ranked, key=ranked.__getitem__)

    def _at_once(self, table: RoutingTable) -> set[str]:
        """Digests that are loaded whatever the budget: of pinned models, and those that follow a version in memory.

        The latter overshoot the budget until the version that they follow is unloaded.
        """
        pinned = self._residence.budget.pinned
        inside = {version.package.name for version in self._held.values() if version.runner is not None}
        return {
            arm.digest
            for model, route in table.routes.items()
            if model in pinned or model in inside
            for arm in route.arms
            if arm.role != "pinned"
        }

    def _room(self, table: RoutingTable) -> float:
        budget = self._residence.budget.memory_bytes
        if not budget:
            return math.inf
        digests = {arm.digest for route in table.routes.values() for arm in arms_of(route)}
        return budget - room.held(version for digest, version in self._held.items() if digest in digests)

    def _require_room_for_pinned(self, table: RoutingTable, versions: Mapping[str, Loaded]) -> None:
        budget = self._residence.budget
        digests = {
            arm.digest
            for model in budget.pinned & table.routes.keys()
            for arm in table.routes[model].arms
            if arm.role != "pinned"
        }
        need = sum(room.estimate(versions[digest]) for digest in digests if digest in versions)
        if budget.memory_bytes and need > budget.memory_bytes:
            raise room.over_budget(f"The pinned models need {need:,} bytes", 0, budget.memory_bytes)

    def _close(self, versions: Mapping[str, Loaded]) -> Closed:
        return self._residence.loader.close(
            [runner for version in versions.values() if (runner := version.drop()) is not None]
        )
