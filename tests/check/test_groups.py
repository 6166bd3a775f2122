import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelwright.check.groups import MOST, groups

COLUMNS = st.one_of(
    st.lists(st.floats(allow_infinity=True, width=32) | st.just(float("nan")), max_size=80).map(
        lambda values: np.array(values, dtype=np.float64)
    ),
    st.lists(st.integers(-(2**62), 2**62), max_size=80).map(lambda values: np.array(values, dtype=np.int64)),
    st.lists(st.booleans(), max_size=40).map(lambda values: np.array(values, dtype=bool)),
    st.lists(st.text(max_size=3) | st.none(), max_size=80).map(lambda values: np.array(values, dtype=object)),
)


@given(COLUMNS)
def test_every_row_is_in_one_group_and_there_are_a_dozen_and_one_at_most(column):
    found = groups(column)
    rows = np.concatenate([one.index for one in found]) if found else np.zeros(0)
    assert sorted(rows.tolist()) == list(range(len(column)))
    assert len(found) <= MOST + 1
    assert all(len(one.index) for one in found)


def test_a_number_with_many_values_is_cut_into_five_ranges_that_say_their_ends():
    column = np.arange(1000.0)
    found = groups(np.random.default_rng(0).permutation(column))
    assert [one.name for one in found] == ["0 to 199", "200 to 399", "400 to 599", "600 to 799", "800 to 999"]
    assert {len(one.index) for one in found} == {200}


def test_ranges_that_lie_close_have_as_many_digits_as_tell_them_apart():
    names = [one.name for one in groups(1000 + np.arange(100) / 1000)]
    assert len(set(names)) == 5
    assert names[0] == "1000 to 1000.019"


def test_a_value_that_most_rows_have_is_a_range_of_its_own():
    column = np.concatenate([np.zeros(900), np.arange(1.0, 101.0)])
    assert [(one.name, len(one.index)) for one in groups(column)] == [("0", 900), ("1 to 100", 100)]


def test_a_number_with_few_values_is_taken_as_it_is():
    assert [one.name for one in groups(np.array([3, 1, 1, 2]))] == ["1", "2", "3"]
    assert [one.name for one in groups(np.array([0.1, 0.25], dtype=np.float32))] == ["0.1", "0.25"]
    assert [one.name for one in groups(np.array([True, False]))] == ["False", "True"]


def test_of_many_levels_those_with_the_most_rows_stay_and_the_others_are_one_group():
    column = np.array([f"v{place:02}" for place in range(20) for _ in range(20 - place)], dtype=object)
    found = groups(column)
    assert [one.name for one in found] == [*(f"v{place:02}" for place in range(11)), "(9 other values)"]
    assert found[-1].kind == "other"


def test_rows_without_a_value_are_a_group():
    found = groups(np.array(["a", None, "a"], dtype=object))
    assert [(one.name, one.kind, len(one.index)) for one in found] == [("a", "level", 2), ("(no value)", "missing", 1)]


def test_times_are_cut_into_ranges_of_days():
    column = np.datetime64("2013-01-01T00:00:00", "us") + np.arange(100) * np.timedelta64(1, "D")
    assert groups(column)[0].name == "2013-01-01 to 2013-01-20"


def test_a_long_text_is_cut():
    (one,) = groups(np.array(["x" * 1000], dtype=object))
    assert len(one.name) == 120
