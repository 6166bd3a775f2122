import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.serve.pace import CLIP, Pace


@given(
    st.floats(1e-5, 1.0), st.floats(1e-7, 1e-2), st.lists(st.integers(1, 5000), min_size=3, max_size=40, unique=True)
)
def test_a_fixed_and_a_per_row_cost_are_told_apart(fixed, per_row, sizes):
    pace = Pace()
    for rows in sorted(sizes, reverse=True):  # so that no run is a surprise
        pace.learn(rows, fixed + per_row * rows)
    assert pace.seconds(1000) == pytest.approx(fixed + per_row * 1000, rel=0.05, abs=1e-6)


@given(st.lists(st.tuples(st.integers(1, 1000), st.floats(0, 10.0)), min_size=1, max_size=60))
def test_neither_part_is_ever_negative_whatever_was_measured(runs):
    pace = Pace()
    for rows, seconds in runs:
        pace.learn(rows, seconds)
        assert pace.fixed >= 0
        assert pace.per_row >= 0


def test_where_all_runs_had_one_size_all_of_the_cost_is_per_row():
    pace = Pace()
    for _ in range(10):
        pace.learn(4, 0.02)
    assert pace.seconds(8) == pytest.approx(0.04)


def test_one_run_on_a_busy_machine_does_not_change_the_figure_much():
    pace = Pace()
    for rows in (1, 10) * 20:
        pace.learn(rows, 0.001 * rows)
    pace.learn(10, 30.0)
    assert pace.seconds(10) < 0.01 * CLIP


def test_a_model_that_has_become_slower_is_believed():
    pace = Pace()
    for _ in range(50):
        pace.learn(1, 0.001)
    for _ in range(200):
        pace.learn(1, 0.01)
    assert pace.seconds(1) == pytest.approx(0.01, rel=0.1)
