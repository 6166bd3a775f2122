"""Rows made from tensors: what binds, what is reported, and what nobody is asked."""

import numpy as np
import pytest

from modelwright.adapters.frameworks.adversarial_tensors import answers_of, judge
from modelwright.adapters.frameworks.tensor_inputs import ways
from modelwright.adapters.frameworks.tensor_proof import proof, question
from modelwright.core.errors import RefusedError
from modelwright.ports.framework import NO_HINTS

ROWS = {"x": np.linspace(-1, 2, 40, dtype=np.float32).reshape(10, 4)}


def doubled(tensors):
    return {"y": 2 * tensors["x"]}


def differs_where(condition):
    """As :func:`doubled`, but for the rows where ``condition`` holds."""

    def answer(tensors):
        wrong = condition(tensors["x"]).reshape(len(tensors["x"]), -1).any(axis=1)
        return {"y": np.where(wrong[:, None], 7, 2 * tensors["x"]).astype(np.float32)}

    return answer


def asked(answer=doubled):
    return question(ways(("x",), 1, None, ROWS, {}), answer, NO_HINTS, "")


def test_the_same_network_agrees_everywhere():
    compared = judge(ROWS, doubled, doubled, 1e-6)
    assert (compared.record.holds, compared.record.differing, compared.broken) == (True, 0, "")
    assert compared.record.rows > 30


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (lambda x: (x == 0).all(axis=1), "x all zero"),
        (lambda x: (x == 2).all(axis=1), "x all highest"),
        (lambda x: (x[:, 0] == -1) & (x[:, 3] == 2), "x, column 3, highest"),
        (lambda x: np.full(len(x), len(x) > 500), "1000 rows at once"),
    ],
)
def test_a_graph_that_errs_within_what_the_examples_hold_is_refused_with_the_row_in_words(condition, words):
    with pytest.raises(RefusedError) as refused:
        proof(asked(), doubled, differs_where(condition))
    assert refused.value.code == "pack.parity-failed"
    assert words in refused.value.why


@pytest.mark.parametrize("condition", [lambda x: np.abs(x) > 3, np.isnan], ids=["beyond", "missing"])
def test_a_graph_that_errs_beyond_the_examples_is_reported_and_holds(condition):
    record = proof(asked(), doubled, differs_where(condition)).parity.adversarial
    assert record.holds
    assert record.differing > 0
    assert not any(worst["binds"] for worst in record.worst)


def test_missing_numbers_bind_where_the_examples_have_some():
    rows = {"x": np.where(ROWS["x"] > 1.9, np.nan, ROWS["x"])}
    assert "missing" in judge(rows, doubled, differs_where(np.isnan), 1e-6).broken


def test_whole_numbers_are_never_asked_beyond_those_that_were_seen():
    seen = []

    def embed(tensors):
        seen.append(tensors["x"])
        return {"y": np.eye(5, dtype=np.float32)[tensors["x"]].sum(axis=1)}

    assert judge({"x": np.arange(5)[:, None] % [3, 5]}, embed, embed, 1e-6).record.refused == 0
    assert {int(number) for tensor in seen for number in tensor.ravel()} == {0, 1, 2, 3, 4}


def test_rows_on_which_both_agree_are_kept_to_be_proven_wherever_they_load():
    proven = proof(asked(), doubled, doubled)
    kept = proven.golden(doubled)
    assert 0 < len(kept["beyond_inputs"]["x"]) <= 6
    np.testing.assert_array_equal(kept["beyond_outputs"]["y"], 2 * kept["beyond_inputs"]["x"])


def test_large_tensors_are_proven_and_not_kept():
    rows = {"x": np.ones((3, 80, 80), np.float32)}
    held = question(ways(("x",), 1, None, rows, {}), doubled, NO_HINTS, "")
    proven = proof(held, doubled, doubled)
    assert proven.parity.adversarial.rows > 0
    assert proven.beyond == {}


def test_outputs_of_any_kind_are_compared():
    answers = answers_of({"token": np.array([[1, 2], [3, 4]]), "y": np.ones((2, 3)), "z": np.zeros(2)})
    assert answers.labels.tolist() == ["1 2", "3 4"]
    assert answers.values.shape == (2, 4)
