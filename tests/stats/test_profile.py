import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from modelwright.core.record_codec import to_json
from modelwright.core.table import Table
from modelwright.stats.profile import category_profile, number_counts, number_profile, profile

FLOATS = st.floats(allow_nan=True, allow_infinity=True, width=64)
COLUMNS = st.one_of(
    arrays(np.float64, st.integers(0, 200), elements=FLOATS),
    arrays(np.int64, st.integers(0, 200), elements=st.integers(-5, 5)),
    arrays(np.float32, st.integers(0, 200), elements=st.floats(width=32, allow_nan=True)),
)


@given(COLUMNS)
def test_bins_hold_every_row_once_and_counting_again_gives_the_same(column):
    known = number_profile(column)
    usable = column[np.isfinite(column)].astype(np.float64)
    assert sum(known.counts) + known.nulls == known.rows == len(column)
    assert len(known.edges) == len(known.counts) - 1
    assert list(known.edges) == sorted(known.edges)
    if len(set(usable.tolist())) > 1 and min(np.diff(np.unique(usable))) > 1e-300:
        assert number_counts(known, usable).tolist() == list(known.counts)


@given(COLUMNS)
def test_a_profile_is_json_without_nan(column):
    json.dumps(to_json(profile(Table({"x": column}))), allow_nan=False)


def test_continuous_numbers_get_ten_even_bins_and_exact_moments():
    values = np.random.default_rng(0).normal(size=10_000)
    known = number_profile(values)
    assert known.counts == (1000,) * 10
    assert known.median == np.median(values)
    assert (known.mean, known.std) == (values.mean(), values.std())
    assert known.tail_low == np.sort(values)[10]
    assert known.tail_high == np.sort(values)[-11]
    assert known.points == ()


def test_few_distinct_numbers_get_a_bin_each():
    known = number_profile(np.array([1, 1, 2, 7, 7, 7]))
    assert known.counts == (2, 1, 3)
    assert known.points == ((7.0, 3), (1.0, 2))


def test_a_heavy_value_is_never_split():
    values = np.concatenate((np.zeros(900), np.random.default_rng(0).normal(size=100)))
    known = number_profile(values)
    assert max(known.counts) >= 900
    assert known.points[0] == (0.0, 900)


def test_a_value_keeps_its_bin_as_float32():
    values = np.round(np.random.default_rng(0).normal(size=5_000), 2)
    known = number_profile(values)
    assert number_counts(known, values.astype(np.float32).astype(np.float64)).tolist() == list(known.counts)


def test_nan_and_infinity_are_missing_numbers():
    known = number_profile(np.array([1.0, np.nan, np.inf, -np.inf]))
    assert (known.rows, known.nulls, known.low, known.high) == (4, 3, 1.0, 1.0)


def test_levels_are_counted_with_nulls_singletons_and_a_cap():
    known = category_profile(np.array(["a", "b", "a", None, "c"], dtype=object), level_cap=2)
    assert known.levels == {"a": 2, "b": 1}
    assert (known.other, known.nulls, known.rows, known.singletons) == (1, 1, 5, 2)


def test_booleans_are_categories_and_times_have_no_profile():
    known = profile(
        Table({"b": np.array([True, False, True]), "t": np.array(["2013-01-01"] * 3, dtype="datetime64[us]")}),
        predictions={"p": np.array([0.1, 0.2, 0.3], dtype=np.float32), "label": np.array(["x"] * 3, dtype=object)},
        base_rate=0.5,
    )
    assert known.categories["b"].levels == {"True": 2, "False": 1}
    assert list(known.predictions) == ["p"]
    assert not known.numbers
    assert (known.rows, known.base_rate) == (3, 0.5)
