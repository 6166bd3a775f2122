"""Models that stay code: what a package of them says, and that it is what the model itself says."""

import sys
import types

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy.stats import zscore
from sklearn.cluster import DBSCAN, KMeans
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.neighbors import KNeighborsClassifier, LocalOutlierFactor, NearestCentroid, RadiusNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.semi_supervised import LabelSpreading

from modelwright.adapters.frameworks.sklearn import SklearnFramework
from modelwright.adapters.frameworks.sklearn_native import convert_native
from modelwright.core.errors import BadInputError, RefusedError
from modelwright.core.native import Native
from modelwright.features.tabular import table
from modelwright.native import open_model

RANDOM = np.random.default_rng(11)
COUNT = 90
NUMBERS = pd.DataFrame({"age": RANDOM.integers(18, 80, COUNT), "spend": RANDOM.normal(50, 9, COUNT).round(2)})
WORDS = pd.DataFrame(
    {
        "town": pd.Series(RANDOM.choice(["Ulm", "Zürich", "Nîmes"], COUNT), dtype=object).mask(
            RANDOM.random(COUNT) < 0.1
        ),
        "age": NUMBERS["age"],
        "spend": NUMBERS["spend"].mask(RANDOM.random(COUNT) < 0.1),
        "known": RANDOM.random(COUNT) < 0.5,
    }
)
YES = np.where(NUMBERS["age"] + RANDOM.normal(0, 9, COUNT) > 45, "late", "ontime")
THREE = np.digitize(NUMBERS["spend"], [45, 55])
VALUE = NUMBERS["spend"].to_numpy() * 2 + 1


def encoded(encoder, numbers=None):
    return make_column_transformer(
        (encoder, ["town"]), (numbers or SimpleImputer(), ["age", "spend"]), remainder="passthrough"
    )


def converted(tmp_path, model, rows):
    joblib.dump(model, tmp_path / "model.joblib")
    return convert_native(model, tmp_path / "model.joblib", table(rows), target="t", why="Because.")


CLASSIFIERS = {
    "Gaussian process": (GaussianProcessClassifier(), NUMBERS, YES),
    "nearest centroid": (NearestCentroid(), NUMBERS, YES),
    "radius neighbours": (RadiusNeighborsClassifier(radius=40.0), NUMBERS, THREE),
    "neighbours by distance": (KNeighborsClassifier(weights="distance"), NUMBERS, YES),
    "label spreading": (LabelSpreading(gamma=0.1), NUMBERS, THREE),
    "the most frequent": (DummyClassifier(), NUMBERS, YES),
    "a threshold": (FixedThresholdClassifier(LogisticRegression(), threshold=0.3), NUMBERS, YES),
    "splines": (make_pipeline(SplineTransformer(n_knots=3), LogisticRegression()), NUMBERS, YES),
    "a function of NumPy": (make_pipeline(FunctionTransformer(np.cbrt), LogisticRegression()), NUMBERS, THREE == 0),
    "text and gaps": (
        make_pipeline(encoded(OneHotEncoder(handle_unknown="ignore")), GaussianProcessClassifier()),
        WORDS,
        YES,
    ),
    "targets for text": (make_pipeline(encoded(TargetEncoder()), LogisticRegression()), WORDS, YES),
    "ordinal codes": (
        make_pipeline(
            encoded(OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)),
            LogisticRegression(max_iter=500),
        ),
        WORDS,
        YES,
    ),
    "neighbours for gaps": (
        make_pipeline(encoded(OneHotEncoder(), KNNImputer()), StandardScaler(), LogisticRegression()),
        WORDS,
        THREE,
    ),
    "an indicator": (make_pipeline(encoded(OneHotEncoder(), MissingIndicator()), LogisticRegression()), WORDS, YES),
    "a search": (GridSearchCV(GaussianProcessClassifier(), {"max_iter_predict": [5]}, cv=2), NUMBERS, YES),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_answers_as_itself_row_by_row_and_together(tmp_path, name):
    model, rows, truth = CLASSIFIERS[name]
    model.fit(rows, truth)
    made = converted(tmp_path, model, rows)
    assert made.native == Native("sklearn", "model.joblib")
    assert made.onnx == b""
    assert made.parity.holds
    assert made.row_independent
    assert made.outputs["label"].tolist() == model.predict(rows).astype(made.outputs["label"].dtype).tolist()
    if hasattr(model, "predict_proba"):
        np.testing.assert_allclose(made.outputs["probabilities"], model.predict_proba(rows), atol=1e-9)
    assert made.signature.classes == tuple(str(label) for label in model.classes_)
    assert made.signature.task == ("binary" if len(model.classes_) == 2 else "multiclass")
    assert [spec.name for spec in made.signature.inputs] == list(rows)
    assert made.notes == {"route": "Because."}


