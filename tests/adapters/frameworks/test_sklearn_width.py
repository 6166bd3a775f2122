"""Every estimator of scikit-learn, and what has several outputs or no task: a graph, code, or plain words."""

import warnings
from collections import Counter

import joblib
import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.mixture import GaussianMixture
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor
from sklearn.neighbors import KNeighborsRegressor, LocalOutlierFactor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import all_estimators

from modelwright.adapters.frameworks.sklearn_convert import convert
from modelwright.adapters.frameworks.sklearn_native import convert_native
from modelwright.core.errors import ModelwrightError
from modelwright.core.package import Parity
from modelwright.core.record_codec import from_json, to_json
from modelwright.features.tabular import table

RANDOM = np.random.default_rng(3)
ROWS = RANDOM.normal(size=(60, 3)).round(3)
TARGETS = np.stack([ROWS[:, 0] * 2 + ROWS[:, 1], ROWS[:, 2] - 1], axis=1)
FLAGS = (ROWS[:, :2] > 0).astype(int)
WORDS = np.where(ROWS[:, :2] > 0, "yes", "no")
UNEVEN = np.stack([np.digitize(ROWS[:, 0], [-0.5, 0.5]), FLAGS[:, 1]], axis=1)

SEVERAL = {
    "linear": (LinearRegression(), TARGETS, ["prediction_0", "prediction_1"]),
    "forest of values": (RandomForestRegressor(3, random_state=0), TARGETS, ["prediction_0", "prediction_1"]),
    "neighbours": (KNeighborsRegressor(), TARGETS, ["prediction_0", "prediction_1"]),
    "one regressor for each": (MultiOutputRegressor(Ridge()), TARGETS, ["prediction_0", "prediction_1"]),
    "tree": (DecisionTreeClassifier(max_depth=3), FLAGS, ["label_0", "label_1", "probabilities_0", "probabilities_1"]),
    "forest of classes": (
        RandomForestClassifier(3, random_state=0),
        UNEVEN,
        ["label_0", "label_1", "probabilities_0", "probabilities_1"],
    ),
    "one classifier for each": (
        make_pipeline(StandardScaler(), MultiOutputClassifier(LogisticRegression())),
        WORDS,
        ["label_0", "label_1", "probabilities_0", "probabilities_1"],
    ),
    "several labels": (OneVsRestClassifier(LogisticRegression()), FLAGS, ["labels", "probabilities"]),
    "isolation": (IsolationForest(n_estimators=4, random_state=0), None, ["label", "score"]),
    "density of neighbours": (LocalOutlierFactor(novelty=True), None, ["label", "score"]),
    "one class": (OneClassSVM(), None, ["label", "score"]),
    "clusters": (KMeans(3, n_init=1, random_state=0), None, ["label", "distances"]),
    "mixture": (GaussianMixture(2, random_state=0), None, ["label", "probabilities"]),
    "components": (make_pipeline(StandardScaler(), PCA(2)), None, ["transformed"]),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_a_model_without_a_task_of_ours_converts_and_gives_its_answers_by_name(name):
    model, truth, outputs = SEVERAL[name]
    model.fit(ROWS[:40], None if truth is None else truth[:40])
    made = convert(model, table(ROWS[40:]))
    assert made.parity.holds
    assert made.parity.adversarial.holds
    assert made.signature.task == "none"
    assert [spec.name for spec in made.signature.outputs] == outputs == list(made.outputs)
    for spec in made.signature.outputs:
        assert made.outputs[spec.name].shape == (20, *spec.shape[1:])
    if "label_1" in outputs:
        assert made.outputs["label_1"].astype(str).tolist() == model.predict(ROWS[40:])[:, 1].astype(str).tolist()
        np.testing.assert_allclose(made.outputs["probabilities_0"], model.predict_proba(ROWS[40:])[0], atol=1e-5)
    if "prediction_1" in outputs:
        np.testing.assert_allclose(made.outputs["prediction_1"][:, 0], model.predict(ROWS[40:])[:, 1], rtol=1e-4)


def test_what_has_no_conversion_of_several_outputs_answers_as_code(tmp_path):
    network = MLPClassifier(hidden_layer_sizes=(3,), max_iter=5, random_state=0)
    for model in (ClassifierChain(RandomForestClassifier(2, random_state=0)), network):
        assert outcome(model.fit(ROWS, FLAGS), tmp_path, ROWS)[0] == "native"


def test_a_certificate_survives_being_written_and_older_ones_are_read():
    made = convert(LinearRegression().fit(ROWS, TARGETS), table(ROWS)).parity
    assert from_json(Parity, to_json(made), "parity") == made
    assert from_json(Parity, {k: v for k, v in to_json(made).items() if k != "adversarial"}, "p").adversarial is None


def outcome(model, folder, rows):
    """``onnx``, ``native`` or ``error``, and why it is not the one before."""
    try:
        return ("onnx", "") if convert(model, table(rows)).parity.holds else ("silent", "")
    except ModelwrightError as error:
        why = f"{error.code}: {error.what}"
    joblib.dump(model, folder / "model.joblib")
    try:
        made = convert_native(model, folder / "model.joblib", table(rows), target="", why=why)
    except ModelwrightError as error:
        return "error", f"{error.code}: {error.what} {error.fix}"
    return ("native", why) if made.parity.holds else ("silent", "")


MADE = {"base_estimator", "estimator", "estimators", "transformers", "transformer_list", "steps", "param_grid"}
SIMPLE = {
    "n_estimators": 3, "max_iter": 30, "n_components": 2, "n_clusters": 2, "random_state": 0, "n_init": 1, "cv": 2,
    "n_quantiles": 10,
}  # fmt: skip
POSITIVE = ("NMF", "BoxCox", "Chi2", "ComplementNB", "MultinomialNB", "CategoricalNB", "Gamma", "Poisson", "Latent")


def ready(kind):
    """A fitted estimator of that class and the rows it takes; None where it does not fit on rows of numbers."""
    classifier = any(base.__name__ == "ClassifierMixin" for base in kind.__mro__)
    inner = LogisticRegression() if classifier else Ridge()
    given = {
        "estimator": inner,
        "estimators": [("a", inner)],
        "transformers": [("a", StandardScaler(), [0, 1])],
        "transformer_list": [("a", StandardScaler())],
        "steps": [("a", StandardScaler()), ("b", inner)],
        "param_grid": {},
        "param_distributions": {},
        "base_estimator": inner,
    }
    asked = kind.__init__.__code__.co_varnames if hasattr(kind.__init__, "__code__") else ()
    names = set(kind._get_param_names())
    bare = {key: value for key, value in given.items() if key in names and key in asked}
    more = {key: value for key, value in SIMPLE.items() if key in names}
    rows = np.abs(ROWS).round(0) + 1 if kind.__name__.startswith(POSITIVE) else ROWS
    label = FLAGS[:, 0]
    value = np.abs(TARGETS[:, 0]) + 1
    for options in (bare | more, bare, {}):
        for truth in (label, value, TARGETS, FLAGS) if classifier else (value, TARGETS, label):
            for held in (rows, rows[:, :1]):
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    try:
                        return kind(**options).fit(held[:40], truth[:40]), held[40:]
                    except Exception:  # noqa: BLE001 - estimators refuse parameters and rows in every way
                        continue
    return None


def test_every_estimator_of_scikit_learn_is_a_graph_or_code_or_an_error_in_words_and_none_fails_silently(tmp_path):
    counts, said = Counter(), {}
    for name, kind in all_estimators():
        fitted = ready(kind)
        if fitted is None:
            said[name] = ("not tried", "it does not fit on rows of numbers")
        else:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                said[name] = outcome(fitted[0], tmp_path, fitted[1])
        counts[said[name][0]] += 1
    print(dict(counts))
    for name, (route, why) in said.items():
        print(f"{route:9} {name}: {why[:150]}")
        assert route != "silent"
        assert route == "onnx" or why
    assert counts["onnx"] >= 90
    assert counts["not tried"] <= 16
    assert set(said) >= {"KMeans", "IsolationForest", "PCA", "LinearRegression"}
