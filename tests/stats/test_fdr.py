import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from modelwright.stats.fdr import benjamini_hochberg


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_q_values_are_those_of_scipy(p_values):
    np.testing.assert_allclose(benjamini_hochberg(p_values), stats.false_discovery_control(p_values))


def test_no_tests_give_no_q_values():
    assert benjamini_hochberg([]).shape == (0,)
