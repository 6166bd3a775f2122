import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.stats import rates

COUNTS = st.integers(1, 500).flatmap(lambda cases: st.tuples(st.integers(0, cases), st.just(cases)))


@given(COUNTS)
def test_a_share_lies_in_its_interval_between_0_and_1(count):
    one = rates.share(*count)
    assert 0 <= one.low <= one.value <= one.high <= 1
    assert one.high - one.low > 0


def test_the_interval_of_a_share_is_wilsons():
    one = rates.share(8, 10)
    np.testing.assert_allclose([one.low, one.high], [0.4902, 0.9433], atol=1e-4)


@given(st.lists(COUNTS, min_size=2, max_size=12))
def test_difference_and_ratio_lie_in_their_intervals_and_these_where_they_can(counts):
    difference, ratio = rates.apart(counts)
    assert 0 <= difference.low <= difference.value <= difference.high <= 1
    if ratio is None:
        assert all(hits == 0 for hits, _ in counts)
    else:
        assert 0 <= ratio.low <= ratio.value <= ratio.high <= 1


@given(st.lists(COUNTS, min_size=2, max_size=6), st.randoms())
def test_the_order_of_the_groups_does_not_matter(counts, random):
    other = list(counts)
    random.shuffle(other)
    assert rates.apart(other) == rates.apart(counts)


@pytest.mark.parametrize("groups", [2, 6, 12])
def test_equal_shares_are_told_apart_by_chance_at_most_as_often_as_is_said(groups):
    random = np.random.default_rng(groups)
    drawn = random.binomial(80, 0.3, size=(300, groups))
    said = [rates.apart([(int(hits), 80) for hits in row])[0].low > 0 for row in drawn]
    assert np.mean(said) <= 0.05


def test_groups_that_differ_are_told_apart():
    difference, ratio = rates.apart([(100, 1000), (300, 1000)])
    assert difference.low > 0.1
    assert ratio.high < 0.5
