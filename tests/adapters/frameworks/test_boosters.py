import json

import joblib
import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import modelwright as mw
from modelwright.adapters.frameworks.boosters import BoosterFramework
from modelwright.adapters.frameworks.sklearn import SklearnFramework
from modelwright.core.errors import BadInputError, RefusedError
from modelwright.features.tabular import table
from modelwright.ports.framework import Hints
from modelwright.testing.framework import FrameworkConformance

RANDOM = np.random.default_rng(7)
ROWS = RANDOM.normal(size=(300, 4))
ROWS[RANDOM.random(ROWS.shape) < 0.1] = np.nan
KNOWN = np.nan_to_num(ROWS)
BINARY = (KNOWN[:, 0] + KNOWN[:, 1] > 0).astype(int)
THREE = np.digitize(KNOWN[:, 0], [-0.5, 0.5])
AMOUNT = np.exp(KNOWN[:, 0])
COUNT = RANDOM.poisson(np.exp(0.5 * KNOWN[:, 1]))
FRAME = pd.DataFrame(ROWS, columns=["age", "income", "debt", "dep time"])
SMALL = {"n_estimators": 6, "max_depth": 3, "n_jobs": 1}
QUIET = SMALL | {"verbosity": -1, "num_leaves": 5, "min_child_samples": 3}


def convert(model, rows=ROWS, **more):
    framework = BoosterFramework()
    assert framework.owns(model)
    return framework.convert(model, table(rows), **more)


MODELS = {
    "xgb binary": lambda: xgb.XGBClassifier(**SMALL).fit(ROWS, BINARY),
    "xgb three": lambda: xgb.XGBClassifier(**SMALL).fit(FRAME, THREE),
    "xgb value": lambda: xgb.XGBRegressor(**SMALL).fit(ROWS, AMOUNT),
    "xgb gamma": lambda: xgb.XGBRegressor(objective="reg:gamma", **SMALL).fit(ROWS, AMOUNT),
    "xgb poisson": lambda: xgb.XGBRegressor(objective="count:poisson", **SMALL).fit(ROWS, COUNT),
    "xgb tweedie": lambda: xgb.XGBRegressor(objective="reg:tweedie", **SMALL).fit(ROWS, COUNT),
    "xgb absolute": lambda: xgb.XGBRegressor(objective="reg:absoluteerror", **SMALL).fit(ROWS, AMOUNT),
    "xgb forest": lambda: xgb.XGBRFClassifier(**SMALL).fit(ROWS, BINARY),
    "xgb dart": lambda: xgb.XGBRegressor(booster="dart", rate_drop=0.5, **SMALL).fit(ROWS, AMOUNT),
    "xgb ranker": lambda: xgb.XGBRanker(**SMALL).fit(ROWS, BINARY, group=[30] * 10),
    "lgb binary": lambda: lgb.LGBMClassifier(**QUIET).fit(ROWS, np.array(["no", "yes"])[BINARY]),
    "lgb three": lambda: lgb.LGBMClassifier(**QUIET).fit(FRAME, THREE + 5),
    "lgb one against all": lambda: lgb.LGBMClassifier(objective="multiclassova", **QUIET).fit(ROWS, THREE),
    "lgb value": lambda: lgb.LGBMRegressor(**QUIET).fit(ROWS, AMOUNT),
    "lgb root": lambda: lgb.LGBMRegressor(reg_sqrt=True, **QUIET).fit(ROWS, AMOUNT),
    "lgb poisson": lambda: lgb.LGBMRegressor(objective="poisson", **QUIET).fit(ROWS, COUNT),
    "lgb forest": lambda: lgb.LGBMClassifier(boosting_type="rf", bagging_freq=1, bagging_fraction=0.7, **QUIET).fit(
        ROWS, BINARY
    ),
    "lgb without gaps": lambda: lgb.LGBMRegressor(**QUIET).fit(KNOWN, AMOUNT),
    "lgb ranker": lambda: lgb.LGBMRanker(**QUIET).fit(ROWS, BINARY, group=[30] * 10),
}


@pytest.mark.parametrize("name", MODELS)
def test_it_becomes_a_graph_that_answers_as_it_does(name):
    model = MODELS[name]()
    named = hasattr(model, "feature_names_in_") and not str(model.feature_names_in_[0]).startswith("Column_")
    rows = FRAME if named else ROWS
    made = convert(model, rows, target="t")
    assert made.native is None, made.notes
    assert made.parity.holds
    assert made.framework in {"xgboost", "lightgbm"}
    assert made.model_class == type(model).__name__
    wanted = model.predict(rows)
    if hasattr(model, "predict_proba"):
        np.testing.assert_allclose(made.outputs["probabilities"], model.predict_proba(rows), atol=1e-5)
        assert list(map(str, made.outputs["label"])) == list(map(str, wanted))
        assert made.signature.classes == tuple(map(str, model.classes_))
    else:
        np.testing.assert_allclose(made.outputs["prediction"].reshape(-1), wanted, rtol=1e-5, atol=1e-5)


