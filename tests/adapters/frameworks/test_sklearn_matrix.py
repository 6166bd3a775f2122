"""Which scikit-learn models pack: each converts with a certificate that holds, or is refused by name with a way out."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_selection import RFE, SelectFromModel, SelectKBest, VarianceThreshold
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNet,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    Perceptron,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestCentroid
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from modelwright.adapters.frameworks.onnx_file import session
from modelwright.adapters.frameworks.sklearn import SklearnFramework
from modelwright.core.errors import RefusedError
from modelwright.features.columns import feeds
from modelwright.features.tabular import table

ROWS = 160
HELD = 80
NUMBERS = ["age", "visits", "spend"]
TEXT = ["city", "plan"]


def logistic():
    return LogisticRegression(max_iter=500)


def stump():
    return DecisionTreeClassifier(max_depth=3, random_state=0)


def one_hot(**named):
    return OneHotEncoder(handle_unknown="ignore", **named)


def columns(encoder, rest="drop"):
    return make_column_transformer((StandardScaler(), NUMBERS), (encoder, TEXT), remainder=rest, sparse_threshold=0)


def frame(*, gaps=False, text=False):
    """Floats, whole numbers and booleans side by side; with gaps, and with text, where asked for."""
    random = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "age": random.normal(40, 10, ROWS).round(2),
            "visits": random.integers(0, 6, ROWS),
            "member": random.random(ROWS) > 0.5,
            "spend": random.gamma(2, 50, ROWS).round(2),
        }
    )
    if text:
        rows["city"] = random.choice(["rome", "oslo", "bern"], ROWS)
        rows["plan"] = random.choice(["a", "b"], ROWS)
    if gaps:
        rows.loc[::7, "age"] = np.nan
        if text:
            rows.loc[::6, "city"] = None
    return rows


PLAIN, GAPPED, WORDS, GAPPED_WORDS = frame(), frame(gaps=True), frame(text=True), frame(gaps=True, text=True)
SCORE = ((PLAIN["age"] - 40) / 10 + PLAIN["member"] - 0.5 + np.random.default_rng(1).normal(size=ROWS) / 3).to_numpy()
BINARY = (SCORE > 0).astype(int)
WORD = np.array(["low", "mid", "high"])[np.digitize(SCORE, [-0.5, 0.5])]
VALUE = SCORE * 10 + 60


def fitted(model, rows, labels):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(rows[:HELD], labels[:HELD])


def holds(model, rows, labels):
    """Fits on the first rows, packs on the others, and asks the graph itself once more, column by name."""
    model = fitted(model, rows, labels)
    held = rows[HELD:]
    made = SklearnFramework().convert(model, table(held))
    assert made.parity.holds
    assert made.parity.rows == ROWS - HELD
    names = [spec.name for spec in made.signature.outputs]
    answers = dict(zip(names, session(made.onnx).run(names, feeds(made.signature, table(held))), strict=True))
    said = answers["prediction"].reshape(-1) if "prediction" in answers else answers["label"]
    truth = model.predict(held)
    if "prediction" in answers:
        np.testing.assert_allclose(said, truth, rtol=1e-3, atol=1e-3)
    else:
        assert (np.asarray(said).astype(str) == np.asarray(truth).astype(str)).mean() > 0.97
    return made


CLASSIFIERS = {
    "LogisticRegression": logistic(),
    "LinearSVC": LinearSVC(),
    "SVC": SVC(),
    "SVC with probabilities": SVC(probability=True, random_state=0),
    "SGD hinge": SGDClassifier(random_state=0),
    "SGD log loss": SGDClassifier(loss="log_loss", random_state=0),
    "RidgeClassifier": RidgeClassifier(),
    "Perceptron": Perceptron(),
    "KNN": KNeighborsClassifier(),
    "GaussianNB": GaussianNB(),
    "BernoulliNB": BernoulliNB(),
    "DecisionTree": stump(),
    "RandomForest": RandomForestClassifier(5, random_state=0),
    "ExtraTrees": ExtraTreesClassifier(5, random_state=0),
    "GradientBoosting": GradientBoostingClassifier(n_estimators=4, random_state=0),
    "HistGradientBoosting": HistGradientBoostingClassifier(max_iter=4),
    "AdaBoost": AdaBoostClassifier(n_estimators=4, random_state=0),
    "Bagging": BaggingClassifier(n_estimators=3, random_state=0),
    "Bagging of LogisticRegression": BaggingClassifier(logistic(), n_estimators=3, random_state=0),
    "Voting soft": VotingClassifier([("a", logistic()), ("b", stump())], voting="soft"),
    "Voting hard": VotingClassifier([("a", logistic()), ("b", stump()), ("c", GaussianNB())]),
    "Stacking": StackingClassifier([("a", logistic()), ("b", stump())], cv=2),
    "MLP": MLPClassifier((4,), max_iter=20, random_state=0),
    "Calibrated LogisticRegression": CalibratedClassifierCV(logistic(), cv=2),
    "Calibrated LinearSVC": CalibratedClassifierCV(LinearSVC(), cv=2),
    "Calibrated forest": CalibratedClassifierCV(RandomForestClassifier(3, random_state=0), method="isotonic", cv=2),
    "Calibrated pipeline": CalibratedClassifierCV(make_pipeline(StandardScaler(), logistic()), cv=2),
    "LDA": LinearDiscriminantAnalysis(),
    "QDA": QuadraticDiscriminantAnalysis(reg_param=0.1),
    "OneVsRest": OneVsRestClassifier(logistic()),
    "GridSearch": GridSearchCV(logistic(), {"C": [0.1, 1]}, cv=2),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_fitted_on_a_frame_of_mixed_numbers_takes_its_columns_by_name(name):
    made = holds(CLASSIFIERS[name], PLAIN, BINARY)
    assert [(spec.name, spec.shape) for spec in made.signature.inputs] == [(name, (-1, 1)) for name in PLAIN]
    assert made.signature.task == "binary"


MULTICLASS = ("LogisticRegression", "SVC", "RandomForest", "HistGradientBoosting", "Voting soft", "LDA", "Stacking")


@pytest.mark.parametrize("name", [*MULTICLASS, "Calibrated pipeline", "KNN", "GaussianNB", "MLP"])
def test_three_classes_named_by_words_pack(name):
    made = holds(CLASSIFIERS[name], PLAIN, np.where(WORD == "low", 0, np.where(WORD == "mid", 1, 2)))
    assert made.signature.task == "multiclass"
    if name != "MLP":  # scikit-learn's own refuses words here
        assert holds(CLASSIFIERS[name], PLAIN, WORD).signature.classes == ("high", "low", "mid")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["LogisticRegression", "RandomForest", "HistGradientBoosting", "KNN"])
def test_booleans_as_labels_and_arrays_as_rows_pack(name, dtype):
    made = holds(CLASSIFIERS[name], PLAIN.to_numpy(dtype), BINARY.astype(bool))
    assert made.signature.inputs[0].features == ("x0", "x1", "x2", "x3")
    assert made.outputs["label"].dtype == bool
    assert holds(CLASSIFIERS[name], PLAIN.astype(dtype), BINARY).parity.holds


REGRESSORS = {
    "LinearRegression": LinearRegression(),
    "Ridge": Ridge(),
    "Lasso": Lasso(),
    "ElasticNet": ElasticNet(),
    "SGD": make_pipeline(StandardScaler(), SGDRegressor(random_state=0)),
    "Bayesian ridge": BayesianRidge(),
    "Huber": HuberRegressor(max_iter=500),
    "Poisson": PoissonRegressor(),
    "KNN": KNeighborsRegressor(),
    "SVR": SVR(),
    "LinearSVR": LinearSVR(random_state=0),
    "DecisionTree": DecisionTreeRegressor(max_depth=3),
    "RandomForest": RandomForestRegressor(4, random_state=0),
    "ExtraTrees": ExtraTreesRegressor(4, random_state=0),
    "GradientBoosting": GradientBoostingRegressor(n_estimators=4),
    "HistGradientBoosting": HistGradientBoostingRegressor(max_iter=4),
    "HistGradientBoosting of counts": HistGradientBoostingRegressor(max_iter=4, loss="poisson"),
    "HistGradientBoosting of amounts": HistGradientBoostingRegressor(max_iter=4, loss="gamma"),
    "AdaBoost": AdaBoostRegressor(n_estimators=3, random_state=0),
    "Bagging": BaggingRegressor(n_estimators=3, random_state=0),
    "Voting": VotingRegressor([("a", Ridge()), ("b", DecisionTreeRegressor(max_depth=3))]),
    "Stacking": StackingRegressor([("a", Ridge()), ("b", DecisionTreeRegressor(max_depth=3))], cv=2),
    "MLP": make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(4,), max_iter=20, random_state=0)),
    "GaussianProcess": make_pipeline(StandardScaler(), GaussianProcessRegressor(alpha=1.0)),
    "logarithm of the target": TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1),
    "scaled target": TransformedTargetRegressor(make_pipeline(RobustScaler(), Ridge()), transformer=StandardScaler()),
}


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_regressor_packs(name):
    assert holds(REGRESSORS[name], PLAIN, VALUE).signature.task == "regression"


STEPS = {
    "StandardScaler": StandardScaler(),
    "MinMaxScaler": MinMaxScaler(),
    "MaxAbsScaler": MaxAbsScaler(),
    "RobustScaler": RobustScaler(),
    "Normalizer": Normalizer(),
    "PolynomialFeatures": make_pipeline(StandardScaler(), PolynomialFeatures()),
    "PCA": PCA(2),
    "TruncatedSVD": TruncatedSVD(2),
    "SelectKBest": SelectKBest(k=2),
    "SelectKBest of one": SelectKBest(k=1),
    "SelectFromModel": SelectFromModel(stump()),
    "RFE": RFE(logistic(), n_features_to_select=2),
    "VarianceThreshold": VarianceThreshold(),
    "KBinsDiscretizer": KBinsDiscretizer(3),
    "KBinsDiscretizer ordinal": KBinsDiscretizer(3, encode="ordinal"),
    "QuantileTransformer": QuantileTransformer(n_quantiles=20),
    "PowerTransformer": make_pipeline(StandardScaler(), PowerTransformer()),
    "FunctionTransformer": FunctionTransformer(),
    "passthrough": "passthrough",
    "FeatureUnion": FeatureUnion([("a", StandardScaler()), ("b", PCA(2))]),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_before_the_model_packs(name):
    holds(make_pipeline(STEPS[name], logistic()), PLAIN, BINARY)


@pytest.mark.parametrize("function", [np.log1p, np.sqrt, np.abs, np.square, np.tanh])
def test_a_numpy_function_of_each_value_packs(function):
    only = make_column_transformer((FunctionTransformer(function), ["age", "spend"]), remainder="passthrough")
    holds(make_pipeline(only, StandardScaler(), logistic()), PLAIN, BINARY)


GAPS = {
    "HistGradientBoosting": HistGradientBoostingClassifier(max_iter=4),
    "DecisionTree": stump(),
    "RandomForest": RandomForestClassifier(4, random_state=0),
    "ExtraTrees": ExtraTreesClassifier(4, random_state=0),
    "Bagging": BaggingClassifier(n_estimators=3, random_state=0),
    "mean": make_pipeline(SimpleImputer(), StandardScaler(), logistic()),
    "constant": make_pipeline(SimpleImputer(strategy="constant", fill_value=-1), StandardScaler(), logistic()),
    "with indicator": make_pipeline(SimpleImputer(add_indicator=True), StandardScaler(), logistic()),
    "KNNImputer": make_pipeline(KNNImputer(), StandardScaler(), logistic()),
}


@pytest.mark.parametrize("name", GAPS)
def test_missing_numbers_pack(name):
    made = holds(GAPS[name], GAPPED, BINARY)
    assert {feature.name: feature.nullable for feature in made.signature.features}["age"]


def test_trees_that_learnt_where_missing_values_go_pack_as_regressors():
    for model in (DecisionTreeRegressor(max_depth=4), RandomForestRegressor(4, random_state=0)):
        holds(model, GAPPED, np.where(GAPPED["age"].isna(), 99, VALUE))


MIXED = {
    "drop": make_pipeline(columns(one_hot()), logistic()),
    "passthrough": make_pipeline(columns(one_hot(), "passthrough"), logistic()),
    "drop first": make_pipeline(columns(OneHotEncoder(drop="first")), logistic()),
    "ordinal": make_pipeline(columns(OrdinalEncoder(), "passthrough"), HistGradientBoostingClassifier(max_iter=4)),
    "target encoder": make_pipeline(columns(TargetEncoder(random_state=0)), logistic()),
    "voting": VotingClassifier([("a", make_pipeline(columns(one_hot()), logistic()))], voting="soft"),
    "search": GridSearchCV(make_pipeline(columns(one_hot()), logistic()), {"logisticregression__C": [1]}, cv=2),
    "LDA": make_pipeline(columns(one_hot(drop="if_binary")), LinearDiscriminantAnalysis()),
}


@pytest.mark.parametrize("name", MIXED)
def test_text_beside_numbers_packs(name):
    made = holds(MIXED[name], WORDS, BINARY)
    assert {spec.datatype for spec in made.signature.inputs if spec.name in TEXT} == {"BYTES"}


@pytest.mark.parametrize("outer", [CalibratedClassifierCV, None])
def test_an_estimator_around_a_column_transformer_of_numbers_packs(outer):
    inner = make_pipeline(make_column_transformer((StandardScaler(), NUMBERS), remainder="passthrough"), logistic())
    model = VotingClassifier([("a", inner), ("b", logistic())], voting="soft") if outer is None else outer(inner, cv=2)
    made = holds(model, PLAIN, BINARY)
    assert [spec.name for spec in made.signature.inputs] == list(PLAIN)


def doubled(rows):
    return rows * 2


CATEGORICAL = HistGradientBoostingClassifier(max_iter=2)
REFUSED = {
    "own function": (make_pipeline(FunctionTransformer(doubled), logistic()), PLAIN, "FunctionTransformer", "np.log1p"),
    "fractions as categories": (make_pipeline(one_hot(), logistic()), PLAIN, "OneHotEncoder", "astype('int64')"),
    "splines": (make_pipeline(SplineTransformer(), logistic()), PLAIN, "SplineTransformer", "PolynomialFeatures"),
    "indicator": (make_pipeline(MissingIndicator(), logistic()), GAPPED, "MissingIndicator", "add_indicator=True"),
    "GaussianProcess": (GaussianProcessClassifier(), PLAIN, "GaussianProcessClassifier", "SVC(probability=True)"),
    "NearestCentroid": (NearestCentroid(), PLAIN, "NearestCentroid", "LinearDiscriminantAnalysis"),
    "Dummy": (DummyClassifier(), PLAIN, "DummyClassifier", "LogisticRegression"),
    "tuned threshold": (TunedThresholdClassifierCV(logistic(), cv=2), PLAIN, "Threshold", "model.estimator_"),
    "fixed threshold": (FixedThresholdClassifier(logistic(), threshold=0.3), PLAIN, "Threshold", "model.estimator_"),
    "categories in trees": (
        CATEGORICAL,
        WORDS.astype(dict.fromkeys(TEXT, "category")),
        "HistGradientBoostingClassifier with categorical features",
        "OneHotEncoder(handle_unknown='ignore', sparse_output=False)",
    ),
    "stacked column transformers": (
        StackingClassifier([("a", make_pipeline(columns(one_hot()), logistic()))], cv=2),
        WORDS,
        "StackingClassifier",
        "make_pipeline(column_transformer, StackingClassifier(...))",
    ),
    "numbers as text": (logistic(), PLAIN.astype({"visits": str}), "LogisticRegression", "OneHotEncoder"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_converted_is_named_with_the_nearest_way_that_works(name):
    model, rows, part, way = REFUSED[name]
    with pytest.raises(RefusedError) as caught:
        SklearnFramework().convert(fitted(model, rows, BINARY), table(rows[HELD:]), route="onnx")
    assert caught.value.code == "pack.unconvertible"
    assert part in caught.value.what
    assert way in caught.value.fix
    assert caught.value.why.endswith(".")


@pytest.mark.parametrize(
    ("model", "part", "way"),
    [
        (IsotonicRegression(), "IsotonicRegression", "monotonic_cst"),
        (DummyRegressor(), "DummyRegressor", "Ridge"),
        (
            TransformedTargetRegressor(Ridge(), func=np.cbrt, inverse_func=np.spacing, check_inverse=False),
            "Transf",
            "np.",
        ),
    ],
)
def test_a_regressor_that_cannot_be_converted_is_named(model, part, way):
    with pytest.raises(RefusedError) as caught:
        SklearnFramework().convert(fitted(model, PLAIN[["age"]], VALUE), table(PLAIN[["age"]]), route="onnx")
    assert caught.value.code == "pack.unconvertible"
    assert part in caught.value.what
    assert way in caught.value.fix


def test_probabilities_never_leave_zero_and_one():
    model = RandomForestClassifier(20, random_state=0).fit(PLAIN, BINARY)
    scores = SklearnFramework().convert(model, table(PLAIN)).outputs["probabilities"]
    assert scores.min() >= 0
    assert scores.max() <= 1


def test_neighbours_weighed_by_distance_are_refused_on_rows_they_were_trained_on_with_the_reason():
    with pytest.raises(RefusedError) as caught:
        SklearnFramework().convert(
            KNeighborsClassifier(weights="distance").fit(PLAIN, BINARY), table(PLAIN), route="onnx"
        )
    assert caught.value.code == "pack.parity-failed"
    assert "weights='uniform'" in caught.value.fix
