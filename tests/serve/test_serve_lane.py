"""Whose turn it is, in front of one loaded version."""

import pytest

from modelwright.core.version import Arm
from modelwright.serve import PredictCall
from modelwright.serve.lane import Lane, Ticket
from modelwright.serve.load import Loaded, prove
from modelwright.serve.pace import Pace
from modelwright.serve.route import LiveArm
from modelwright.testing.runner import FunctionRunners


@pytest.fixture
def queue(function_package):
    """``queue(batched)``: an empty lane, and ``put(actor, count, rows)``, which queues tickets in it."""

    def make(*, batched):
        package, function = function_package()
        runner = prove(package, FunctionRunners({package.digest: function}), threads=1).runner
        pace = Pace()
        pace.learn(1, 0.01)  # ten milliseconds a row: three rows in a run
        loaded = Loaded(package, runner, pace, row_independent=batched)
        arm, lane = LiveArm("times", Arm("1", package.digest, 1.0, "champion"), loaded), Lane(loaded)

        def put(actor, count=1, rows=1):
            for _ in range(count):
                lane.put(Ticket(arm, PredictCall("times", {}, actor, 0.0), {}, rows, print, actor=actor))

        return lane, put

    return make


def runs(lane):
    """Who is in each run, until nobody waits."""
    found = []
    while lane.tickets:
        found.append("".join(ticket.actor for ticket in lane.take()))
    return found


def test_callers_take_turns_when_requests_run_alone(queue):
    lane, put = queue(batched=False)
    put("a", 4)
    put("b", 2)
    assert runs(lane) == ["a", "b", "a", "b", "a", "a"]


def test_who_comes_to_one_who_was_alone_is_next(queue):
    lane, put = queue(batched=False)
    put("a", 100)
    assert [ticket.actor for ticket in lane.take()] == ["a"]
    put("b")
    assert lane.wait_seconds("b", 0.0) <= 0.03
    assert [ticket.actor for ticket in lane.take()] == ["b"]


def test_every_caller_is_in_the_next_run_when_requests_run_together(queue):
    lane, put = queue(batched=True)
    put("a", 100)
    assert len(lane.take()) == 3
    put("b", 3)
    put("c", 1)
    assert {ticket.actor for ticket in lane.take()} == {"a", "b", "c"}


def test_a_request_of_many_rows_waits_no_longer_than_its_share(queue):
    lane, put = queue(batched=False)
    put("a", 50)
    put("b", 1, rows=10)
    order = "".join(runs(lane))
    assert order.index("b") <= 10