REGRESSORS = {
    "Gaussian process": GaussianProcessRegressor(normalize_y=True),
    "the mean": DummyRegressor(),
    "a function of the target": TransformedTargetRegressor(
        Ridge(), func=np.cbrt, inverse_func=np.spacing, check_inverse=False
    ),
    "splines": make_pipeline(SplineTransformer(n_knots=3), Ridge()),
}


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_regressor_gives_its_values(tmp_path, name):
    model = REGRESSORS[name].fit(NUMBERS, VALUE)
    made = converted(tmp_path, model, NUMBERS)
    assert made.parity.holds
    assert (made.signature.task, made.signature.label_output) == ("regression", "prediction")
    np.testing.assert_allclose(made.outputs["prediction"].reshape(-1), model.predict(NUMBERS), rtol=1e-9)


def test_a_regressor_of_one_plain_column_gives_its_values(tmp_path):
    model = IsotonicRegression(out_of_bounds="clip").fit(NUMBERS[["age"]].to_numpy(), VALUE)
    made = converted(tmp_path, model, NUMBERS[["age"]].to_numpy())
    np.testing.assert_allclose(made.outputs["prediction"].reshape(-1), model.predict(NUMBERS[["age"]].to_numpy()))


TWO = np.stack([VALUE, -VALUE], axis=1)
TASKLESS = {
    "outliers": (IsolationForest(n_estimators=3, random_state=0), ["label", "score"]),
    "clusters": (KMeans(3, n_init=1, random_state=0), ["label", "distances"]),
    "two targets": (RandomForestRegressor(2, random_state=0), ["prediction_0", "prediction_1"]),
    "features": (StandardScaler(), ["transformed"]),
}


@pytest.mark.parametrize("name", TASKLESS)
def test_what_predicts_neither_a_class_nor_one_value_gives_its_answers_by_name_and_claims_no_task(tmp_path, name):
    model, outputs = TASKLESS[name]
    made = converted(tmp_path, model.fit(NUMBERS, TWO), NUMBERS)
    assert made.signature.task == "none"
    assert [spec.name for spec in made.signature.outputs] == outputs
    assert list(made.outputs) == outputs
    assert made.parity.adversarial.rows > 10
    if "transformed" in outputs:
        np.testing.assert_array_equal(made.outputs["transformed"], model.transform(NUMBERS))
    elif "prediction_1" in outputs:
        np.testing.assert_array_equal(made.outputs["prediction_1"].reshape(-1), model.predict(NUMBERS)[:, 1])
    else:
        np.testing.assert_array_equal(made.outputs["label"], model.predict(NUMBERS))


def test_categories_that_trees_split_on_stay_categories(tmp_path):
    rows = WORDS.astype({"town": "category"})
    model = HistGradientBoostingClassifier(max_iter=3, categorical_features="from_dtype").fit(rows, YES)
    made = converted(tmp_path, model, rows)
    np.testing.assert_allclose(made.outputs["probabilities"], model.predict_proba(rows))


def test_whole_numbers_stay_whole_only_where_the_model_needs_them_so(tmp_path):
    rows = NUMBERS[["age"]].assign(days=NUMBERS["age"] * 3)
    free = converted(tmp_path, LogisticRegression().fit(rows, YES), rows)
    bits = converted(tmp_path, make_pipeline(FunctionTransformer(np.invert), LogisticRegression()).fit(rows, YES), rows)
    assert {spec.datatype for spec in free.signature.inputs} == {"FP64"}
    assert {spec.datatype for spec in bits.signature.inputs} == {"INT64"}
    assert bits.parity.numeric_type == "as in the examples"
    assert [attempt["holds"] for attempt in bits.parity.tried] == [False, True]


def test_rows_that_depend_on_each_other_are_said_to(tmp_path):
    model = make_pipeline(FunctionTransformer(zscore), LogisticRegression()).fit(NUMBERS, YES)
    made = converted(tmp_path, model, NUMBERS)
    assert not made.row_independent
    assert "do not stand alone" in made.notes["rows"]


def test_an_empty_text_that_is_a_level_and_a_gap_are_two_things(tmp_path):
    rows = WORDS.assign(town=WORDS["town"].where(WORDS["age"] > 30, ""))
    model = make_pipeline(encoded(OneHotEncoder()), LogisticRegression(max_iter=1000)).fit(rows, YES)
    made = converted(tmp_path, model, rows)
    town = next(feature for feature in made.signature.features if feature.name == "town")
    assert "" in town.categories
    assert town.null_as == "nan"
    np.testing.assert_allclose(made.outputs["probabilities"], model.predict_proba(rows))


