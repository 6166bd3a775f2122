import catboost
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import modelwright as mw
from modelwright.adapters.frameworks.boosters import BoosterFramework
from modelwright.adapters.frameworks.sklearn import SklearnFramework
from modelwright.core.errors import BadInputError
from modelwright.features.tabular import table
from modelwright.ports.framework import Hints
from modelwright.testing.framework import FrameworkConformance

RANDOM = np.random.default_rng(5)
ROWS = RANDOM.normal(size=(200, 3))
ROWS[RANDOM.random(ROWS.shape) < 0.1] = np.nan
KNOWN = np.nan_to_num(ROWS)
BINARY = (KNOWN[:, 0] + KNOWN[:, 1] > 0).astype(int)
THREE = np.digitize(KNOWN[:, 0], [-0.5, 0.5])
FRAME = pd.DataFrame(ROWS, columns=["age", "income", "dep time"])
SMALL = {"iterations": 8, "depth": 3, "verbose": 0, "thread_count": 1, "allow_writing_files": False, "random_seed": 1}


def convert(model, rows=ROWS, **more):
    framework = BoosterFramework()
    assert framework.owns(model)
    return framework.convert(model, table(rows), **more)


MODELS = {
    "binary": lambda: catboost.CatBoostClassifier(**SMALL).fit(ROWS, np.array(["no", "yes"])[BINARY]),
    "three": lambda: catboost.CatBoostClassifier(**SMALL).fit(FRAME, THREE + 3),
    "value": lambda: catboost.CatBoostRegressor(**SMALL).fit(ROWS, KNOWN[:, 0]),
    "poisson": lambda: catboost.CatBoostRegressor(loss_function="Poisson", **SMALL).fit(ROWS, THREE),
    "raw": lambda: catboost.train(catboost.Pool(ROWS, BINARY), SMALL | {"loss_function": "Logloss"}),
    "ranker": lambda: catboost.CatBoostRanker(loss_function="YetiRank", **SMALL).fit(
        ROWS, BINARY, group_id=np.repeat(np.arange(20), 10)
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_it_becomes_a_graph_that_answers_as_it_does(name):
    model = MODELS[name]()
    rows = FRAME if name == "three" else ROWS
    made = convert(model, rows)
    assert made.native is None, made.notes
    assert made.framework == "catboost"
    if "probabilities" in made.outputs:
        wanted = model.predict(rows, prediction_type="Probability")
        np.testing.assert_allclose(made.outputs["probabilities"], wanted, atol=1e-5)
        if name != "raw":
            assert list(map(str, made.outputs["label"])) == list(map(str, model.predict(rows).reshape(-1)))
    else:
        np.testing.assert_allclose(made.outputs["prediction"].reshape(-1), model.predict(rows), rtol=1e-5, atol=1e-5)


class TestConformance(FrameworkConformance):
    @pytest.fixture
    def framework(self):
        return BoosterFramework()

    @pytest.fixture
    def model(self):
        return MODELS["binary"]()

    @pytest.fixture
    def examples(self):
        return table(ROWS)

    @pytest.fixture
    def strangers(self):
        return ["text", None, catboost.CatBoostClassifier]


def test_its_own_file_is_packed_in_the_jail_with_its_own_classes(tmp_path):
    model = MODELS["binary"]()
    model.save_model(str(tmp_path / "m.cbm"))
    made = convert(tmp_path / "m.cbm")
    assert made.signature.classes == ("no", "yes")
    assert "own process" in made.notes["isolation"]
    named = convert(tmp_path / "m.cbm", hints=Hints(options={"classes": "stay,leave"}))
    assert named.signature.classes == ("stay", "leave")


def test_categories_run_as_code_from_its_own_safe_file(tmp_path):
    frame = FRAME.fillna(0).assign(city=np.array(["a", "b", "c"])[THREE])
    model = catboost.CatBoostClassifier(cat_features=["city"], **SMALL).fit(frame, BINARY)
    packed = mw.pack(model, name="c", examples=frame)
    assert packed.package.native.loader == "booster"
    assert packed.package.read("model.cbm").startswith(b"CBM1")
    assert "categories" in packed.package.description.notes["route"]
    held = mw.open_package(packed.save(tmp_path / "c.mw"))
    wanted = model.predict_proba(frame[:4])
    np.testing.assert_allclose(held.predict(frame[:4])["probabilities"], wanted, atol=1e-9)


def test_a_part_of_a_pipeline_converts_with_it():
    frame = FRAME.fillna(0).assign(city=np.array(["a", "b", "c"])[THREE])
    columns = ColumnTransformer([("words", OneHotEncoder(sparse_output=False), ["city"])], remainder="passthrough")
    model = make_pipeline(columns, catboost.CatBoostClassifier(**SMALL)).fit(frame, BINARY)
    made = SklearnFramework().convert(model, table(frame), route="onnx")
    np.testing.assert_allclose(made.outputs["probabilities"], model.predict_proba(frame), atol=1e-5)


def test_what_was_not_trained_or_is_damaged_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="not fitted"):
        convert(catboost.CatBoostClassifier())
    (tmp_path / "m.cbm").write_bytes(b"CBM1" + bytes(9))
    with pytest.raises(BadInputError) as refused:
        convert(tmp_path / "m.cbm")
    assert refused.value.code == "pack.unreadable-model"
