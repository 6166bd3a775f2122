"""`open_model`, loader sklearn: the model's own answers, from tensors, by the names of the signature."""

import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import RadiusNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from modelwright.core.errors import BadInputError, InternalError
from modelwright.core.native import Native
from modelwright.core.signature import Feature, Signature, TensorSpec
from modelwright.native import open_model

RANDOM = np.random.default_rng(7)
MATRIX = RANDOM.normal(size=(120, 3))
LABELS = np.where(MATRIX[:, 0] + MATRIX[:, 1] > 0, "yes", "no")
NAMES = ("a", "b", "c")
CLASSIFIER = {
    "outputs": (TensorSpec("label", "BYTES", (-1,)), TensorSpec("probabilities", "FP64", (-1, 2))),
    "task": "binary",
    "classes": ("no", "yes"),
    "label_output": "label",
    "score_output": "probabilities",
}
JOINED = Signature((TensorSpec("X", "FP64", (-1, 3), NAMES),), **CLASSIFIER)
NAMED = Signature(
    tuple(TensorSpec(name, "FP64", (-1, 1), (name,)) for name in NAMES),
    features=tuple(Feature(name, "number") for name in NAMES),
    **CLASSIFIER,
)
VALUE = {"outputs": (TensorSpec("prediction", "FP64", (-1, 1)),), "task": "regression", "label_output": "prediction"}


def same(found: np.ndarray, wanted: np.ndarray) -> None:
    """But for rounding, which depends on how a matrix lies in memory."""
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-15)


def opened(tmp_path: Path, model: object, signature: Signature):
    joblib.dump(model, tmp_path / "model.joblib")
    return open_model(Native("sklearn", "model.joblib"), tmp_path / "model.joblib", signature)


def named(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    return {name: frame[name].to_numpy().reshape(-1, 1) for name in frame}


CLASSIFIERS = [
    RadiusNeighborsClassifier(radius=5.0),
    RandomForestClassifier(5, n_jobs=-1, random_state=0),
    HistGradientBoostingClassifier(max_iter=5),
    make_pipeline(StandardScaler(), GaussianProcessClassifier()),
    make_pipeline(FunctionTransformer(np.tanh), LogisticRegression()),
    make_pipeline(StandardScaler(), SimpleImputer(), RandomForestClassifier(3, random_state=0)),
    VotingClassifier(
        [("one", LogisticRegression()), ("two", RandomForestClassifier(3, random_state=1))], voting="soft"
    ),
    GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2),
]


@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=lambda estimator: type(estimator).__name__)
def test_a_model_of_a_matrix_answers_as_itself(tmp_path, estimator):
    model = estimator.fit(MATRIX, LABELS)
    answers = opened(tmp_path, model, JOINED)({"X": MATRIX})
    assert answers["label"].tolist() == model.predict(MATRIX).tolist()
    same(answers["probabilities"], model.predict_proba(MATRIX))


@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=lambda estimator: type(estimator).__name__)
def test_a_model_of_named_columns_answers_as_itself_without_a_warning(tmp_path, estimator):
    frame = pd.DataFrame(MATRIX, columns=list(NAMES))
    model = estimator.fit(frame, LABELS)
    run = opened(tmp_path, model, NAMED)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for rows in (frame, frame[:1]):
            answers = run(named(rows))
            assert answers["label"].tolist() == model.predict(rows).tolist()
            same(answers["probabilities"], model.predict_proba(rows))


def test_columns_are_put_in_the_order_of_training_whatever_the_order_of_the_inputs(tmp_path):
    frame = pd.DataFrame(MATRIX, columns=list(NAMES))
    model = LogisticRegression().fit(frame[["c", "a", "b"]], LABELS)
    answers = opened(tmp_path, model, NAMED)(named(frame))
    same(answers["probabilities"], model.predict_proba(frame[["c", "a", "b"]]))


def mixed(rows: int) -> pd.DataFrame:
    generator = np.random.default_rng(3)
    color = generator.choice(["red", "blue", None], rows)
    return pd.DataFrame(
        {
            "color": pd.Series(np.where(color == None, np.nan, color), dtype=object),  # noqa: E711 - element by element
            "size": np.where(generator.random(rows) < 0.2, np.nan, generator.normal(size=rows)),
            "town": pd.Series(generator.choice(["Ulm", "Zürich", ""], rows), dtype=object),
            "count": generator.integers(0, 9, rows),
            "open": generator.random(rows) < 0.5,
        }
    )


