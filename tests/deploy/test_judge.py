from __future__ import annotations

import json

import numpy as np
import pytest

from modelwright.deploy.judge import judge
from modelwright.ports.record import ArmCount


def _arm(role, ok, failed, duration=0.001):
    return ArmCount("2" if role == "canary" else "1", role, ok, failed, duration)


def _first_rollback(canary_rate, champion_rate, *, answers, weight, seed):
    """Number of canary answers at the first look that rolls back, or None; a look after every answer."""
    random = np.random.default_rng(seed)
    canary, champion = [0, 0], [0, 0]
    while sum(canary) < answers:
        arm, rate = (canary, canary_rate) if random.random() < weight else (champion, champion_rate)
        arm[int(random.random() < rate)] += 1
        said = judge(_arm("canary", *canary), _arm("champion", *champion), needed=10_000)
        if said.decision == "rollback":
            return sum(canary)
    return None


def test_a_canary_that_fails_one_in_five_is_rolled_back_before_its_sixtieth_answer():
    seen = [_first_rollback(0.2, 0.0, answers=60, weight=0.1, seed=seed) for seed in range(200)]
    assert sum(at is not None for at in seen) >= 198


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.2])
def test_a_canary_as_good_as_the_champion_is_hardly_ever_rolled_back(rate):
    seen = [_first_rollback(rate, rate, answers=150, weight=0.2, seed=seed) for seed in range(120)]
    assert sum(at is not None for at in seen) <= 4


@pytest.mark.parametrize("weight", [0.05, 0.1, 0.5])
def test_a_canary_that_fails_everything_is_rolled_back_within_thirty_answers(weight):
    seen = [_first_rollback(1.0, 0.0, answers=31, weight=weight, seed=seed) for seed in range(50)]
    assert all(at is not None and at <= 30 for at in seen)


@pytest.mark.parametrize("champion", [None, _arm("champion", 0, 0)])
def test_a_canary_that_fails_everything_is_rolled_back_without_a_champion_to_compare_with(champion):
    assert judge(_arm("canary", 0, 10), champion, needed=500).decision == "rollback"
    assert judge(_arm("canary", 0, 2), champion, needed=500).decision == "wait"


def test_a_quiet_canary_is_promoted_when_enough_answers_succeeded_and_not_before():
    champion = _arm("champion", 900, 0)
    assert judge(_arm("canary", 99, 0), champion, needed=100).decision == "wait"
    said = judge(_arm("canary", 100, 0), champion, needed=100)
    assert said.decision == "promote"
    assert "no evidence against it" in said.reason


def test_nothing_is_promoted_while_both_fail_everything():
    assert judge(_arm("canary", 0, 500), _arm("champion", 0, 500), needed=100).decision == "wait"


@pytest.mark.parametrize("canary", [None, _arm("canary", 0, 0)])
def test_a_canary_without_answers_waits(canary):
    assert judge(canary, _arm("champion", 10_000, 0), needed=0).decision == "wait"


def test_a_canary_that_is_more_than_three_times_as_slow_is_rolled_back_after_fifty_answers_of_each():
    champion = _arm("champion", 500, 0, 0.01)
    assert judge(_arm("canary", 49, 0, 0.1), champion, needed=500).decision == "wait"
    assert judge(_arm("canary", 50, 0, 0.03), champion, needed=500).decision == "wait"
    said = judge(_arm("canary", 50, 0, 0.033), champion, needed=500)
    assert said.decision == "rollback"
    assert "3.1 times as long" in said.reason


def test_one_cold_start_among_fifty_fast_answers_is_no_reason_to_roll_back():
    champion = _arm("champion", 500, 0, 0.0001)
    cold = (49 * 0.0001 + 0.09) / 50
    assert judge(_arm("canary", 50, 0, cold), champion, needed=500).decision == "wait"
    assert judge(_arm("canary", 5000, 0, 0.0004), champion, needed=10_000).decision == "rollback"


def test_the_evidence_is_json_with_the_counts_and_the_limit():
    said = judge(_arm("canary", 10, 30), _arm("champion", 400, 0), needed=500)
    assert said.decision == "rollback"
    assert "failed 30 of 40 requests, against 0 of 400 by the champion" in said.reason
    evidence = json.loads(json.dumps(said.evidence, allow_nan=False))
    assert evidence["canary_failed"] == 30
    assert evidence["champion_answers"] == 400
    assert evidence["e_value"] > evidence["limit"] == 100


def test_failures_that_are_too_few_to_judge_are_said_and_an_absent_champion_too():
    waiting = judge(_arm("canary", 0, 3), None, 20)
    assert waiting.reason == "0 of 20 canary answers; 3 failed, not enough to judge so far."
    broken = judge(_arm("canary", 0, 10), None, 20)
    assert broken.reason.startswith("The canary failed 10 of 10 requests, with no answer of the champion beside them")