class TestConformance(FrameworkConformance):
    @pytest.fixture
    def framework(self):
        return BoosterFramework()

    @pytest.fixture
    def model(self):
        return MODELS["lgb three"]()

    @pytest.fixture
    def examples(self):
        return table(FRAME)

    @pytest.fixture
    def strangers(self, tmp_path):
        (tmp_path / "notes.txt").write_text("tree of knowledge")
        (tmp_path / "a.json").write_text('{"some": "settings"}')
        return [tmp_path / "notes.txt", tmp_path / "a.json", tmp_path / "none.ubj", LogisticRegression(), "text", None]


@pytest.mark.parametrize("suffix", [".ubj", ".json"])
def test_xgboosts_own_files_are_packed_and_their_classes_named(suffix, tmp_path):
    model = MODELS["xgb three"]()
    model.save_model(tmp_path / f"m{suffix}")
    made = convert(tmp_path / f"m{suffix}", FRAME, hints=Hints(options={"classes": "low, middle, high"}))
    assert made.signature.classes == ("low", "middle", "high")
    np.testing.assert_allclose(made.outputs["probabilities"], model.predict_proba(FRAME), atol=1e-5)
    assert "own process" in made.notes["isolation"]


def test_lightgbms_own_file_is_packed(tmp_path):
    model = MODELS["lgb value"]()
    model.booster_.save_model(tmp_path / "m.txt")
    made = convert(tmp_path / "m.txt")
    np.testing.assert_allclose(made.outputs["prediction"].reshape(-1), model.predict(ROWS), rtol=1e-5)


@pytest.mark.parametrize("name", ["xgb binary", "lgb binary"])
def test_a_pickled_estimator_is_a_boosters_too(name, tmp_path):
    model = MODELS[name]()
    joblib.dump(model, tmp_path / "m.joblib")
    made = SklearnFramework().convert(tmp_path / "m.joblib", table(ROWS))
    assert made.framework in {"xgboost", "lightgbm"}
    assert made.onnx == convert(model).onnx


def test_a_raw_booster_answers_from_all_rounds_and_an_estimator_from_the_best_ones():
    held = xgb.DMatrix(ROWS[:200], BINARY[:200]), xgb.DMatrix(ROWS[200:], 1 - BINARY[200:])
    raw = xgb.train(
        {"objective": "binary:logistic", "nthread": 1},
        held[0],
        9,
        evals=[(held[1], "v")],
        early_stopping_rounds=3,
        verbose_eval=False,
    )
    assert raw.best_iteration + 1 < raw.num_boosted_rounds()
    made = convert(raw)
    np.testing.assert_allclose(made.outputs["probabilities"][:, 1], raw.predict(xgb.DMatrix(ROWS)), atol=1e-5)
    early = xgb.XGBClassifier(early_stopping_rounds=3, **SMALL).fit(
        ROWS[:200], BINARY[:200], eval_set=[(ROWS[200:], 1 - BINARY[200:])], verbose=False
    )
    made = convert(early)
    np.testing.assert_allclose(made.outputs["probabilities"], early.predict_proba(ROWS), atol=1e-5)
    assert "best" in made.notes["rounds"]


def test_a_raw_softmax_gives_the_probabilities_behind_its_labels():
    raw = xgb.train({"objective": "multi:softmax", "num_class": 3}, xgb.DMatrix(ROWS, THREE), 3)
    made = convert(raw)
    assert made.outputs["label"].tolist() == raw.predict(xgb.DMatrix(ROWS)).astype(int).tolist()


def test_a_part_of_a_pipeline_converts_with_it():
    frame = FRAME.fillna(0).assign(city=np.array(["a", "b", "c"])[THREE])
    columns = ColumnTransformer([("words", OneHotEncoder(handle_unknown="ignore"), ["city"])], remainder="passthrough")
    for last in (xgb.XGBClassifier(**SMALL), lgb.LGBMClassifier(**QUIET)):
        model = make_pipeline(columns, last).fit(frame, BINARY)
        made = SklearnFramework().convert(model, table(frame), route="onnx")
        np.testing.assert_allclose(made.outputs["probabilities"], model.predict_proba(frame), atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(StandardScaler(), xgb.XGBRegressor(**SMALL)),
        CalibratedClassifierCV(lgb.LGBMClassifier(**QUIET), cv=2),
        StackingClassifier([("x", xgb.XGBClassifier(**SMALL)), ("l", lgb.LGBMClassifier(**QUIET))], cv=2),
    ],
    ids=["scaled", "calibrated", "stacked"],
)
def test_it_stands_inside_other_estimators(model):
    model.fit(KNOWN, BINARY)
    made = SklearnFramework().convert(model, table(KNOWN), route="onnx")
    assert made.parity.holds


