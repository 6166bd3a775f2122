"""Judging a canary at every look: wait, promote, or roll back, with the evidence."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from modelwright.ports.record import ArmCount
from modelwright.stats.sequential import log_e_value, log_e_value_above

ALPHA = 0.01  # chance of ever rolling back a canary that fails no more often than allowed
TOLERANCE = 0.005  # allowed excess of the canary's error rate over the champion's, absolute
LONELY_RATE = 0.05  # error rate allowed to a canary whose champion has answered nothing
LONELY_ANSWERS = 10  # answers before a canary is judged without a champion
SLOWER = 3.0  # allowed ratio of mean durations
TIMED_ANSWERS = 50  # answers of each arm before durations are compared
STALL = 0.1  # seconds taken off the canary's total time: one cold start or pause is no reason to roll back


@dataclass(frozen=True, slots=True)
class Judgement:
    """The decision, why (one sentence for the ledger), and the JSON-able figures behind it."""

    decision: Literal["wait", "promote", "rollback"]
    reason: str
    evidence: dict[str, object] = field(default_factory=dict)


def _evidence(canary: tuple[int, int], champion: tuple[int, int], tolerance: float) -> float:
    if champion[1]:
        return log_e_value(canary, champion, tolerance=tolerance)
    return log_e_value_above(canary, rate=LONELY_RATE) if canary[1] >= LONELY_ANSWERS else 0.0


def _ratio(canary: ArmCount, champion: ArmCount | None) -> float | None:
    """Mean duration of the canary, less one forgiven stall, over the champion's, once both have answered enough."""
    answers = canary.ok + canary.failed
    if champion is None or min(answers, champion.ok + champion.failed) < TIMED_ANSWERS or champion.mean_duration <= 0:
        return None
    return max(0.0, canary.mean_duration - STALL / answers) / champion.mean_duration


def judge(
    canary: ArmCount | None,
    champion: ArmCount | None,
    needed: int,
    *,
    alpha: float = ALPHA,
    tolerance: float = TOLERANCE,
) -> Judgement:
    """Decide on the counts since the canary began; may be asked after every answer.

    Rolls back as soon as the e-value of "fails more often than the champion + ``tolerance``" reaches 1 / ``alpha``
    (see :mod:`modelwright.stats.sequential`), or the canary takes more than 3 times as long with 50 answers of each
    (0.1 s of its total time is forgiven, so that one cold start does not decide).
    Promotes when neither happened by ``needed`` canary answers that succeeded. Waits otherwise: no promotion without
    evidence. With no champion answer to compare with, 5 % errors are allowed.
    """
    if canary is None or canary.ok + canary.failed == 0:
        return Judgement("wait", "The canary has not answered yet.", {"needed": needed, "canary_answers": 0})
    tried = (canary.failed, canary.ok + canary.failed)
    known = (champion.failed, champion.ok + champion.failed) if champion else (0, 0)
    log_e, ratio = _evidence(tried, known, tolerance), _ratio(canary, champion)
    figures: dict[str, object] = {
        "needed": needed,
        "canary_answers": tried[1],
        "canary_failed": tried[0],
        "champion_answers": known[1],
        "champion_failed": known[0],
        "e_value": float(f"{math.exp(min(log_e, 60.0)):.4g}"),
        "limit": 1 / alpha,
        "tolerance": tolerance,
        "duration_ratio": None if ratio is None else round(ratio, 3),
    }
    against = f"{known[0]} of {known[1]} by the champion" if known[1] else "with no answer of the champion beside them"
    if log_e >= -math.log(alpha):
        against = f"against {against}" if known[1] else against
        said = f"The canary failed {tried[0]} of {tried[1]} requests, {against}"
        return Judgement("rollback", f"{said} (e-value {figures['e_value']:g}, limit {1 / alpha:g}).", figures)
    if ratio is not None and ratio > SLOWER:
        said = f"The canary takes {ratio:.1f} times as long as the champion (allowed: {SLOWER:g} times)."
        return Judgement("rollback", said, figures)
    if canary.ok >= needed:
        said = f"The canary failed {tried[0]} of {tried[1]} requests, {against}: no evidence against it."
        return Judgement("promote", said, figures)
    so_far = f"{canary.failed} failed, not enough to judge" if canary.failed else "no evidence against it"
    return Judgement("wait", f"{canary.ok} of {needed} canary answers; {so_far} so far.", figures)