MIXED = Signature(
    (
        TensorSpec("color", "BYTES", (-1, 1), ("color",)),
        TensorSpec("size", "FP64", (-1, 1), ("size",)),
        TensorSpec("town", "BYTES", (-1, 1), ("town",)),
        TensorSpec("count", "INT64", (-1, 1), ("count",)),
        TensorSpec("open", "BOOL", (-1, 1), ("open",)),
    ),
    features=(
        Feature("color", "category", True, categories=("blue", "red"), null_as=""),
        Feature("size", "number", True),
        Feature("town", "category", categories=("", "Ulm", "Zürich"), null_as=""),
        Feature("count", "number"),
        Feature("open", "boolean"),
    ),
    **CLASSIFIER,
)


def test_text_gaps_whole_numbers_and_booleans_reach_the_model_as_they_were_in_training(tmp_path):
    frame = mixed(80)
    words = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer([("w", words, ["color", "town"]), ("n", numbers, ["size", "count", "open"])])
    model = make_pipeline(columns, LogisticRegression()).fit(frame, LABELS[:80])
    run = opened(tmp_path, model, MIXED)
    feeds = named(frame)
    feeds["color"] = np.where(pd.isna(frame["color"]), "", frame["color"]).astype(object).reshape(-1, 1)
    answers = run(feeds)
    same(answers["probabilities"], model.predict_proba(frame))
    for row in range(5):
        alone = run({name: tensor[row : row + 1] for name, tensor in feeds.items()})
        np.testing.assert_allclose(alone["probabilities"], answers["probabilities"][row : row + 1], rtol=1e-12)


def test_the_frame_that_a_model_sees_has_the_columns_kinds_and_order_of_training(tmp_path):
    seen = opened(tmp_path, Witness().fit(mixed(80), LABELS[:80]), MIXED)
    seen(named(mixed(4)))
    frame = Witness.frame
    assert list(frame) == ["color", "size", "town", "count", "open"]
    assert [dtype.kind for dtype in frame.dtypes] == ["O", "f", "O", "i", "b"]


class Witness(LogisticRegression):
    """Remembers the last frame it was asked about."""

    frame: pd.DataFrame

    def fit(self, rows, y):
        self.feature_names_in_ = np.array(list(rows), dtype=object)
        self.classes_ = np.unique(y)
        return self

    def predict(self, rows):
        Witness.frame = rows
        return np.full(len(rows), self.classes_[0])

    def predict_proba(self, rows):
        return np.full((len(rows), 2), 0.5)


def test_a_regressor_gives_one_column_of_values(tmp_path):
    model = LinearRegression().fit(MATRIX, MATRIX @ [1.0, 2.0, 3.0])
    signature = Signature((TensorSpec("X", "FP64", (-1, 3), NAMES),), **VALUE)
    answers = opened(tmp_path, model, signature)({"X": MATRIX[:2]})
    assert answers["prediction"].shape == (2, 1)
    np.testing.assert_array_equal(answers["prediction"].reshape(-1), model.predict(MATRIX[:2]))


def test_what_the_model_refuses_is_the_callers_input(tmp_path):
    run = opened(tmp_path, LogisticRegression().fit(MATRIX, LABELS), JOINED)
    with pytest.raises(BadInputError) as caught:
        run({"X": np.full((1, 3), np.nan)})
    assert caught.value.code == "serve.model-rejected-input"
    assert "NaN" in caught.value.why


def test_a_model_with_other_classes_than_its_signature_gives_no_answer(tmp_path):
    run = opened(tmp_path, LogisticRegression().fit(MATRIX, np.arange(120) % 3), JOINED)
    with pytest.raises(InternalError) as caught:
        run({"X": MATRIX[:2]})
    assert caught.value.code == "native.bad-answer"


def test_a_file_that_is_no_pickle_and_a_loader_that_nobody_knows_are_named(tmp_path):
    (tmp_path / "model.joblib").write_bytes(b"nothing")
    for loader, code in (("sklearn", "native.unreadable-model"), ("abacus", "native.unknown-loader")):
        with pytest.raises(BadInputError) as caught:
            open_model(Native(loader, "model.joblib"), tmp_path / "model.joblib", JOINED)
        assert caught.value.code == code
