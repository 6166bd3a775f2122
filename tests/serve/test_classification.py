"""Scores as the best classes of each row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from modelwright.core.errors import BadInputError
from modelwright.serve.classification import classify


def test_each_row_gives_its_best_classes_first():
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]], dtype=np.float32)
    assert classify(scores, 2, ["a", "b", "c"]).tolist() == [
        ["0.700000:1:b", "0.200000:2:c"],
        ["0.500000:0:a", "0.300000:2:c"],
    ]


def test_without_a_label_for_each_class_there_are_none():
    assert classify(np.array([[0.25, 0.75]]), 1, ["only"]).tolist() == [["0.750000:1"]]


def test_one_dimension_is_one_row_and_more_than_two_are_a_row_each():
    assert classify(np.array([1.0, 3.0]), 2, ()).tolist() == [["3.000000:1", "1.000000:0"]]
    assert classify(np.zeros((2, 2, 3)), 9, ()).shape == (2, 6)
    assert classify(np.zeros((0, 3)), 2, ()).size == classify(np.zeros((3, 0)), 2, ()).size == 0


def test_whole_numbers_stay_whole_and_keep_their_order_to_the_last_bit():
    largest = np.array([[2**64 - 2, 2**64 - 1, 0]], dtype=np.uint64)
    assert classify(largest, 2, ()).tolist() == [[f"{2**64 - 1}:1", f"{2**64 - 2}:0"]]
    smallest = np.array([[-(2**63), 2**63 - 1]], dtype=np.int64)
    assert classify(smallest, 2, ()).tolist() == [[f"{2**63 - 1}:1", f"{-(2**63)}:0"]]


@given(arrays(np.float32, (3, 5)), st.integers(1, 8))
def test_scores_descend_ties_keep_their_order_and_what_is_no_number_comes_last(scores, count):
    for row, told in zip(scores.tolist(), classify(scores, count, ()).tolist(), strict=True):
        order = [int(one.split(":")[1]) for one in told]
        expected = sorted(range(5), key=lambda index: (np.isnan(row[index]), -np.nan_to_num(row[index], nan=0), index))
        assert len(order) == min(count, 5)
        assert [row[index] for index in order if row[index] == row[index]] == [
            row[index] for index in expected[:count] if row[index] == row[index]
        ]


@pytest.mark.filterwarnings("error")
def test_a_signalling_nan_is_a_nan():
    scores = np.frombuffer(bytes([1, 0, 0x80, 0x7F, 0, 0, 0x80, 0x3F]), "<f4").reshape(1, 2)
    assert classify(scores, 2, ()).tolist() == [["1.000000:1", "nan:0"]]


@pytest.mark.parametrize(
    ("tensor", "count", "code"),
    [
        (np.array([["a"]], dtype=object), 1, "serve.not-classifiable"),
        (np.zeros((1, 2)), 0, "serve.bad-classification"),
    ],
)
def test_what_cannot_be_classified_is_said_so(tensor, count, code):
    with pytest.raises(BadInputError) as caught:
        classify(tensor, count, ())
    assert caught.value.code == code
