import numpy as np
import pytest
from river import anomaly, cluster, compose, linear_model, preprocessing, tree

import modelwright
from modelwright.adapters.frameworks.pickled_object import RiverFramework
from modelwright.core.package_codec import record_bytes
from modelwright.features.tabular import table
from modelwright.native import open_model
from modelwright.testing.errors import error_code
from modelwright.testing.framework import FrameworkConformance

RANDOM = np.random.default_rng(5)
ROWS = [{"a": float(a), "b": float(b)} for a, b in RANDOM.normal(size=(60, 2))]
LATE = [row["a"] > 0 for row in ROWS]
WORDS = ["late" if late else "ontime" for late in LATE]
TOWNS = [row | {"town": "Ulm" if row["a"] > 0 else "Bern"} for row in ROWS]


def learned(model, rows=ROWS, truth=LATE):
    for row, value in zip(rows, truth, strict=True):
        if truth is None or model._supervised is False:
            model.learn_one(row)
        else:
            model.learn_one(row, value)
    return model


def classifier():
    return learned(preprocessing.StandardScaler() | linear_model.LogisticRegression())


def asked(path, package):
    """The package's model, opened here: the test trusts it."""
    return open_model(package.native, path / package.native.file, package.signature)


class TestRiverFramework(FrameworkConformance):
    @pytest.fixture
    def framework(self):
        return RiverFramework()

    @pytest.fixture
    def model(self):
        return classifier()

    @pytest.fixture
    def examples(self):
        return table(ROWS)

    @pytest.fixture
    def strangers(self):
        return (1, "river", object(), ROWS)


def test_a_classifier_gives_its_labels_and_probabilities():
    model = classifier()
    packed = modelwright.pack(model, name="m", examples=ROWS)
    assert packed.package.signature.classes == ("False", "True")
    assert packed.package.native.learns
    found = packed.predict(ROWS)
    assert found["label"].tolist() == [model.predict_one(row) for row in ROWS]
    assert found["probabilities"][:, 1].tolist() == [model.predict_proba_one(row)[True] for row in ROWS]


def test_text_in_and_words_out():
    encode = compose.SelectType(str) | preprocessing.OneHotEncoder()
    model = learned(encode + compose.SelectType(float) | tree.HoeffdingTreeClassifier(), TOWNS, WORDS)
    packed = modelwright.pack(model, name="m", examples=TOWNS)
    assert packed.predict(TOWNS)["label"].tolist() == [model.predict_one(row) for row in TOWNS]


@pytest.mark.parametrize(
    ("make", "ask"),
    [
        (lambda: learned(linear_model.LinearRegression(), truth=[row["b"] for row in ROWS]), "predict_one"),
        (lambda: learned(cluster.KMeans(2, seed=1)), "predict_one"),
        (lambda: learned(anomaly.HalfSpaceTrees(n_trees=3, seed=1)), "score_one"),
    ],
    ids=["a regressor", "a clusterer", "a detector"],
)
def test_other_models_give_one_value_a_row(make, ask):
    model = make()
    found = modelwright.pack(model, name="m", examples=ROWS).predict(ROWS)["prediction"]
    assert found.tolist() == [getattr(model, ask)(row) for row in ROWS]


def test_learning_changes_answers_and_what_was_learned_is_a_new_package_that_names_the_old_one(tmp_path):
    first = modelwright.pack(classifier(), name="m", examples=ROWS)
    model = asked(first.save(tmp_path / "first"), first.package)
    feeds = {name: np.array([[row[name]] for row in ROWS]) for name in ("a", "b")}
    before = model(feeds)["probabilities"]
    opposite = np.array([not late for late in LATE])
    for _ in range(3):
        model.learn(feeds, opposite)
    after = model(feeds)["probabilities"]
    assert np.abs(after - before).max() > 0.1
    (tmp_path / "learned.river").write_bytes(model.content())
    second = modelwright.pack(
        tmp_path / "learned.river", name="m", examples=ROWS, options={"learned_from": first.digest}
    )
    np.testing.assert_array_equal(second.predict(ROWS)["probabilities"], after)
    assert second.package.description.notes["learned_from"] == first.digest != second.digest


def test_answering_teaches_nothing():
    packed = modelwright.pack(classifier(), name="m", examples=ROWS)
    first, second = packed.predict(ROWS), packed.predict(ROWS)
    assert record_bytes(first["probabilities"].tolist()) == record_bytes(second["probabilities"].tolist())


def test_what_cannot_be_packed_is_refused_in_words(tmp_path):
    assert error_code(modelwright.pack, classifier(), name="m", examples=ROWS, native=False) == "pack.wrong-route"
    scaler = preprocessing.StandardScaler()
    assert error_code(modelwright.pack, scaler, name="m", examples=ROWS) == "pack.unsupported-model"
    fresh = tree.HoeffdingTreeClassifier()
    assert error_code(modelwright.pack, fresh, name="m", examples=ROWS) == "pack.not-fitted"
    (tmp_path / "m.river").write_bytes(b"no pickle")
    assert error_code(modelwright.pack, tmp_path / "m.river", name="m", examples=ROWS) == "native.unreadable-model"
