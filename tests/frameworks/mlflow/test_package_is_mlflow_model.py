"""Every package opens in MLflow, and answers there what it answers here."""

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.models import Model
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LinearRegression, LogisticRegression

import modelwright

RANDOM = np.random.default_rng(7)
ROWS = pd.DataFrame(
    {"age": RANDOM.integers(18, 80, 120), "spend": RANDOM.normal(50, 9, 120), "known": RANDOM.random(120) < 0.5}
)
LATE = np.where(ROWS["age"] > 45, "late", "ontime")
MODELS = {
    "a classifier in ONNX": (LogisticRegression(max_iter=500), LATE, None),
    "a regressor in ONNX": (LinearRegression(), ROWS["spend"] * 2 + ROWS["age"], None),
    "a classifier as code": (LogisticRegression(max_iter=500), LATE, True),
    "an outlier detector as code": (IsolationForest(n_estimators=10, random_state=1), None, True),
}


@pytest.fixture(scope="module", params=MODELS)
def packed(request, tmp_path_factory):
    model, truth, native = MODELS[request.param]
    package = modelwright.pack(model.fit(ROWS, truth), name="m", examples=ROWS, native=native)
    return package, package.save(tmp_path_factory.mktemp("packages") / "m")


def test_mlflow_gives_the_same_numbers(packed):
    package, folder = packed
    found = mlflow.pyfunc.load_model(str(folder)).predict(ROWS.iloc[5:25])
    assert list(found.index) == list(range(5, 25))
    own = package.predict(ROWS.iloc[5:25])
    for name, array in own.items():
        columns = [column for column in found if column == name or column.startswith(f"{name}.")]
        np.testing.assert_array_equal(found[columns].to_numpy().reshape(array.shape), array)


def test_its_input_example_fits_its_schema_and_gets_an_answer(packed):
    folder = str(packed[1])
    example = Model.load(folder).load_input_example(folder)
    assert list(example) == Model.load(folder).get_input_schema().input_names()
    assert len(mlflow.pyfunc.load_model(folder).predict(example)) == len(example) == 8


def test_mlflow_knows_the_columns_of_the_answer(packed):
    schema = Model.load(str(packed[1])).get_output_schema()
    assert schema.input_names() == list(mlflow.pyfunc.load_model(str(packed[1])).predict(ROWS.head(2)))


def test_a_changed_package_is_refused_by_mlflow_too(packed, tmp_path):
    folder = modelwright.open_package(packed[1]).save(tmp_path / "changed")
    (folder / "signature.json").write_bytes(b"{}")
    with pytest.raises(Exception, match="digest"):
        mlflow.pyfunc.load_model(str(folder))


def test_the_graph_of_an_onnx_package_opens_by_its_flavour():
    package = modelwright.pack(LogisticRegression(max_iter=500).fit(ROWS, LATE), name="m", examples=ROWS)
    flavors = yaml.safe_load(package.package.read("MLmodel"))["flavors"]
    assert flavors["onnx"]["data"] in package.package.manifest.files


def test_a_package_of_one_file_becomes_such_a_folder_when_it_is_saved_as_one(packed, tmp_path):
    packed[0].save(tmp_path / "m.mw")
    folder = modelwright.open_package(tmp_path / "m.mw").save(tmp_path / "folder")
    assert len(mlflow.pyfunc.load_model(str(folder)).predict(ROWS.head(3))) == 3
