"""The three things that bench does: put loads on a server, find its capacity, try settings."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from modelwright.bench import capacity, tune
from modelwright.bench.job import Load
from modelwright.bench.session import Point, Round, Session
from modelwright.interfaces.cli.bench_report import Report
from modelwright.interfaces.cli.bench_subject import Running, Subject, Wishes, served, session
from modelwright.interfaces.cli.session import current_settings
from modelwright.settings import SETTINGS

FAILED_SHARE = 0.001
MOST_RATE = 1e6
ROUNDS_IN_A_SEARCH = 20
Tell = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Plan:
    """Loads to try; with a target their rates are searched. ``seconds`` bound it all."""

    loads: Sequence[Load]
    rounds: int
    seconds: float
    target_ms: float | None = None


def put_loads(running: Running, plan: Plan, report: Report, tell: Tell) -> None:
    """Every load, several rounds, interleaved."""
    running.session.points(plan.loads, rounds=plan.rounds, tell=tell, into=report.points)


def find_capacity(running: Running, plan: Plan, report: Report, tell: Tell) -> None:
    """The highest rate that keeps the target, within the time allowed."""
    assert plan.target_ms is not None
    target, found = plan.target_ms, capacity.Search()
    report.search = found
    each = min(5.0, max(0.2, plan.seconds / ROUNDS_IN_A_SEARCH))
    template, deadline = replace(plan.loads[0], seconds=each), time.monotonic() + plan.seconds

    slowest = 1.5  # seconds that a round takes, warm-up and the answering of a backlog included, to those it measures

    def measure(rate: float, seconds: float = each) -> capacity.Trial:
        nonlocal slowest
        began = time.monotonic()
        best = f"{found.rate:,.0f} requests/s keep it" if found.rate else "nothing keeps it yet"
        doing = "confirming" if rate == found.rate else "trying"
        tell(f"p99 <= {target:g} ms: {doing} {rate:,.0f} requests/s ({best}) ...")
        one = running.session.measure(replace(template, rate=rate, seconds=seconds))
        point = next((point for point in report.points if point.load.rate == rate), None)
        if point is None:
            point = Point(replace(template, rate=rate))
            report.points.append(point)
        point.rounds.append(one)
        slowest = max(slowest, (time.monotonic() - began) / seconds)
        return judged(one, rate, target)

    capacity.search(
        measure,
        lambda rate: measure(rate, 2 * each),
        start=max(1.0, running.warm_rate / 2),
        most=MOST_RATE,
        time_left=lambda rounds: time.monotonic() + rounds * each * slowest < deadline,
        into=found,
    )
    report.points.sort(key=lambda point: point.load.rate)


def judged(one: Round, rate: float, target_ms: float) -> capacity.Trial:
    """Whether a round kept the target: its p99, and next to nothing failed."""
    figures = one.measured.figures
    failed = sum(one.measured.errors.values()) + one.measured.unanswered
    if failed > FAILED_SHARE * (figures.answers + failed):
        return capacity.Trial(rate, figures.p99, holds=False, why=f"{failed} requests failed")
    if not figures.p99 <= target_ms:
        return capacity.Trial(rate, figures.p99, holds=False, why=f"p99 {figures.p99:.3g} ms")
    return capacity.Trial(rate, figures.p99, holds=True)


def try_settings(wishes: Wishes, subject: Subject, plan: Plan, report: Report, tell: Tell) -> None:
    """Servers of our own, each with other settings, in turns: a round of each, then the next round."""
    load = plan.loads[-1]
    open_loop = load.rate > 0
    settings = current_settings()
    now = {setting.name: getattr(settings, setting.name) for setting in SETTINGS}
    cores = len(os.sched_getaffinity(0))
    room = cores - cores // 2 if wishes.pin else cores
    native = subject.package is not None and subject.package.native is not None
    candidates = [tune.Candidate({})]
    others = tune.alternatives(now, cores=room, open_loop=open_loop, native=native)
    candidates += [tune.Candidate(changes) for changes in others]
    each = replace(load, seconds=max(0.3, 0.8 * plan.seconds / plan.rounds / (len(candidates) + 1)))
    report.points.append(Point(each, candidates[0].rounds))
    _in_turns(wishes, subject, candidates, each, plan.rounds, tell)
    report.tuned = [tune.compare(candidates[0], one, open_loop=open_loop) for one in candidates]
    together = tune.merged([one for one in report.tuned if one.better], open_loop=open_loop)
    if len(together) > 1:
        both, base = tune.Candidate(together), tune.Candidate({})
        _in_turns(wishes, subject, [base, both], each, plan.rounds, tell)
        report.tuned.append(tune.compare(base, both, open_loop=open_loop))
    chosen = tune.best(report.tuned, open_loop=open_loop)
    report.chosen = dict(chosen.candidate.changes) if chosen else None


def _in_turns(
    wishes: Wishes, subject: Subject, candidates: Sequence[tune.Candidate], load: Load, rounds: int, tell: Tell
) -> None:
    """Rounds of every candidate. Servers live side by side, idle but for the one that is asked."""
    with ExitStack() as stack:
        sessions: list[Session] = []
        for candidate in candidates:
            tell(f"starting a server: {candidate.name} ...")
            changes: Mapping[str, object] = candidate.changes
            server = stack.enter_context(served(wishes, subject, dict(changes)))
            sessions.append(stack.enter_context(session(wishes, subject, server)).session)
        for number in range(rounds):
            for candidate, one in zip(candidates, sessions, strict=True):
                tell(f"round {number + 1} of {rounds}: {candidate.name} ...")
                candidate.rounds.append(one.measure(load))
