"""What a plane counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelwright.ports.counters import Counters, Key, Part, Slots
from modelwright.serve.statistics import Statistics

ROWS, RUNS, SHED = "modelwright_predictions", "modelwright_runs", "modelwright_shed_requests"
WARNINGS = "modelwright_input_warnings"
FALLBACKS = "modelwright_fallbacks"
RUNNER_RESTARTS, KILLS = "modelwright_runner_restarts", "modelwright_runner_kills"
QUARANTINED = "modelwright_quarantined_requests"
LOADS, REUSED = "modelwright_model_loads", "modelwright_cached_requests"
SWAPS, REFUSED_TABLES = "modelwright_swaps", "modelwright_refused_tables"


class OwnCounters:
    """A :class:`~modelwright.ports.counters.Counters` of a process that counts alone; gone when it ends."""

    def __init__(self) -> None:
        self._values: dict[Key, list[float]] = {}

    def slots(self, key: Key, values: Sequence[float]) -> Slots:
        """A list."""
        made = self._values[key] = list(values)
        return made

    def parts(self) -> Sequence[Part]:
        """One part."""
        return (Part(live=True, values=self._values),)


class Tally:
    """Predicted rows, runs, refused requests, tables put in force and tables refused.

    ``statistics`` tell more of each version.

    Args:
        counters: where to count.
    """

    def __init__(self, counters: Counters) -> None:
        self.counters = counters
        self.statistics = Statistics(counters)
        self._slots: dict[Key, Slots] = {}
        self._swaps = counters.slots((SWAPS,), (0.0,))  # made now: a table may be refused in another thread
        self._refused_tables = counters.slots((REFUSED_TABLES,), (0.0,))

    def count(self, model: str, version: str, role: str, status: str, rows: int) -> None:
        """Count predicted rows."""
        self._add((ROWS, model, version, role, status), rows)

    def run(self, model: str, requests: int) -> None:
        """Count a run of that many requests together."""
        self._add((RUNS, model, str(1 << (requests - 1).bit_length())), 1)

    def refuse(self, model: str, reason: str) -> None:
        """Count a request that was not run."""
        self._add((SHED, model, reason), 1)

    def warn(self, model: str, warning: str) -> None:
        """Count a request with a value that the model has not seen."""
        self._add((WARNINGS, model, warning), 1)

    def fall_back(self, model: str, note: str) -> None:
        """Count a request that a fallback inside a graph answered; ``note`` is ``fallback NODE REASON``."""
        _, node, reason = note.split(" ")
        self._add((FALLBACKS, model, node, reason), 1)

    def restart(self, model: str) -> None:
        """Count a process that was started again."""
        self._add((RUNNER_RESTARTS, model), 1)

    def kill(self, model: str, reason: str) -> None:
        """Count a process that ended: ``crashed``, ``hung``, ``violated``."""
        self._add((KILLS, model, reason), 1)

    def quarantine(self, model: str) -> None:
        """Count a request that is not run again."""
        self._add((QUARANTINED, model), 1)

    def load(self, model: str, outcome: str) -> None:
        """Count a version ``loaded`` on demand, one that ``failed`` to, or one ``unloaded``."""
        self._add((LOADS, model, outcome), 1)

    def reuse(self, model: str, outcome: str) -> None:
        """Count a request looked up in the cache: a ``hit``, a ``miss``, or ``joined`` to an equal one under way."""
        self._add((REUSED, model, outcome), 1)

    def swap(self) -> None:
        """Count a table put in force."""
        self._swaps[0] += 1

    def refuse_table(self) -> None:
        """Count a table that could not be loaded."""
        self._refused_tables[0] += 1

    @property
    def rows(self) -> Mapping[Key, int]:
        """Rows that this plane predicted, by (model, version, role, status)."""
        return self._of(ROWS)

    @property
    def runs(self) -> Mapping[Key, int]:
        """Runs by (model, requests that ran together, up to the next power of two)."""
        return self._of(RUNS)

    @property
    def warnings(self) -> Mapping[Key, int]:
        """Requests with values that the model has not seen, by (model, what and feature)."""
        return self._of(WARNINGS)

    @property
    def fallbacks(self) -> Mapping[Key, int]:
        """Requests that a fallback answered, by (model, node, reason)."""
        return self._of(FALLBACKS)

    @property
    def shed(self) -> Mapping[Key, int]:
        """Requests that were not run, by (model, reason)."""
        return self._of(SHED)

    @property
    def loads(self) -> Mapping[Key, int]:
        """Loads on demand and unloadings, by (model, outcome)."""
        return self._of(LOADS)

    def _add(self, key: Key, count: int) -> None:
        slots = self._slots.get(key)
        if slots is None:
            slots = self._slots[key] = self.counters.slots(key, (0.0,))
        slots[0] += count

    def _of(self, family: str) -> Mapping[Key, int]:
        return {key[1:]: int(slots[0]) for key, slots in self._slots.items() if key[0] == family}
