"""How busy each served model is now: what waits, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from modelwright.ports.counters import Counters, Part, Slots
from modelwright.serve.plane import Plane

WAITING = "saturation.waiting"


class Waiting(NamedTuple):
    """Requests of a model that wait or run, and the seconds that a request which comes now would wait."""

    requests: float = 0.0
    seconds: float = 0.0


class Saturation:
    """Published by each process for whichever is scraped.

    Args:
        counters: where the others read it.
        read: what waits now, by model.
    """

    def __init__(self, counters: Counters, read: Callable[[], Mapping[str, Waiting]]) -> None:
        self._counters, self._read = counters, read
        self._slots: dict[str, Slots] = {}

    def publish(self) -> None:
        """Take the figures now; a model that is served no more has nothing waiting."""
        now = self._read()
        for model in {*now, *self._slots}:
            figures = now.get(model, Waiting())
            slots = self._slots.get(model)
            if slots is None:
                self._slots[model] = self._counters.slots((WAITING, model), figures)
            else:
                slots[0], slots[1] = figures


def waiting(plane: Plane) -> dict[str, Waiting]:
    """What waits now in this process, for every model of the table in force."""
    found: dict[str, Waiting] = {}
    for model, route in plane.routes.items():
        loaded = {arm.loaded.digest: arm.loaded for arm in route.by_version.values()}.values()
        wait = max((plane.longest_wait(one) for one in loaded), default=0.0)
        found[model] = Waiting(sum(one.in_flight for one in loaded), wait)
    return found


def together(parts: Sequence[Part]) -> dict[str, Waiting]:
    """Over all processes that live: requests summed, and the longest wait."""
    found: dict[str, Waiting] = {}
    for part in parts:
        for (family, *labels), slots in part.values.items():
            if part.live and family == WAITING and len(slots) == len(Waiting._fields):
                seen = found.get(labels[0], Waiting())
                found[labels[0]] = Waiting(seen.requests + slots[0], max(seen.seconds, slots[1]))
    return found
