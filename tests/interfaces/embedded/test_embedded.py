import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
from onnx import TensorProto, helper
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import modelwright as mw
from modelwright.core import package_codec as codec
from modelwright.core.errors import BadInputError
from modelwright.features.tabular import table
from modelwright.testing.errors import error_code


@pytest.fixture(scope="module")
def flights():
    random = np.random.default_rng(5)
    rows = pd.DataFrame(
        {
            "carrier": pd.Series(random.choice(["AA", "UA", "DL"], 300), dtype="category"),
            "hour": random.integers(0, 24, 300),
            "wind": random.normal(size=300),
            "weekend": random.random(300) > 0.7,
        }
    )
    rows.loc[::9, "wind"] = np.nan
    rows.loc[::8, "carrier"] = None
    return rows


@pytest.fixture(scope="module")
def model(flights):
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["carrier"]), remainder="passthrough")
    encode.sparse_threshold = 0
    return make_pipeline(encode, HistGradientBoostingClassifier(max_iter=10)).fit(flights, flights["hour"] > 12)


@pytest.fixture(scope="module")
def packed(model, flights):
    return mw.pack(model, name="late", examples=flights, labels=flights["hour"] > 12, reference=flights, target="late")


def test_a_packed_pipeline_answers_as_the_model_does(packed, model, flights):
    answers = packed.predict(flights)
    np.testing.assert_allclose(answers["probabilities"], model.predict_proba(flights), atol=1e-5)
    assert answers["label"].dtype == bool
    assert packed.package.reference.base_rate == pytest.approx((flights["hour"] > 12).mean())
    assert packed.package.signature.target == "late"


def test_rows_may_come_in_any_tabular_shape(packed, flights):
    frame = flights.head(3)
    expected = packed.predict(frame)["probabilities"]
    records = frame.astype(object).where(frame.notna(), None).to_dict(orient="records")
    for rows in (records, table(frame), {name: frame[name] for name in frame}):
        np.testing.assert_array_equal(packed.predict(rows)["probabilities"], expected)


@pytest.mark.parametrize("name", ["late.mw", "late"])
def test_a_saved_package_opens_as_the_same_package(name, packed, flights, tmp_path):
    where = packed.save(tmp_path / name)
    assert where.is_dir() == (name == "late")
    back = mw.open_package(where)
    assert back.digest == packed.digest
    np.testing.assert_array_equal(back.predict(flights)["probabilities"], packed.predict(flights)["probabilities"])
    assert error_code(packed.save, tmp_path) in {"", "package.directory-not-empty"}


def test_golden_examples_reproduce(packed, tmp_path):
    package = mw.open_package(packed.save(tmp_path / "late.mw")).package
    from modelwright.adapters.runners.onnx import OnnxRunners

    inputs = codec.golden_tensors(package.signature.inputs, package.golden.inputs)
    outputs = codec.golden_tensors(package.signature.outputs, package.golden.outputs)
    answers = OnnxRunners().load(package).run(inputs)
    for name, expected in outputs.items():
        np.testing.assert_array_equal(answers[name], expected)


def test_an_array_model_packs_with_the_names_it_was_given(flights):
    rows = flights[["hour", "wind"]].fillna(0).to_numpy()
    named = LogisticRegression().fit(pd.DataFrame(rows, columns=["h", "w"]), rows[:, 0] > 12)
    assert mw.pack(named, name="n", examples=rows).package.signature.inputs[0].name == "h"
    plain = mw.pack(LogisticRegression().fit(rows, rows[:, 0] > 12), name="n", examples=rows)
    assert plain.package.signature.inputs[0].features == ("x0", "x1")
    assert plain.predict(rows[:2])["probabilities"].shape == (2, 2)


