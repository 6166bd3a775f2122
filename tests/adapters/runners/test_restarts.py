import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelwright.adapters.runners import quarantine
from modelwright.adapters.runners.quarantine import Quarantine, digest_of
from modelwright.adapters.runners.restarts import LONGEST_SECONDS, MOST, STEADY_SECONDS, WINDOW_SECONDS, Restarts


def feeds(value):
    return {"x": np.array([[value]])}


def test_the_first_restart_comes_soon_and_the_next_ones_later():
    restarts = Restarts()
    waits = [restarts.delay(0.0, 0.0) for _ in range(3)]
    assert waits == [0.1, 0.2, 0.4]


def test_after_too_many_restarts_the_version_has_failed_until_a_process_lives():
    restarts = Restarts()
    for _ in range(MOST):
        restarts.delay(0.0, 0.0)
        assert not restarts.failed
    assert restarts.delay(0.0, 0.0) == LONGEST_SECONDS
    assert restarts.failed
    assert restarts.delay(100.0, 1.0) == LONGEST_SECONDS
    assert restarts.failed
    assert restarts.delay(200.0, STEADY_SECONDS) == 0.1
    assert not restarts.failed


@given(st.lists(st.floats(0, 5), min_size=1, max_size=60))
def test_there_are_never_more_restarts_in_a_window_than_allowed(lives):
    restarts, now, starts = Restarts(), 0.0, []
    for lived in lives:
        now += lived
        now += restarts.delay(now, lived)
        starts.append(now)
    for start in starts:
        assert sum(start <= other < start + WINDOW_SECONDS for other in starts) <= MOST + 1


def test_a_request_is_quarantined_the_second_time_and_taken_again_later():
    kept = Quarantine("m")
    assert kept.blame(feeds(1.0), 0.0) is None
    assert kept.error(feeds(1.0), 0.0) is None
    assert kept.blame(feeds(1.0), 1.0).code == "serve.poison-request"
    assert kept.error(feeds(1.0), 2.0).code == "serve.poison-request"
    assert kept.error(feeds(2.0), 2.0) is None
    assert kept.error(feeds(1.0), 2.0 + quarantine.SECONDS) is None


def test_an_answer_clears_a_request():
    kept = Quarantine("m")
    kept.blame(feeds(1.0), 0.0)
    kept.clear(feeds(1.0))
    assert kept.blame(feeds(1.0), 0.0) is None


def test_only_so_many_requests_are_remembered():
    kept = Quarantine("m")
    for value in range(quarantine.REMEMBERED + 1):
        kept.blame(feeds(float(value)), 0.0)
    assert len(kept._lost) == quarantine.REMEMBERED
    assert kept.blame(feeds(0.0), 0.0) is None


def test_requests_differ_in_name_datatype_shape_and_value():
    x = np.zeros((2, 2))
    some = [
        {"x": x},
        {"y": x},
        {"x": x.astype(np.float32)},
        {"x": x.reshape(4)},
        {"x": x + 1},
        {"x": x, "y": x},
        {"x": np.array(["a", "b"], object)},
        {"x": np.array(["ab", ""], object)},
    ]
    assert len({digest_of(feeds) for feeds in some}) == len(some)
