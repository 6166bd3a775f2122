import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.check.skew import outside
from modelwright.core.table import Table
from modelwright.stats.profile import profile


def known(low: float, high: float):
    return profile(Table({"a": np.linspace(low, high, 200)})).numbers["a"]


@given(values=st.lists(st.floats(-50.0, 150.0), min_size=1, max_size=50))
def test_the_share_outside_is_counted_over_the_known_values(values):
    column = np.array([*values, np.nan])
    wanted = sum(value < 0.0 or value > 100.0 for value in values) / len(values)
    assert outside(known(0.0, 100.0), column) == pytest.approx(wanted)


@pytest.mark.parametrize("column", [np.array([]), np.array([np.nan, np.nan])])
def test_no_known_value_is_no_evidence(column):
    assert outside(known(0.0, 1.0), column) == 0.0


def test_whole_numbers_are_counted_too():
    assert outside(known(0.0, 10.0), np.array([5, 50, 500, 7])) == 0.5