@pytest.mark.parametrize("model", [LogisticRegression(), HistGradientBoostingClassifier(max_iter=5)])
def test_a_bare_estimator_fitted_on_a_frame_packs_and_answers_by_column_name(model, flights, tmp_path):
    rows = flights[["hour", "wind", "weekend"]].fillna(0)
    label = np.where(rows["wind"] > 0, "late", "on time")
    joblib.dump(model.fit(rows, label), tmp_path / "m.joblib")
    for subject in (model, tmp_path / "m.joblib"):
        made = mw.pack(subject, name="bare", examples=rows, labels=label, reference=rows)
        assert [spec.features for spec in made.package.signature.inputs] == [("hour",), ("wind",), ("weekend",)]
        turned = made.predict(rows[["weekend", "wind", "hour"]])
        np.testing.assert_allclose(turned["probabilities"], model.predict_proba(rows), atol=1e-5)
        record = {"hour": 3, "wind": 0.5, "weekend": True}
        assert made.predict([record])["label"].tolist() == model.predict(pd.DataFrame([record])).tolist()


def test_a_joblib_file_packs_through_the_jail(flights, tmp_path):
    rows = flights[["hour"]].to_numpy()
    joblib.dump(LogisticRegression().fit(rows, rows[:, 0] > 12), tmp_path / "m.joblib")
    made = mw.pack(tmp_path / "m.joblib", name="m", examples=rows)
    assert len(made.package.description.source_sha256) == 64
    assert "own process" in made.package.description.notes["isolation"]
    assert made.predict(rows[:3])["label"].shape == (3,)


def test_an_onnx_file_packs_as_it_is(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Identity", ["text"], ["same"]), helper.make_node("Identity", ["whole"], ["also"])],
        "identity",
        [
            helper.make_tensor_value_info("text", TensorProto.STRING, ["n", 1]),
            helper.make_tensor_value_info("whole", TensorProto.INT8, [2]),
        ],
        [
            helper.make_tensor_value_info("same", TensorProto.STRING, ["n", 1]),
            helper.make_tensor_value_info("also", TensorProto.INT8, [2]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path / "identity.onnx"
    path.write_bytes(model.SerializeToString())
    packed = mw.pack(str(path), name="identity")
    assert packed.package.parity is None
    assert packed.package.golden is not None or set(packed.package.signature.inputs[1].shape) == {2}
    answers = packed.predict({"text": [["ä"]], "whole": [1, 2]})
    assert answers["same"].tolist() == [["ä"]]
    assert answers["also"].tolist() == [1, 2]


@pytest.mark.parametrize(("name", "way"), [("m.pmml", "export the model as .onnx"), ("m.safetensors", "config.json")])
def test_a_file_that_nobody_takes_is_refused_with_the_nearest_way(tmp_path, name, way):
    (tmp_path / name).write_text("<PMML/>")
    with pytest.raises(BadInputError) as refused:
        mw.pack(tmp_path / name, name="m")
    assert refused.value.code == "pack.no-framework"
    assert way in refused.value.fix


def test_bad_input_is_named_before_any_work(model, flights, tmp_path):
    assert error_code(mw.pack, model, name="Not a name", examples=flights) == "register.bad-name"
    assert error_code(mw.pack, tmp_path / "none.joblib", name="m") == "pack.missing-file"
    assert error_code(mw.pack, object(), name="m") == "pack.no-framework"
    assert error_code(mw.pack, model, name="m") == "pack.no-examples"
    assert error_code(mw.pack, model, name="m", examples=flights, labels=[1]) == "pack.labels-differ"


def test_the_function_stays_the_function_when_the_stage_of_its_name_is_imported():
    code = "import modelwright.pack.build, modelwright as mw; from modelwright.pack import build; mw.pack.__call__"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_root_package_is_light():
    code = (
        "import sys, modelwright; from modelwright.adapters.frameworks.sklearn import SklearnFramework; "
        "SklearnFramework().owns(1); "
        "heavy = {'pandas', 'sklearn', 'onnx', 'skl2onnx', 'duckdb', 'sqlalchemy'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
