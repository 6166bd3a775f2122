"""What a process does between its requests."""

import gc
import time

from modelwright.adapters.runners.idle_watch import Idleness, IdleWatch
from modelwright.adapters.runners.restarts import BURNED_MOST, BURNED_WINDOW_SECONDS, LONGEST_SECONDS, Restarts


def looked(limit, ticks):
    """The shares that are too much, of (used, begun, busy) twice a second."""
    idleness = Idleness(limit)
    return [s for n, (u, b, busy) in enumerate(ticks) if (s := idleness.look(n / 2, u, b, busy=busy))]


def test_a_process_that_burns_without_a_request_is_told_once_for_every_five_seconds():
    assert looked(0.5, [(n * 0.4, 1, False) for n in range(21)]) == [0.8, 0.8]


def test_what_a_process_uses_while_it_runs_does_not_count():
    assert looked(0.5, [(n * 0.5, 1, True) for n in range(40)]) == []
    assert looked(0.5, [(n * 0.5, n, False) for n in range(40)]) == []


def test_idle_ticks_between_requests_add_up():
    ticks, used = [], 0.0
    for round_ in range(20):
        for busy in (True, False, False):
            used += 0.5
            ticks.append((used, round_, busy))
    assert looked(0.5, ticks) == [1.0, 1.0]


def test_a_limit_of_nothing_allows_any_use():
    assert looked(0.0, [(n * 2.0, 1, False) for n in range(40)]) == []


def test_a_quiet_process_is_left_alone():
    assert looked(0.5, [(n * 0.2, 1, False) for n in range(40)]) == []


def test_a_version_whose_processes_burn_again_and_again_has_failed_and_is_tried_ever_more_slowly():
    restarts = Restarts()
    waits = [restarts.burned(20.0 * n) for n in range(BURNED_MOST)]
    assert restarts.failed
    assert waits[-1] == LONGEST_SECONDS
    assert waits[0] < 1
    assert restarts.burned(100.0) == 2 * LONGEST_SECONDS
    assert restarts.burned(100.0 + 2 * BURNED_WINDOW_SECONDS) < 1
    assert not restarts.failed


def test_the_watch_looks_at_what_is_there_and_its_thread_ends_with_the_last_of_them():
    class One:
        looks = 0

        def look(self, now):
            self.looks += 1

    watch, one = IdleWatch(), One()
    watch.add(one)
    limit = time.monotonic() + 30
    while not one.looks:
        assert time.monotonic() < limit
        time.sleep(0.02)
    thread = watch._thread
    del one
    gc.collect()
    thread.join(30)
    assert not thread.is_alive()
