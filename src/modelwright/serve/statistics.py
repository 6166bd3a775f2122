"""What every version has done, in whatever role and in all processes: requests, runs, and where the time went."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field

from modelwright.ports.counters import Counters, Key, Part, Slots
from modelwright.ports.runner import Outcome
from modelwright.serve.lane import Ticket
from modelwright.serve.stages import BOUNDS, Stages, count

EXACT_ROWS = 64
"""Runs of more rows are counted together: up to the next power of two."""
_RUNS, _FAILED, _LAST = "statistics.runs", "statistics.failed", "statistics.last"
_REUSED = "statistics.reused"


@dataclass(slots=True)
class Runs:
    """Runs of one size that answered somebody.

    ``requests`` were answered by them, ``rows`` are those of the requests. Seconds of checking the requests
    (``input``), of their waiting (``queue``), of the runs (``infer``), and of recording and encoding the answers
    (``output``). ``shared_infer`` and ``shared_output`` are what is to be added so that each request has its whole run.
    """

    requests: int = 0
    runs: int = 0
    rows: int = 0
    input_seconds: float = 0.0
    queue_seconds: float = 0.0
    infer_seconds: float = 0.0
    output_seconds: float = 0.0
    shared_infer_seconds: float = 0.0
    shared_output_seconds: float = 0.0


_NEW = astuple(Runs())


@dataclass(slots=True)
class Served:
    """What one version has done.

    ``batches`` has its runs by their rows (see :data:`EXACT_ROWS`); ``failed`` counts requests that failed once they
    were taken, or whose time ran out; ``reused`` those answered without a run of their own, ``missed`` those that the
    cache had no answer for; ``last`` is when the first request of the latest run came (Unix time).
    """

    batches: dict[int, Runs] = field(default_factory=dict)
    failed: int = 0
    failed_seconds: float = 0.0
    reused: int = 0
    reused_seconds: float = 0.0
    missed: int = 0
    last: float = 0.0

    def total(self) -> Runs:
        """The runs of all sizes."""
        total = Runs()
        for runs in self.batches.values():
            total = _sum(total, astuple(runs))
        return total


class Statistics:
    """Counts by (model, version). A run that two versions of one package share counts for its first request's.

    Counting is on every request's path, so it changes plain attributes; :meth:`publish` copies them to the counters.

    Args:
        counters: where other processes read what this one has counted.
    """

    def __init__(self, counters: Counters) -> None:
        self.stages = Stages(counters)
        self._counters = counters
        self._served: dict[tuple[str, str], Served] = {}
        self._slots: dict[Key, Slots] = {}

    @property
    def served(self) -> Mapping[tuple[str, str], Served]:
        """What each version has done in this process."""
        return self._served

    def ran(
        self, tickets: Sequence[Ticket], outcomes: Sequence[Outcome], rows: int, began: float, ended: float
    ) -> None:
        """Count a run whose answers are made; moments are those of ``time.perf_counter``."""
        now = time.perf_counter()
        head: Ticket | None = None
        arm, first, answered, taken, inputs, queue = None, True, 0, 0, 0.0, 0.0
        for ticket, outcome in zip(tickets, outcomes, strict=True):
            if ticket.cancelled:
                continue
            if not isinstance(outcome, dict):
                self.fail(ticket, now)
                continue
            if ticket.arm is not arm:
                if head is not None:
                    self._add(head, rows, Runs(answered, first, taken, inputs, queue, ended - began, now - ended))
                    first = False
                head, arm, answered, taken, inputs, queue = ticket, ticket.arm, 0, 0, 0.0, 0.0
                decodes, queues, _, _ = self.stages.of(arm.model)
            queued = ticket.queued
            decode, waited = queued - (ticket.started or ticket.arrived), began - queued
            decodes[bisect_left(BOUNDS, decode)] += 1
            decodes[-1] += decode
            queues[bisect_left(BOUNDS, waited)] += 1
            answered += 1
            taken += ticket.rows
            inputs += queued - ticket.arrived
            queue += waited
        if head is not None:
            self._add(head, rows, Runs(answered, first, taken, inputs, queue, ended - began, now - ended))

    def _add(self, head: Ticket, rows: int, run: Runs) -> None:
        """Count what one version had of a run of so many rows; ``run.runs`` is 1 for the version that has the run."""
        served, stages = self._of(head), self.stages.of(head.arm.model)
        served.last = head.call.received_at
        runs = served.batches.get(rows) or _runs(served, rows)
        requests, infer, output = run.requests, run.infer_seconds, run.output_seconds
        runs.requests += requests
        runs.rows += run.rows
        runs.input_seconds += run.input_seconds
        runs.queue_seconds += run.queue_seconds
        stages.queue[-1] += run.queue_seconds
        count(stages.infer, infer, requests)
        count(stages.encode, output, requests)
        if run.runs:
            runs.runs += 1
            runs.infer_seconds += infer
            runs.output_seconds += output
            requests -= 1
        runs.shared_infer_seconds += infer * requests
        runs.shared_output_seconds += output * requests

    def fail(self, ticket: Ticket, now: float) -> None:
        """Count a request that failed, or whose time ran out."""
        served = self._of(ticket)
        served.failed += 1
        served.failed_seconds += now - ticket.arrived

    def reused(self, ticket: Ticket) -> None:
        """Count a request that got the answer of an equal one."""
        served = self._of(ticket)
        served.reused += 1
        served.reused_seconds += time.perf_counter() - ticket.arrived
        served.last = ticket.call.received_at

    def missed(self, ticket: Ticket) -> None:
        """Count a request that the cache has no answer for."""
        self._of(ticket).missed += 1

    def publish(self) -> None:
        """Let the other processes see what was counted until now."""
        self.stages.publish()
        for version, served in self._served.items():
            self._put((_FAILED, *version), (served.failed, served.failed_seconds))
            self._put((_REUSED, *version), (served.reused + served.missed, served.reused, served.reused_seconds))
            self._put((_LAST, *version), (served.last,))
            for size, runs in served.batches.items():
                self._put((_RUNS, *version, str(size)), astuple(runs))

    def read(self) -> Mapping[tuple[str, str], Served]:
        """What each version has done in all processes together; what has done nothing yet is not in it.

        ``last`` is that of the processes that live.
        """
        self.publish()
        return together(self._counters.parts())

    def _put(self, key: Key, values: Sequence[float]) -> None:
        slots = self._slots.get(key)
        if slots is None:
            self._slots[key] = self._counters.slots(key, values)
        elif slots[0] != values[0]:  # the first of them changes with any
            for index, value in enumerate(values):
                slots[index] = value

    def _of(self, ticket: Ticket) -> Served:
        version = (ticket.arm.model, ticket.arm.version)
        served = self._served.get(version)
        if served is None:
            served = self._served[version] = Served()
        return served


def together(parts: Sequence[Part]) -> Mapping[tuple[str, str], Served]:
    """What each version has done in all of these processes, as :meth:`Statistics.read` tells it."""
    found: defaultdict[tuple[str, str], Served] = defaultdict(Served)
    for part in parts:
        for (family, *labels), slots in part.values.items():
            if family == _RUNS and len(slots) == len(_NEW):
                batches = found[labels[0], labels[1]].batches
                batches[int(labels[2])] = _sum(batches.get(int(labels[2])), slots)
            elif family == _FAILED:
                served = found[labels[0], labels[1]]
                served.failed += int(slots[0])
                served.failed_seconds += slots[1]
            elif family == _REUSED:
                served = found[labels[0], labels[1]]
                served.missed += int(slots[0] - slots[1])
                served.reused += int(slots[1])
                served.reused_seconds += slots[2]
            elif family == _LAST and part.live:
                served = found[labels[0], labels[1]]
                served.last = max(served.last, slots[0])
    return found


def _runs(served: Served, rows: int) -> Runs:
    """Where runs of so many rows are counted."""
    size = rows if rows <= EXACT_ROWS else 1 << (rows - 1).bit_length()
    return served.batches.setdefault(size, Runs())


def _sum(runs: Runs | None, slots: Sequence[float]) -> Runs:
    requests, runs_count, rows, *seconds = map(sum, zip(astuple(runs or Runs()), slots, strict=True))
    return Runs(int(requests), int(runs_count), int(rows), *seconds)
