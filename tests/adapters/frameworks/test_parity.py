import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelwright.adapters.frameworks.parity import Answers, compare, refusal

PROBABILITIES = st.lists(st.floats(0, 1), min_size=1, max_size=20)


def scored(first, labels=None):
    scores = np.stack([1 - np.asarray(first, dtype=float), np.asarray(first, dtype=float)], axis=1)
    words = np.where(scores[:, 1] > 0.5, "1", "0") if labels is None else np.asarray(labels)
    return Answers(labels=words.astype(object), scores=scores)


def certificate(before, after):
    return compare(before, after, tolerance=1e-4, numeric_type="FP32")


@given(PROBABILITIES)
def test_a_model_is_in_parity_with_itself(first):
    made = certificate(scored(first), scored(first))
    assert made.holds
    assert made.max_difference == 0
    assert made.rows == len(first)


@given(PROBABILITIES, st.data())
def test_the_worst_row_is_where_the_largest_difference_is(first, data):
    worst = data.draw(st.integers(0, len(first) - 1))
    other = list(first)
    other[worst] = 1 - first[worst] if abs(1 - 2 * first[worst]) > 0.01 else 0.9
    made = certificate(scored(first), scored(other))
    assert made.worst_row == worst
    assert not made.holds


def test_a_flip_in_a_tie_does_not_count_and_another_does():
    assert certificate(scored([0.50004], ["1"]), scored([0.49998], ["0"])).holds
    made = certificate(scored([0.9], ["1"]), scored([0.9], ["0"]))
    assert made.label_flips == 1
    assert not made.holds


def test_values_are_compared_relative_to_their_size():
    large = Answers(values=np.array([1e6])), Answers(values=np.array([1e6 + 50]))
    assert certificate(*large).holds
    small = Answers(values=np.array([0.0])), Answers(values=np.array([0.001]))
    assert not certificate(*small).holds


def test_nan_agrees_with_nan_and_with_nothing_else():
    gone, here = Answers(values=np.array([np.nan])), Answers(values=np.array([1.0]))
    assert certificate(gone, gone).holds
    assert certificate(gone, here).max_difference == np.inf
    endless = Answers(values=np.array([np.inf]))
    assert certificate(endless, endless).holds


def test_answers_of_another_width_do_not_hold():
    three = Answers(labels=np.array(["0"], dtype=object), scores=np.array([[0.2, 0.3, 0.5]]))
    assert not certificate(scored([0.5]), three).holds


def test_a_refusal_shows_row_difference_and_both_answers():
    before, after = scored([0.1, 0.9]), scored([0.1, 0.5])
    error = refusal(certificate(before, after), 1, before, after, advice="Do this.")
    assert "in row 1" in error.why
    assert "[0.1, 0.9]" in error.why
    assert "[0.5, 0.5]" in error.why
    assert error.fix == "Do this."