def test_categories_run_as_code_from_the_librarys_own_safe_file():
    frame = FRAME.assign(city=pd.Categorical(np.array(["a", "b", "c"])[THREE]))
    words = frame.assign(city=frame["city"].astype(object))
    for model in (
        xgb.XGBClassifier(enable_categorical=True, **SMALL).fit(frame, BINARY),
        lgb.LGBMClassifier(**QUIET).fit(frame, np.array(["no", "yes"])[BINARY]),
    ):
        made = convert(model, words)
        assert made.native.loader == "booster"
        assert set(made.files) == {made.native.file}
        assert not made.files[made.native.file].startswith(b"\x80")
        assert "categories" in made.notes["route"]
        np.testing.assert_allclose(made.outputs["probabilities"], model.predict_proba(frame), atol=1e-6)
        assert made.outputs["label"].tolist() == model.predict(frame).tolist()


def test_a_native_package_answers_in_a_process_of_its_own(tmp_path):
    model = xgb.XGBClassifier(booster="gblinear", n_estimators=3).fit(KNOWN, BINARY)
    packed = mw.pack(model, name="linear", examples=KNOWN)
    assert packed.package.description.route == "native"
    assert "gblinear" in packed.package.description.notes["route"]
    held = mw.open_package(packed.save(tmp_path / "linear.mw"))
    np.testing.assert_allclose(held.predict(KNOWN[:5])["probabilities"], model.predict_proba(KNOWN[:5]), atol=1e-6)


def test_asking_for_onnx_says_what_cannot_be_written():
    model = xgb.XGBClassifier(booster="gblinear", n_estimators=3).fit(KNOWN, BINARY)
    with pytest.raises(RefusedError, match="gblinear") as refused:
        convert(model, KNOWN, route="onnx")
    assert refused.value.code == "pack.unconvertible"


def test_split_points_between_two_neighbours_of_32_bits_are_kept_apart():
    near = np.array([[1.0 + index * 1e-9, 0.0] for index in range(200)])
    model = lgb.LGBMRegressor(**QUIET).fit(near, np.arange(200) > 100)
    made = convert(model, near)
    assert made.native is None
    assert made.signature.inputs[0].datatype == "FP64"
    np.testing.assert_allclose(made.outputs["prediction"].reshape(-1), model.predict(near), atol=1e-6)


NUMBERS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True, width=32),
    st.sampled_from([0.0, -0.0, 1e-40, -1e-40, 3.4e38, -3.4e38]),
)


@pytest.fixture(scope="module", params=["xgb binary", "lgb value", "lgb without gaps", "xgb poisson"])
def packed(request):
    model = MODELS[request.param]()
    return model, mw.pack(model, name="m", examples=ROWS)


@given(st.lists(st.lists(NUMBERS, min_size=4, max_size=4), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_any_row_of_32_bits_is_answered_as_the_library_answers_it(packed, rows):
    model, package = packed
    held = np.array(rows, dtype=np.float32)
    feeds = {"X": held.astype(package.package.signature.inputs[0].datatype.replace("FP", "float"))}
    package.predict(ROWS[:1])
    found = package._runner.run(feeds)
    wanted = model.predict_proba(held) if "probabilities" in found else model.predict(held).reshape(-1, 1)
    got = found.get("probabilities", found.get("prediction"))
    np.testing.assert_allclose(np.asarray(got).reshape(wanted.shape), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "content"),
    [("m.ubj", b'{"learner' + bytes(90)), ("m.txt", b"tree\nversion=v4\nnum_class=1\n"), ("m.cbm", b"CBM1" + bytes(9))],
)
def test_a_damaged_file_is_a_clear_error(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInputError) as refused:
        convert(tmp_path / name)
    assert refused.value.code in {"pack.unreadable-model", "pack.missing-extra"}


def test_zeros_that_stand_for_missing_values_run_as_code():
    model = lgb.LGBMRegressor(zero_as_missing=True, **QUIET).fit(KNOWN, AMOUNT)
    made = convert(model, KNOWN)
    assert made.native is not None
    assert "zeros for missing" in made.notes["route"]


def test_an_estimator_that_was_not_trained_or_has_its_own_missing_value_is_refused():
    for model, code in (
        (xgb.XGBClassifier(), "pack.not-fitted"),
        (lgb.LGBMClassifier(), "pack.not-fitted"),
        (xgb.XGBClassifier(missing=-1.0, **SMALL).fit(KNOWN, BINARY), "pack.unsupported-model"),
    ):
        with pytest.raises(BadInputError) as refused:
            convert(model)
        assert refused.value.code == code


def test_a_json_file_that_is_no_model_is_nobodys(tmp_path):
    (tmp_path / "settings.json").write_text(json.dumps({"version": [1, 0], "name": "x"}))
    with pytest.raises(BadInputError) as refused:
        convert(tmp_path / "settings.json")
    assert refused.value.code == "pack.unreadable-model"
