import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import LinearSVC

from modelwright.adapters.frameworks.onnx_file import session
from modelwright.adapters.frameworks.sklearn import SklearnFramework
from modelwright.core.errors import BadInputError, RefusedError
from modelwright.core.table import Table
from modelwright.features.columns import feeds
from modelwright.features.tabular import table
from modelwright.testing.errors import error_code
from modelwright.testing.framework import FrameworkConformance

RANDOM = np.random.default_rng(7)
ROWS = 400


@pytest.fixture(scope="module")
def frame():
    """Numbers with gaps, whole numbers, booleans, text; a name with a space, and one that an output has too."""
    rows = pd.DataFrame(
        {
            "dep time": RANDOM.normal(size=ROWS),
            "hour": RANDOM.integers(0, 24, ROWS),
            "weekend": RANDOM.random(ROWS) > 0.7,
            "carrier": RANDOM.choice(list("ABCDEFGHIJ"), ROWS),
            "label": RANDOM.normal(size=ROWS),
        }
    )
    rows.loc[::7, "dep time"] = np.nan
    return rows


@pytest.fixture(scope="module")
def late(frame):
    return (frame["carrier"].isin(list("ACEF")) ^ (frame["label"] > 0.3)).astype(int)


def with_gaps(frame):
    rows = frame.copy()
    rows.loc[::6, "carrier"] = None
    return rows


def boosted(encoder):
    return make_pipeline(
        make_column_transformer((encoder, ["carrier"]), remainder="passthrough"),
        HistGradientBoostingClassifier(max_iter=15, random_state=0),
    )


def convert(model, rows, **named):
    return SklearnFramework().convert(model, table(rows), route="onnx", **named)


class TestLogisticRegression(FrameworkConformance):
    @pytest.fixture
    def framework(self):
        return SklearnFramework()

    @pytest.fixture
    def examples(self):
        return table(np.random.default_rng(1).normal(size=(50, 3)))

    @pytest.fixture
    def model(self, examples):
        rows = np.stack(list(examples.columns.values()), axis=1)
        return LogisticRegression().fit(rows, rows[:, 0] > 0)

    @pytest.fixture
    def strangers(self):
        from pathlib import Path

        return (1, "model.joblib", object(), Path("model.onnx"), Path("model"), Table({}), pd.DataFrame())


def test_a_pickled_file_is_owned_by_its_name_alone(tmp_path):
    for name in ("m.joblib", "m.pkl", "m.pickle", "M.PKL"):
        assert SklearnFramework().owns(tmp_path / name)


def test_an_array_model_has_one_tensor_and_its_classes(frame, late):
    rows = frame[["label", "hour"]].to_numpy()
    made = convert(LogisticRegression().fit(rows, late), rows, target="late")
    signature = made.signature
    assert [(spec.name, spec.datatype, spec.shape) for spec in signature.inputs] == [("X", "FP32", (-1, 2))]
    assert signature.inputs[0].features == ("x0", "x1")
    assert (signature.task, signature.classes, signature.target) == ("binary", ("0", "1"), "late")
    assert (signature.label_output, signature.score_output) == ("label", "probabilities")
    assert made.parity.holds
    assert made.parity.max_difference < 1e-6


def test_booleans_and_floats_as_classes_stay_what_they_are(frame, late):
    rows = frame[["label"]].to_numpy()
    flags = convert(LogisticRegression().fit(rows, late.astype(bool)), rows)
    assert flags.signature.classes == ("False", "True")
    assert flags.outputs["label"].dtype == bool
    numbers = convert(LogisticRegression().fit(rows, late.astype(float)), rows)
    assert numbers.signature.classes == ("0.0", "1.0")
    assert numbers.outputs["label"].dtype == np.float64


