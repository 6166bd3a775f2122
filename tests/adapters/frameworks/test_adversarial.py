"""Rows beyond the examples: which are made, which of them bind, and what is said of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelwright.adapters.frameworks.adversarial import MANY_ROWS, UNSEEN, Adversary, cases, golden_feeds
from modelwright.adapters.frameworks.parity import Answers
from modelwright.core.signature import Signature, TensorSpec
from modelwright.core.table import Table
from modelwright.features.describe import describe


def described(rows):
    return tuple(describe(name, [rows[name]], null_as="") for name in rows.names)


def rows_with(column):
    rows = Table({"n": np.array([1.0, np.nan, 3.0]), "w": column})
    return rows, described(rows)


WORDS = np.array(["a", None, "b"], dtype=object)


def test_rows_are_made_from_the_signature_one_change_at_a_time():
    rows, features = rows_with(WORDS)
    made = {case.words: case for case in cases(features, rows)}
    assert made["the first example alone"].rows["n"].tolist() == [1.0]
    everything = made["everything missing that may be"].rows
    assert np.isnan(everything["n"][0])
    assert everything["w"][0] is None
    assert made["w unseen"].rows["w"].tolist() == [UNSEEN]
    assert made["w empty"].rows["w"].tolist() == [""]
    held = [made[f"n {words}"].value for words in ("lowest", "highest", "below its range", "above its range")]
    assert held == [1.0, 3.0, -1.0, 5.0]
    assert np.signbit(made["n minus zero"].value)
    assert not made["n 1e+300"].binds
    assert made["n -4.94066e-324"].value == -5e-324


def test_whole_numbers_and_booleans_stay_what_they_are():
    rows = Table({"n": np.array([1, 4]), "b": np.array([True, False]), "u": np.array([0, 9], dtype=np.uint8)})
    made = cases(described(rows), rows)
    assert {case.rows["n"].dtype for case in made} == {np.dtype(np.int64)}
    assert {case.rows["b"].dtype for case in made} == {np.dtype(bool)}
    assert {case.value for case in made if case.feature == "u"} == {0, 9, 18}  # no number below 0 fits
    assert {case.value for case in made if case.feature == "b"} == {True, False}


COLUMNS = st.one_of(
    st.lists(st.floats(allow_infinity=False), min_size=1, max_size=5).map(
        lambda held: np.array(held, dtype=np.float64)
    ),
    st.lists(st.floats(width=32, allow_infinity=False), min_size=1, max_size=5).map(
        lambda held: np.array(held, dtype=np.float32)
    ),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5).map(np.array),
    st.lists(st.booleans(), min_size=1, max_size=5).map(np.array),
    st.lists(st.none() | st.text(max_size=3), min_size=1, max_size=5).map(lambda held: np.array(held, dtype=object)),
)


@given(st.lists(COLUMNS, min_size=1, max_size=3))
def test_every_case_of_any_columns_is_one_row_of_their_kinds_with_one_change_and_no_infinity(columns):
    shortest = min(len(column) for column in columns)
    rows = Table({f"c{index}": column[:shortest] for index, column in enumerate(columns)})
    features = described(rows)
    made = cases(features, rows)
    assert 1 <= len(made) <= 200
    for case in made:
        assert case.rows.names == rows.names
        assert len(case.rows) == 1
        for name in rows.names:
            assert case.rows[name].dtype == rows[name].dtype
            if case.feature:
                same = np.array_equal(case.rows[name], rows[name][:1], equal_nan=rows[name].dtype.kind == "f")
                assert same or name == case.feature
            if rows[name].dtype.kind == "f":
                assert not np.isinf(case.rows[name]).any()
    nullable = {feature.name for feature in features if feature.nullable}
    assert {case.feature for case in made if case.words.endswith(" missing")} == nullable


def test_many_features_give_200_rows_at_most_and_the_binding_ones_first():
    rows = Table({f"c{index}": np.array([1.0, 2.0]) for index in range(300)})
    made = cases(described(rows), rows)
    assert len(made) == 200
    assert all(case.binds for case in made)


def plain(row):
    return Answers(values=np.nan_to_num(row["n"]))


def judged(converted, original=plain, column=WORDS):
    rows, features = rows_with(column)
    return Adversary(cases(features, rows), rows, original, 1e-4).judge(converted)


def test_a_model_agrees_with_itself_on_all_of_them_one_by_one_and_many_at_once():
    asked = []

    def own(row):
        asked.append(len(row))
        return plain(row)

    compared = judged(own)
    assert (compared.record.differing, compared.record.refused, compared.broken) == (0, 0, "")
    assert compared.record.holds
    assert 1 in asked
    assert MANY_ROWS in asked


def test_a_row_that_the_original_refuses_does_not_count_and_is_noted():
    def original(row):
        if any(value == UNSEEN for value in row["w"]):
            raise ValueError(UNSEEN)
        return plain(row)

    compared = judged(plain, original)
    assert (compared.record.refused, compared.record.differing) == (1, 0)


def test_an_unseen_level_that_is_answered_otherwise_breaks_the_conversion_and_is_named():
    compared = judged(lambda row: Answers(values=np.nan_to_num(row["n"]) + (row["w"] == UNSEEN)))
    assert not compared.record.holds
    assert compared.record.max_difference == 1
    assert "w unseen: the original answers 1, the converted model 2" in compared.broken
    assert compared.record.worst[0]["value"] == UNSEEN
    assert compared.record.worst[0]["input"] == "w"


def test_a_graph_that_refuses_a_row_that_may_come_breaks_the_conversion_too():
    def converted(row):
        if (row["n"] == 5.0).any():
            raise RuntimeError
        return plain(row)

    compared = judged(converted)
    assert compared.record.max_difference == np.inf
    assert "n above its range: the original answers 5, the converted model refuses it" in compared.broken


def test_an_absurd_number_that_is_answered_otherwise_is_reported_with_its_input_and_breaks_nothing():
    def converted(row):
        return Answers(values=np.where(row["n"] > 1e200, 0, np.nan_to_num(row["n"])))

    compared = judged(converted)
    assert compared.record.holds
    assert compared.broken == ""
    assert [(one["input"], one["value"], one["binds"]) for one in compared.record.worst] == [("n", 1e300, False)]
    assert (compared.record.worst[0]["original"], compared.record.worst[0]["converted"]) == ("1e+300", "0")


def test_rows_that_agree_and_may_come_are_kept_as_tensors_for_whoever_loads_the_package():
    _, features = rows_with(WORDS)
    signature = Signature(
        (TensorSpec("n", "FP64", (-1, 1), ("n",)), TensorSpec("w", "BYTES", (-1, 1), ("w",))), (), features
    )
    held = golden_feeds(
        judged(
            lambda row: Answers(values=np.nan_to_num(row["n"]) + (row["w"] == "")),
        ),
        signature,
    )
    assert 3 <= len(held["n"]) <= 6
    assert not (np.abs(held["n"]) > 1e20).any()
