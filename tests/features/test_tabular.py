import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core.table import Table, missing
from modelwright.features.tabular import column, rows_evenly, table
from modelwright.testing.errors import error_code


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pd.Series(["a", None, "b"]), ["a", None, "b"]),
        (pd.Series(["a", np.nan, "b"], dtype=object), ["a", None, "b"]),
        (pd.Series(["a", pd.NA, "b"], dtype="string"), ["a", None, "b"]),
        (pd.Series(["a", None, "b"], dtype="category"), ["a", None, "b"]),
        (pd.Series([1, "x", None], dtype=object), ["1", "x", None]),
        (["a", None], ["a", None]),
        (np.array(["a", "b"]), ["a", "b"]),
        ([b"a", None], ["a", None]),
    ],
)
def test_text_becomes_objects_with_none_for_gaps(values, expected):
    made = column(values)
    assert made.dtype == object
    assert made.tolist() == expected


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        (pd.Series([1, 2]), np.int64, [1, 2]),
        (pd.Series([1, 2], dtype="Int64"), np.int64, [1, 2]),
        (pd.Series([1, None], dtype="Int64"), np.float64, [1, np.nan]),
        (pd.Series([1.5, None], dtype="Float32"), np.float64, [1.5, np.nan]),
        (pd.Series([True, False]), np.bool_, [True, False]),
        (pd.Series([True, False], dtype="boolean"), np.bool_, [True, False]),
        (pd.Series([True, None], dtype="boolean"), np.float64, [1, np.nan]),
        (pd.Series([True, None], dtype=object), np.float64, [1, np.nan]),
        (pd.Series([3, 1], dtype="category"), np.int64, [3, 1]),
        (pd.Series([1.5, np.nan], dtype=np.float32), np.float32, [1.5, np.nan]),
        (np.array([1.5], dtype=np.float16), np.float64, [1.5]),
        (np.array([[1], [2]]), np.int64, [1, 2]),
        ([1, 2.5, None], np.float64, [1, 2.5, np.nan]),
        ([2**70, 1], np.float64, [2.0**70, 1]),
        ([float("nan")], np.float64, [np.nan]),
    ],
)
def test_numbers_and_booleans_keep_their_kind_and_gaps_are_nan(values, dtype, expected):
    made = column(values)
    assert made.dtype == dtype
    np.testing.assert_array_equal(made.astype(float), np.array(expected, dtype=float))


def test_times_become_utc_microseconds():
    zoned = pd.Series(pd.to_datetime(["2026-01-01T12:00:00+02:00", None], utc=False))
    expected = np.array(["2026-01-01T10:00", "NaT"], dtype="datetime64[us]")
    for values in (zoned, zoned.dt.tz_convert("UTC").dt.tz_localize(None), zoned.dt.tz_convert(dt.UTC).tolist()):
        made = column(values)
        assert made.dtype == np.dtype("datetime64[us]")
        np.testing.assert_array_equal(made, expected)


def test_every_shape_of_rows_gives_the_same_table():
    expected = {"a": [1, 2], "b": ["x", None]}
    shapes = [
        pd.DataFrame({"a": [1, 2], "b": ["x", None]}),
        {"a": [1, 2], "b": ["x", None]},
        [{"a": 1, "b": "x"}, {"a": 2}],
        Table({"a": np.array([1, 2]), "b": np.array(["x", None], dtype=object)}),
    ]
    for rows in shapes:
        made = table(rows)
        assert {name: made[name].tolist() for name in made.names} == expected


def test_arrays_name_their_columns_in_order():
    assert table(np.zeros((2, 3))).names == ("x0", "x1", "x2")
    assert table([[1, 2]], ["p", "q"]).names == ("p", "q")


def test_rows_that_are_not_tabular_are_refused():
    for rows in (np.zeros(3), np.zeros((2, 2, 2)), {"a": [1], "b": [1, 2]}, [1, 2]):
        assert error_code(table, rows) == "features.not-tabular"
    assert error_code(table, np.zeros((2, 3)), ["a"]) == "features.not-tabular"
    assert error_code(table, pd.DataFrame([[1, 2]], columns=["a", "a"])) == "features.not-tabular"


@given(st.lists(st.one_of(st.none(), st.text(max_size=5), st.integers(), st.floats(), st.booleans())))
def test_any_list_becomes_a_column_of_the_same_length_and_gaps(values):
    made = column(values)
    assert len(made) == len(values)
    gaps = [value is None or value != value for value in values]  # noqa: PLR0124 - NaN is what differs from itself
    assert missing(made).tolist() == gaps


@given(st.integers(0, 5000), st.integers(2, 300))
def test_evenly_chosen_rows_are_distinct_ordered_and_reach_both_ends(count, cap):
    rows = rows_evenly(count, cap)
    assert len(rows) == min(count, cap)
    assert (np.diff(rows) > 0).all()
    if count:
        assert (rows[0], rows[-1]) == (0, count - 1)