def test_three_classes_named_by_text_are_multiclass(frame):
    kinds = frame["hour"].map(lambda hour: ("early", "noon", "evening")[hour // 8])
    made = convert(LogisticRegression(max_iter=1000).fit(frame[["label", "hour"]], kinds), frame)
    assert made.signature.task == "multiclass"
    assert made.signature.classes == ("early", "evening", "noon")
    assert made.outputs["probabilities"].shape == (ROWS, 3)
    assert set(made.outputs["label"]) <= {"early", "evening", "noon"}


@pytest.mark.parametrize(
    "model",
    [
        LinearRegression(),
        RandomForestRegressor(n_estimators=5, random_state=0),
        HistGradientBoostingRegressor(max_iter=10),
        make_pipeline(StandardScaler(), LinearRegression()),
    ],
)
def test_a_regressor_trained_on_a_frame_takes_a_tensor_for_each_column(model, frame):
    rows = frame[["hour", "label"]]
    made = convert(model.fit(rows, frame["label"] * 1000 + frame["hour"]), rows)
    assert [spec.name for spec in made.signature.inputs] == ["hour", "label"]
    assert made.signature.task == "regression"
    assert [spec.name for spec in made.signature.outputs] == ["prediction"]
    assert made.parity.holds


def test_text_booleans_and_gaps_go_through_a_pipeline(frame, late):
    made = convert(boosted(OneHotEncoder(handle_unknown="ignore", sparse_output=False)).fit(frame, late), frame)
    assert made.parity.holds
    assert made.parity.max_difference < 1e-6
    kinds = {feature.name: (feature.kind, feature.nullable) for feature in made.signature.features}
    assert kinds["dep time"] == ("number", True)
    assert kinds["hour"] == ("number", False)
    assert kinds["weekend"] == ("boolean", False)
    assert kinds["carrier"] == ("category", False)


def test_a_column_named_as_an_output_keeps_its_name_as_a_feature(frame, late):
    made = convert(boosted(OneHotEncoder(handle_unknown="ignore", sparse_output=False)).fit(frame, late), frame)
    bound = {spec.name: spec.features for spec in made.signature.inputs}
    assert bound["label_input"] == ("label",)
    assert bound["dep time"] == ("dep time",)


def test_missing_text_reaches_the_encoder_as_what_it_was_in_training(frame, late):
    rows = with_gaps(frame)
    made = convert(boosted(OneHotEncoder(handle_unknown="ignore", sparse_output=False)).fit(rows, late), rows)
    assert made.parity.holds
    carrier = next(feature for feature in made.signature.features if feature.name == "carrier")
    assert carrier.nullable
    assert carrier.null_as == "nan"


@pytest.mark.parametrize("strategy", ["constant", "most_frequent"])
def test_imputed_text_converts(strategy, frame, late):
    rows = with_gaps(frame)
    text = make_pipeline(SimpleImputer(strategy=strategy, fill_value="none"), OneHotEncoder(handle_unknown="ignore"))
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    model = make_pipeline(
        make_column_transformer((text, ["carrier"]), (numbers, ["dep time", "hour"])), LogisticRegression()
    )
    made = convert(model.fit(rows, late), rows)
    assert made.parity.holds


def test_rare_categories_grouped_by_the_encoder_convert(frame, late):
    rows = with_gaps(frame)
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False, min_frequency=35)
    model = boosted(encoder).fit(rows, late)
    unseen = rows.assign(carrier=rows["carrier"].mask(rows["label"] > 1, "ZZ"))
    assert any(group is not None for group in model[0].named_transformers_["onehotencoder"].infrequent_categories_)
    assert convert(model, unseen).parity.holds


def test_columns_the_model_drops_need_not_be_sent(frame, late):
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["carrier", "hour"]), remainder="drop"),
        LogisticRegression(),
    )
    signature = convert(model.fit(frame, late), frame).signature
    assert [spec.name for spec in signature.inputs] == ["hour", "carrier"]
    assert {feature.name for feature in signature.features} == {"hour", "carrier"}


def test_category_and_nullable_columns_convert(frame, late):
    rows = with_gaps(frame).astype({"carrier": "category", "hour": "Int64", "weekend": "boolean"})
    made = convert(boosted(OneHotEncoder(handle_unknown="ignore", sparse_output=False)).fit(rows, late), rows)
    assert made.parity.holds


def test_a_search_converts_as_its_best_estimator(frame, late):
    search = GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [0.1, 1]})
    made = convert(search.fit(frame[["label"]], late), frame)
    assert made.parity.holds


def test_a_classifier_without_probabilities_has_only_labels(frame, late):
    made = convert(make_pipeline(StandardScaler(), LinearSVC()).fit(frame[["label", "hour"]], late), frame)
    assert list(made.outputs) == ["label"]
    assert made.signature.score_output == ""
    assert made.parity.label_flips == 0


