"""Columns of rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modelwright.core.table import Table, as_sent, missing


def test_columns_of_a_table_have_one_length():
    with pytest.raises(ValueError, match="differ in length"):
        Table({"a": np.zeros(2), "b": np.zeros(3)})


def test_each_kind_of_column_has_its_own_missing_marker():
    assert missing(np.array([1.0, np.nan])).tolist() == [False, True]
    assert missing(np.array(["x", None, float("nan")], dtype=object)).tolist() == [False, True, True]
    assert missing(np.array(["2013-01-01", "NaT"], dtype="datetime64[us]")).tolist() == [False, True]
    assert missing(np.array([1, 2])).tolist() == [False, False]


def test_a_number_that_was_sent_as_a_short_decimal_comes_back_as_that_decimal():
    sent = np.array([39.02, 0.1, -1e-7, 10.35702, np.nan, np.inf])
    np.testing.assert_array_equal(as_sent(sent.astype(np.float32)), sent)


@given(hnp.arrays(np.float32, st.integers(0, 50), elements=st.floats(width=32)))
def test_a_32_bit_number_as_it_was_sent_is_the_same_32_bit_number(column):
    np.testing.assert_array_equal(as_sent(column).astype(np.float32), column)


def test_columns_that_are_not_32_bit_floats_stay_as_they_are():
    for column in (np.array([1.5]), np.array([1]), np.array(["x"], dtype=object)):
        assert as_sent(column) is column
