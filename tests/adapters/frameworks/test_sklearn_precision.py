"""Numbers finer than 32 bits, and rows beyond the examples: what the certificate says of them."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from modelwright.adapters.frameworks.onnx_file import session
from modelwright.adapters.frameworks.sklearn import SklearnFramework
from modelwright.core.errors import BadInputError, RefusedError
from modelwright.demo import flights
from modelwright.features.columns import feeds
from modelwright.features.tabular import table
from modelwright.ports.framework import Hints

ROWS = 300


@pytest.fixture(scope="module")
def fine():
    """A column of pairs, as 10.35702 and 10.357020378112793, of which the label is which of the two it is."""
    random = np.random.default_rng(0)
    single = np.repeat(random.normal(10, 1, 20).astype(np.float32), ROWS // 20)
    label = random.integers(0, 2, ROWS)
    shortest = np.array([float(str(value)) for value in single])
    column = np.where(label == 1, single.astype(np.float64), shortest)
    return pd.DataFrame({"load": column, "wind": random.normal(size=ROWS)}), label


def convert(model, rows):
    return SklearnFramework().convert(model, table(rows), route="onnx")


BOOSTED = {
    "classifier": HistGradientBoostingClassifier(max_iter=10),
    "regressor": HistGradientBoostingRegressor(max_iter=10),
    "of counts": HistGradientBoostingRegressor(max_iter=10, loss="poisson"),
    "in a pipeline": make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=10)),
    "in a bag": BaggingClassifier(HistGradientBoostingClassifier(max_iter=5), n_estimators=2, random_state=0),
}


@pytest.mark.parametrize("name", BOOSTED)
def test_boosted_trees_that_tell_64_bit_values_apart_pack_with_64_bit_inputs(name, fine):
    rows, label = fine
    made = convert(BOOSTED[name].fit(rows, label), rows)
    assert made.parity.holds
    assert {spec.datatype for spec in made.signature.inputs} == {"FP64"}
    assert made.parity.tried[0]["max_difference"] > 0.1


def test_boosted_trees_of_64_bits_answer_missing_and_extreme_values_as_the_model_does(fine):
    rows, label = fine
    gaps = rows.assign(wind=rows["wind"].where(rows["wind"] < 1), city=np.where(rows["wind"] > 0, "rome", "oslo"))
    encoder = make_column_transformer((OneHotEncoder(sparse_output=False), ["city"]), remainder="passthrough")
    kinds = np.array(["a", "b", "c"])[label + (rows["wind"] > 0)]
    model = make_pipeline(encoder, HistGradientBoostingClassifier(max_iter=5)).fit(gaps, kinds)
    made = convert(model, gaps)
    assert made.parity.numeric_type == "FP64"
    other = gaps.assign(load=np.where(gaps["load"] > 10, 1e300, np.nan), wind=-np.inf)
    other["wind"] = np.where(other["load"] > 10, -1e300, gaps["wind"])
    held = session(made.onnx).run(["probabilities"], feeds(made.signature, table(other)))[0]
    np.testing.assert_allclose(held, model.predict_proba(other), atol=1e-5)


@pytest.fixture(scope="module")
def ordinal(fine):
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return make_pipeline(make_column_transformer((encoder, ["load"])), DecisionTreeClassifier(random_state=0))


def test_a_refusal_over_64_bit_values_names_the_column_and_the_cure(ordinal, fine):
    rows, label = fine
    with pytest.raises(RefusedError) as caught:
        convert(ordinal.fit(rows, label), rows)
    assert caught.value.code == "pack.parity-failed"
    assert "The original itself answers differently" in caught.value.why
    assert "'load'" in caught.value.why
    assert "X.astype('float32')" in caught.value.fix
    assert caught.value.details["rounding"] > 0.5


def test_the_cure_holds(fine):
    rows, label = fine
    coarse = rows.astype("float32")
    for model in (HistGradientBoostingClassifier(max_iter=10), DecisionTreeClassifier(random_state=0)):
        assert convert(model.fit(coarse, label), coarse).parity.numeric_type == "FP32"


@pytest.fixture(scope="module")
def winter():
    """Flights of January and February to train on, some of March to prove on; a carrier is missing here and there."""
    year = flights.read_flights()
    trained = year.frame(np.flatnonzero(year.month <= 2)[::16])
    held = year.frame(np.flatnonzero(year.month == 3)[::20])
    for rows in (trained, held):
        rows.loc[rows.index[::9], "carrier"] = None
    return trained, held.drop(columns=flights.TARGET)


def late(encoder, trained):
    columns = make_column_transformer((encoder, list(flights.CATEGORIES)), remainder="passthrough")
    model = make_pipeline(columns, HistGradientBoostingClassifier(max_iter=20, random_state=0))
    return model.fit(trained.drop(columns=flights.TARGET), trained[flights.TARGET])


def test_flights_with_missing_carriers_are_refused_behind_ordinal_codes_and_pack_behind_one_hot_columns(winter):
    trained, held = winter
    with pytest.raises(RefusedError) as caught:
        convert(late(OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), trained), held)
    assert caught.value.code == "pack.parity-failed"
    assert caught.value.details["max_difference"] > 0.01
    assert held["carrier"].isna().iloc[caught.value.details["worst_row"]]
    assert "OneHotEncoder(handle_unknown='ignore')" in caught.value.fix
    made = convert(late(OneHotEncoder(handle_unknown="ignore", sparse_output=False), trained), held)
    assert made.parity.max_difference < 1e-6
    assert made.parity.adversarial.holds
    assert made.parity.adversarial.rows > 30


def test_codes_of_rare_categories_that_have_no_conversion_name_their_encoder(winter):
    trained, held = winter
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, min_frequency=50)
    with pytest.raises(RefusedError) as caught:
        convert(late(encoder, trained), held)
    assert "OrdinalEncoder" in caught.value.what
    assert "OneHotEncoder" in caught.value.fix


@pytest.fixture(scope="module")
def neighbours():
    """Forty neighbouring 32-bit numbers, ten times each, with labels by the number; and 64-bit numbers around them."""
    numbers = [np.float32(10.3)]
    for _ in range(39):
        numbers.append(np.nextafter(numbers[-1], np.float32(100)))
    column = np.repeat(np.array(numbers, dtype=np.float32), 10).astype(np.float64)
    label = np.repeat(np.random.default_rng(0).integers(0, 2, 40), 10)
    near = np.concatenate([np.nextafter(column, 0), np.nextafter(column, 100), column + 2e-7, column + 4e-7])
    return column[:, None], label, near[:, None]


TREES = {
    "tree": DecisionTreeClassifier(random_state=0),
    "forest": RandomForestClassifier(3, random_state=0),
    "boosted": GradientBoostingClassifier(n_estimators=5),
    "histograms": HistGradientBoostingClassifier(max_iter=10, min_samples_leaf=5),
    "histograms of values": HistGradientBoostingRegressor(max_iter=10, min_samples_leaf=5),
}


@pytest.mark.parametrize("name", TREES)
def test_trees_that_split_between_neighbouring_32_bit_numbers_answer_them_alike_with_32_and_64_bit_inputs(
    name, neighbours
):
    rows, label, near = neighbours
    model = TREES[name].fit(rows, label)
    for inputs, asked in (("FP32", rows), ("FP64", near)):
        made = SklearnFramework().convert(model, table(asked), route="onnx", hints=Hints({}, {"inputs": inputs}))
        assert made.parity.numeric_type == inputs
        assert made.parity.label_flips == 0


def test_a_package_of_64_bits_says_how_many_examples_and_which_columns_need_them(fine):
    rows, label = fine
    made = convert(HistGradientBoostingClassifier(max_iter=10).fit(rows, label), rows)
    assert (
        "of 300 examples get another answer when rounded to 32 bits (load): the package takes 64-bit numbers"
        in (made.notes["precision"])
    )
    assert "precision" not in convert(LogisticRegression().fit(rows, label), rows).notes


def test_inputs_other_than_of_32_or_64_bits_cannot_be_asked_for(fine):
    rows, label = fine
    with pytest.raises(BadInputError) as caught:
        SklearnFramework().convert(
            LogisticRegression().fit(rows, label), table(rows), hints=Hints({}, {"inputs": "FP16"})
        )
    assert caught.value.code == "pack.bad-option"
