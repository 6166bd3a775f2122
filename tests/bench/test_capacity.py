"""The search finds what a server can do, whatever that is, and says how sure it is."""

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from modelwright.bench.capacity import CONFIRMATIONS, PRECISION, STEP_DOWN, Search, Trial, search


class Server:
    """A simulated one: the target holds up to a rate; time passes with every round."""

    def __init__(self, capacity, rounds, noise=0.0, seed=0):
        self.capacity, self.left, self.noise, self.random = capacity, rounds, noise, random.Random(seed)
        self.asked = []

    def measure(self, rate, cost=1):
        self.left -= cost
        self.asked.append(rate)
        holds = rate <= self.capacity and self.random.random() >= self.noise
        return Trial(rate, 1.0 if holds else 99.0, holds)

    def search(self, start, most=1e6):
        found = Search()
        search(
            self.measure,
            lambda rate: self.measure(rate, 2),
            start=start,
            most=most,
            time_left=lambda rounds: self.left >= rounds,
            into=found,
        )
        return found


@given(st.floats(2, 1e5), st.floats(1, 1e5))
def test_the_capacity_is_found_within_the_precision_and_confirmed(capacity, start):
    found = Server(capacity, 200).search(start)
    assert found.rate <= capacity <= found.rate * PRECISION * 1.0001
    assert found.settled
    assert found.confirmed == found.holding == CONFIRMATIONS


@given(st.floats(50, 1e4), st.floats(10, 1e4), st.integers(0, 30))
def test_however_little_time_there_is_what_is_given_has_held_and_the_time_is_kept(capacity, start, rounds):
    server = Server(capacity, rounds)
    found = server.search(start)
    assert found.rate == 0 or found.rate in server.asked
    assert found.rate <= capacity
    assert server.left >= -1  # the second round of a rate whose first failed


@given(st.floats(100, 1e4), st.integers(0, 50))
def test_a_round_in_ten_that_the_machine_spoils_does_not_halve_the_capacity(capacity, seed):
    found = Server(capacity, 400, noise=0.1, seed=seed).search(capacity / 5)
    assert capacity * 0.5 <= found.rate <= capacity
    assert found.settled


def test_a_server_that_never_keeps_the_target_has_no_capacity():
    found = Server(0.0, 200).search(1000)
    assert found.rate == 0
    assert not found.settled


def test_nothing_above_the_most_is_tried_and_then_nothing_failed():
    server = Server(1e9, 100)
    found = server.search(10, most=5000)
    assert max(server.asked) == found.rate == 5000
    assert found.failed == math.inf


def test_a_rate_that_its_own_rounds_do_not_confirm_is_left_for_a_lower_one():
    server = Server(1000, 300)
    found = Search()
    search(
        server.measure,
        lambda rate: Trial(rate, 99.0, holds=rate <= 850),
        start=900,
        most=1e6,
        time_left=lambda rounds: server.left >= rounds,
        into=found,
    )
    assert found.rate <= 850
    assert found.rate >= 850 * STEP_DOWN
    assert found.settled


@given(st.floats(100, 1e4), st.integers(1, 60))
def test_a_rate_is_given_only_if_a_round_of_it_has_held_wherever_the_time_ends(capacity, rounds):
    server = Server(capacity, rounds)
    found = Search()
    search(
        server.measure,
        lambda rate: server.measure(rate * 1.2, 2),  # confirmation is harder than the search
        start=capacity / 3,
        most=1e6,
        time_left=lambda rounds: server.left >= rounds,
        into=found,
    )
    assert found.rate == 0 or any(trial.holds and trial.rate >= found.rate for trial in found.trials)