def test_a_column_that_is_called_as_an_output_is_gets_another_name_among_the_tensors(tmp_path):
    rows = NUMBERS.rename(columns={"age": "label"})
    made = converted(tmp_path, NearestCentroid().fit(rows, YES), rows)
    assert [(spec.name, spec.features) for spec in made.signature.inputs] == [
        ("label_input", ("label",)),
        ("spend", ("spend",)),
    ]


def test_the_environment_lists_what_opening_the_model_imports(tmp_path):
    model = make_pipeline(FunctionTransformer(zscore), LogisticRegression())
    plain = converted(tmp_path, model.fit(NUMBERS.to_numpy(), YES), NUMBERS.to_numpy())
    framed = converted(tmp_path, model.fit(NUMBERS, YES), NUMBERS)
    held = {row["name"] for row in plain.environment}
    assert {"scikit-learn", "scipy", "numpy", "joblib"} <= held
    assert "pandas" not in held
    assert "pandas" in {row["name"] for row in framed.environment}


def test_the_examples_must_be_there_and_be_ones_that_the_model_takes(tmp_path):
    model = NearestCentroid().fit(NUMBERS, YES)
    for rows, code in (
        (NUMBERS[:0], "pack.no-examples"),
        (NUMBERS[["age"]], "pack.missing-column"),
        (NUMBERS.assign(age=np.nan), "pack.examples-rejected"),
    ):
        with pytest.raises(BadInputError) as caught:
            converted(tmp_path, model, rows)
        assert caught.value.code == code


def test_what_says_nothing_about_new_rows_is_no_model_and_names_the_nearest_that_is(tmp_path):
    for model, way in ((DBSCAN(), "fit_predict"), (LocalOutlierFactor(), "novelty=True")):
        with pytest.raises(BadInputError) as caught:
            converted(tmp_path, model.fit(NUMBERS), NUMBERS)
        assert caught.value.code == "pack.unsupported-model"
        assert "predict" in caught.value.why
        assert way in caught.value.fix


def test_the_route_is_onnx_where_it_can_be_native_where_it_must_be_and_whatever_is_asked_for(tmp_path):
    free, bound = LogisticRegression().fit(NUMBERS, YES), NearestCentroid().fit(NUMBERS, YES)
    joblib.dump(bound, tmp_path / "bound.pkl")
    rows, framework = table(NUMBERS), SklearnFramework()
    assert framework.convert(free, rows).native is None
    asked = framework.convert(free, rows, route="native")
    assert asked.native
    assert asked.notes["route"] == "It was asked for."
    forced = framework.convert(tmp_path / "bound.pkl", rows)
    assert forced.native
    assert "NearestCentroid has no conversion" in forced.notes["route"]
    assert forced.files == {"model.joblib": (tmp_path / "bound.pkl").read_bytes()}
    assert "own process" in forced.notes["isolation"]
    assert framework.convert(bound, rows).files["model.joblib"]
    with pytest.raises(RefusedError):
        framework.convert(bound, rows, route="onnx")


def test_a_graph_that_answers_otherwise_gives_way_to_the_model_itself(tmp_path):
    model = KNeighborsClassifier(weights="distance").fit(NUMBERS.to_numpy(), YES)
    made = SklearnFramework().convert(model, table(NUMBERS.to_numpy()))
    assert made.native
    assert "does not answer as the original does" in made.notes["route"]
    file = tmp_path / made.native.file
    file.write_bytes(made.files[made.native.file])
    answers = open_model(made.native, file, made.signature)(made.inputs)
    assert answers["label"].tolist() == model.predict(NUMBERS.to_numpy()).tolist()


def test_a_class_that_no_installed_module_defines_is_refused_with_both_reasons(monkeypatch):
    class Mine(NearestCentroid):
        pass

    module = types.ModuleType("of_this_test_only")
    module.Mine = Mine
    Mine.__module__, Mine.__qualname__ = module.__name__, "Mine"
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(BadInputError) as caught:
        SklearnFramework().convert(Mine().fit(NUMBERS, YES), table(NUMBERS))
    assert caught.value.code == "pack.unreadable-model"
    assert "of_this_test_only" in caught.value.what
    assert "has no conversion to ONNX" in caught.value.why


def test_what_cannot_be_pickled_is_refused_with_the_words_of_the_conversion_or_of_the_pickling():
    model = make_pipeline(FunctionTransformer(lambda rows: rows * 2), LogisticRegression()).fit(NUMBERS, YES)
    for route, code in (("auto", "pack.unconvertible"), ("native", "pack.unpicklable")):
        with pytest.raises((BadInputError, RefusedError)) as caught:
            SklearnFramework().convert(model, table(NUMBERS), route=route)
        assert caught.value.code == code