def test_mixed_object_arrays_convert_by_column(frame, late):
    rows = frame[["label", "carrier"]].to_numpy()
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(handle_unknown="ignore"), [1]), remainder="passthrough"),
        LogisticRegression(),
    )
    signature = convert(model.fit(rows, late), rows).signature
    assert [(spec.name, spec.datatype) for spec in signature.inputs] == [("x0", "FP32"), ("x1", "BYTES")]


def test_numbers_too_fine_for_float32_are_packed_as_float64(frame):
    fine = 2.0**24 + RANDOM.integers(0, 4, ROWS)
    rows = np.stack([fine], axis=1)
    made = convert(LinearRegression().fit(rows, fine - 2.0**24), rows)
    assert made.parity.holds
    assert made.parity.numeric_type == "FP64"
    assert [attempt["holds"] for attempt in made.parity.tried] == [False, True]


def test_the_certificate_refuses_an_ordinal_encoder_whose_codes_do_not_survive(frame, late):
    rows = with_gaps(frame)
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    with pytest.raises(RefusedError) as caught:
        convert(boosted(ordinal).fit(rows, late), rows)
    error = caught.value
    assert error.code == "pack.parity-failed"
    assert error.details["max_difference"] > 0.01
    assert f"row {error.details['worst_row']}" in error.why
    assert str(error.details["original"]) in error.why
    assert str(error.details["converted"]) in error.why
    assert "OneHotEncoder(handle_unknown='ignore')" in error.fix
    assert rows["carrier"].isna()[error.details["worst_row"]]
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    assert convert(boosted(one_hot).fit(rows, late), rows).parity.max_difference < 1e-6


def test_the_graph_answers_rows_it_has_not_seen_as_the_model_does(frame, late):
    model = boosted(OneHotEncoder(handle_unknown="ignore", sparse_output=False)).fit(frame, late)
    made = convert(model, frame)
    other = with_gaps(frame.sample(frac=1, random_state=1))
    other["carrier"] = other["carrier"].mask(other["hour"] > 20, "ZZ")
    names = [spec.name for spec in made.signature.outputs]
    answers = dict(zip(names, session(made.onnx).run(names, feeds(made.signature, table(other))), strict=True))
    np.testing.assert_allclose(answers["probabilities"], model.predict_proba(other), atol=1e-5)


def test_the_environment_names_what_the_model_needs_with_digests(frame, late):
    made = convert(LogisticRegression().fit(frame[["label"]], late), frame)
    lock = {row["name"]: row for row in made.environment}
    assert {"scikit-learn", "numpy", "scipy", "joblib"} <= set(lock)
    assert "pytest" not in lock
    assert len(lock["numpy"]["record_sha256"]) == 64


def test_an_unfitted_model_is_refused(frame):
    for model in (LogisticRegression(), boosted(OneHotEncoder()), GridSearchCV(LogisticRegression(), {})):
        assert error_code(convert, model, frame) == "pack.not-fitted"


class Doubled(TransformerMixin, BaseEstimator):
    def fit(self, rows, labels=None):
        self.fitted_ = True
        return self

    def transform(self, rows):
        return rows * 2


@pytest.mark.parametrize(
    ("part", "name"), [(Doubled(), "Doubled"), (FunctionTransformer(np.nan_to_num), "FunctionTransformer")]
)
def test_a_part_without_conversion_is_named(part, name, frame, late):
    with pytest.raises(RefusedError) as caught:
        convert(make_pipeline(part, LogisticRegression()).fit(frame[["label"]], late), frame)
    assert caught.value.code == "pack.unconvertible"
    assert name in caught.value.what


def test_what_is_no_fitted_estimator_is_refused(frame):
    for model in (LogisticRegression, 3):
        assert error_code(convert, model, frame) == "pack.unsupported-model"


def test_examples_that_do_not_fit_are_named(frame, late):
    model = LogisticRegression().fit(frame[["label", "hour"]], late)
    with pytest.raises(BadInputError, match="'hour'"):
        convert(model, frame[["label"]])
    array_model = LogisticRegression().fit(frame[["label", "hour"]].to_numpy(), late)
    assert error_code(convert, array_model, frame[["label"]]) == "pack.wrong-columns"
    assert error_code(convert, model, frame.head(0)) == "pack.no-examples"
    assert error_code(SklearnFramework().convert, model, None) == "pack.no-examples"
    assert error_code(convert, model, frame.assign(hour="noon")) == "pack.examples-rejected"
    assert error_code(convert, model, frame.assign(hour=pd.Timestamp("2026-01-01"))) == "pack.unsupported-column"
