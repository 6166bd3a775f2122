"""What limits a server, said from what was measured: never more than the figures show."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from modelwright.bench.facts import Facts
from modelwright.bench.session import Round

Kind = Literal["generator", "machine", "stolen", "queue", "runner", "interface", "cores", "errors", "none", "unknown"]
FULL = 0.85
LATE_MS = 1.0
OTHERS = 0.25
STOLEN = 0.03
REFUSED = 0.001
KEPT_UP = 0.9


@dataclass(frozen=True, slots=True)
class Limit:
    """One finding. A ``doubt`` says that the figures may be worse than the server is."""

    kind: Kind
    says: str
    doubt: bool = False


def limits(rounds: Sequence[Round], *, workers: int | None, cores: int) -> list[Limit]:
    """What the rounds of one load show, doubts first.

    Args:
        rounds: those of one load.
        workers: gateway processes; None where unknown.
        cores: those of this machine that may be used.
    """
    if not rounds:
        return []
    return [*_doubts(rounds), *_refusals(rounds), _busiest(rounds, workers or 1, cores)]


def _doubts(rounds: Sequence[Round]) -> list[Limit]:
    found = []
    share = statistics.median(each.measured.generator_share for each in rounds)
    late = statistics.median(each.measured.figures.late_p99 for each in rounds)
    if share > FULL:
        words = f"The generator used {share:.0%} of its core: the server may be faster than this."
        found.append(Limit("generator", words, doubt=True))
    elif late > LATE_MS:
        words = (
            f"1 % of the requests were sent {late:.1f} ms late or later; that is in their latency, not the server's."
        )
        found.append(Limit("generator", words, doubt=True))
    others, stolen = _median(rounds, _others), _median(rounds, lambda facts: facts.stolen_share)
    if others is not None and others > OTHERS:
        words = f"Other programs used {others:.1f} cores of this machine: expect better figures on a quiet one."
        found.append(Limit("machine", words, doubt=True))
    if stolen is not None and stolen > STOLEN:
        words = f"The host gave {stolen:.2f} cores' time to other machines (steal)."
        found.append(Limit("stolen", words, doubt=True))
    return found


def _refusals(rounds: Sequence[Round]) -> list[Limit]:
    found = []
    answers = sum(each.measured.figures.answers for each in rounds)
    errors = sum(sum(each.measured.errors.values()) + each.measured.unanswered for each in rounds)
    shed: Counter[str] = Counter()
    for each in rounds:
        shed.update(each.facts.shed)
    if shed and sum(shed.values()) > REFUSED * (answers + errors):
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in shed.most_common())
        found.append(Limit("queue", f"The server refused requests rather than let them wait: {reasons}."))
    elif errors > REFUSED * (answers + errors):
        found.append(Limit("errors", f"{errors:,} of {answers + errors:,} requests failed."))
    return found


def _busiest(rounds: Sequence[Round], workers: int, cores: int) -> Limit:
    server = _median(rounds, lambda facts: facts.server_share)
    runner = _median(rounds, lambda facts: facts.runner_share)
    if server is None:
        return Limit("unknown", "The server is not on this machine: its processor time is not known here.")
    used = f"The server used {server:.2f} cores"
    if runner is not None and runner >= FULL * workers:
        return Limit("runner", f"The model ran {runner / workers:.0%} of the time: the runner is the limit. {used}.")
    if server >= FULL * workers:
        return _full(used, server, runner, workers)
    ours = statistics.median(each.measured.generator_share for each in rounds)
    all_used = server + (_median(rounds, _others) or 0.0) + ours
    if all_used >= FULL * cores:
        return Limit(
            "cores", f"{used}; with the generator and other programs {all_used:.1f} of {cores} cores were busy."
        )
    if not all(_kept_up(each) for each in rounds):
        return Limit("unknown", f"{used} of {workers} and did not keep up: more --connections may show more.")
    return Limit("none", f"{used} of {workers}: it had room left.")


def _full(used: str, server: float, runner: float | None, workers: int) -> Limit:
    if runner is None:
        return Limit("interface", f"{used} of {workers}.")
    share = runner / server
    part = f"{used} of {workers}; of that the model's runs took {share:.0%}"
    if share > 0.5:
        return Limit("runner", f"{part}: the runner is the limit.")
    words = "reading, checking, recording and answering requests is the limit; --workers adds cores"
    return Limit("interface", f"{part}: {words}.")


def _kept_up(one: Round) -> bool:
    asked = one.measured.load.rate
    return not asked or one.measured.figures.rate >= KEPT_UP * asked


def _others(facts: Facts) -> float | None:
    return facts.others_share


def _median(rounds: Sequence[Round], read: Callable[[Facts], float | None]) -> float | None:
    values = [value for each in rounds if (value := read(each.facts)) is not None and not math.isnan(value)]
    return statistics.median(values) if values else None
