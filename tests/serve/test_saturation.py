"""What waits, over several processes."""

import pytest

from modelwright.adapters.counters.mapped import MappedCounters
from modelwright.ports.counters import Part
from modelwright.serve.saturation import WAITING, Saturation, Waiting, together
from modelwright.serve.tally import OwnCounters


def test_requests_are_summed_the_wait_is_the_longest_and_the_dead_wait_for_nothing():
    def part(live, requests, seconds):
        return Part(live, {(WAITING, "m"): (requests, seconds)})

    told = together([part(True, 3, 0.25), part(True, 2, 0.5), part(False, 100, 9.0)])
    assert told == {"m": Waiting(5, 0.5)}


def test_a_model_that_is_served_no_more_has_nothing_waiting():
    counters, now = OwnCounters(), {"old": Waiting(4, 1.0)}
    saturation = Saturation(counters, lambda: now)
    saturation.publish()
    now = {"new": Waiting(1, 0.1)}
    saturation.publish()
    assert together(counters.parts()) == {"old": Waiting(0, 0), "new": Waiting(1, 0.1)}


@pytest.mark.parametrize("reader", [0, 1])
def test_another_process_reads_what_was_published(tmp_path, reader):
    counters = [MappedCounters(tmp_path, name) for name in "ab"]
    for number, own in enumerate(counters):
        Saturation(own, lambda number=number: {"m": Waiting(number + 1, number)}).publish()
    assert together(counters[reader].parts()) == {"m": Waiting(3, 1)}
