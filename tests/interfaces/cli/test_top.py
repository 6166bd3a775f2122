"""What ``top`` says of two scrapes."""

import pytest

from modelwright.interfaces.cli.figures import between, parse, quantile

BEFORE = """\
# TYPE modelwright_request_seconds histogram
modelwright_request_seconds_bucket{le="0.001",model="m",status="200",version="1"} 5
modelwright_request_seconds_bucket{le="0.01",model="m",status="200",version="1"} 10
modelwright_request_seconds_bucket{le="+Inf",model="m",status="200",version="1"} 10
modelwright_request_seconds_count{model="m",status="200",version="1"} 10
"""
AFTER = """\
# TYPE modelwright_request_seconds histogram
modelwright_request_seconds_bucket{le="0.001",model="m",status="200",version="1"} 15
modelwright_request_seconds_bucket{le="0.01",model="m",status="200",version="1"} 30
modelwright_request_seconds_bucket{le="+Inf",model="m",status="200",version="1"} 30
modelwright_request_seconds_count{model="m",status="200",version="1"} 30
modelwright_request_seconds_bucket{le="0.001",model="m",status="503",version=""} 0
modelwright_request_seconds_bucket{le="0.01",model="m",status="503",version=""} 4
modelwright_request_seconds_bucket{le="+Inf",model="m",status="503",version=""} 4
modelwright_request_seconds_count{model="m",status="503",version=""} 4
# TYPE modelwright_shed_requests counter
modelwright_shed_requests_total{model="m",reason="queue"} 3
modelwright_shed_requests_total{model="m",reason="deadline"} 1
# TYPE modelwright_version_weight gauge
modelwright_version_weight{model="m",role="champion",version="1"} 1.0
modelwright_version_weight{model="idle",role="champion",version="7"} 1.0
"""


def test_rates_are_what_was_added_between_two_scrapes():
    figures = between(parse(BEFORE, 10.0), parse(AFTER, 12.0))
    idle, model = figures.models
    assert (model.model, model.requests, model.errors, model.shed) == ("m", 12.0, 2.0, 2.0)
    assert (idle.model, idle.requests, idle.p99, idle.versions[0].version) == ("idle", 0.0, None, "7")


def test_a_counter_that_begins_anew_is_counted_from_0():
    figures = between(parse(AFTER, 10.0), parse(BEFORE, 11.0))
    assert figures.models[0].requests == 10.0


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 0.001), (0.25, 0.0005), (0.75, 0.0055), (1.0, 0.01), (0.0, None)]
)
def test_a_quantile_lies_in_its_bucket(share, expected):
    buckets = [(0.001, 5.0), (0.01, 10.0), (float("inf"), 10.0)]
    found = quantile(buckets, share)
    assert found == pytest.approx(expected if expected is not None else 0.0)


def test_a_quantile_beyond_the_last_bound_is_that_bound_and_of_nothing_there_is_none():
    assert quantile([(0.001, 0.0), (float("inf"), 3.0)], 0.5) == 0.001
    assert quantile([(0.001, 0.0), (float("inf"), 0.0)], 0.5) is None
    assert quantile([], 0.5) is None
