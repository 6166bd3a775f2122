"""MLflow's models become packages: by the framework of their flavour, or as code behind MLflow."""

import json
import os

import mlflow
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from mlflow.models import infer_signature
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression

import modelwright
from modelwright.adapters.frameworks.mlflow_folder import MlflowFramework
from modelwright.features.tabular import table
from modelwright.interfaces.cli import main
from modelwright.interfaces.cli.app import cli
from modelwright.testing.errors import error_code
from modelwright.testing.framework import FrameworkConformance
from modelwright.wiring import frameworks

RANDOM = np.random.default_rng(7)
ROWS = pd.DataFrame(
    {
        "age": RANDOM.integers(18, 80, 120),
        "spend": RANDOM.normal(50, 9, 120),
        "town": RANDOM.choice(["Ulm", "Bern"], 120),
    }
)
NUMBERS = ROWS[["age", "spend"]]
LATE = np.where(ROWS["age"] > 45, "late", "ontime")


def functions():
    """Made in here, so that they travel with the pickle."""

    class Sum(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return model_input["age"] * 2.0 + model_input["spend"] + (model_input["town"] == "Ulm")

    class Both(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return pd.DataFrame({"age": model_input["age"] + 1, "word": model_input["town"].str.upper()})

    class Images(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return model_input.mean(axis=(1, 2))

    return Sum(), Both(), Images()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("mlflow")
    model = LogisticRegression(max_iter=500).fit(NUMBERS, LATE)
    mlflow.sklearn.save_model(
        model,
        place / "sklearn",
        signature=infer_signature(NUMBERS, LATE),
        input_example=NUMBERS.head(20),
        serialization_format="cloudpickle",
    )
    total, both, images = functions()
    for name, made in (("sum", total), ("both", both)):
        mlflow.pyfunc.save_model(
            place / name,
            python_model=made,
            signature=infer_signature(ROWS, made.predict(None, ROWS)),
            input_example=ROWS.head(9),
        )
    mlflow.pyfunc.save_model(
        place / "images",
        python_model=images,
        signature=infer_signature(np.zeros((2, 3, 3)), np.zeros(2)),
    )
    return place


class TestMlflowFramework(FrameworkConformance):
    @pytest.fixture
    def framework(self):
        return MlflowFramework(frameworks())

    @pytest.fixture(params=["sklearn", "sum"])
    def model(self, request, folders):
        return folders / request.param

    @pytest.fixture
    def examples(self):
        return table(ROWS)

    @pytest.fixture
    def strangers(self, folders):
        return (1, folders, folders / "sum" / "MLmodel")


def test_the_pickle_of_the_sklearn_flavour_becomes_a_graph(folders):
    packed = modelwright.pack(folders / "sklearn", name="m", examples=ROWS)
    made = packed.package.description
    assert (made.route, made.framework) == ("onnx", "sklearn")
    assert "flavour sklearn" in made.notes["route"]
    assert mlflow.__version__ in made.notes["mlflow"]
    assert len(made.source_sha256) == 64
    assert list(packed.predict(ROWS)["label"]) == list(late_by_mlflow(folders))


def late_by_mlflow(folders):
    return mlflow.pyfunc.load_model(str(folders / "sklearn")).predict(NUMBERS)


def test_its_own_input_example_is_enough(folders):
    packed = modelwright.pack(folders / "sklearn", name="m")
    assert [feature.name for feature in packed.package.signature.features] == ["age", "spend"]
    assert packed.package.parity.rows == 20


@pytest.mark.parametrize("name", ["sum", "both"])
def test_a_python_function_runs_as_code_and_answers_as_in_mlflow(folders, name, tmp_path):
    packed = modelwright.pack(folders / name, name="m", examples=ROWS)
    assert packed.package.native.loader == "mlflow"
    own = modelwright.open_package(packed.save(tmp_path / "m.mw")).predict(ROWS)
    wanted = mlflow.pyfunc.load_model(str(folders / name)).predict(ROWS)
    for column, array in own.items():
        held = wanted[column] if name == "both" else wanted
        assert list(array) == list(held)
    again = mlflow.pyfunc.load_model(str(packed.save(tmp_path / "m"))).predict(ROWS)
    assert list(again.iloc[:, 0]) == list(wanted if name == "sum" else wanted["age"])


def test_a_flavour_may_be_asked_for(folders):
    packed = modelwright.pack(folders / "sklearn", name="m", examples=ROWS, options={"flavor": "python_function"})
    assert packed.package.native.loader == "mlflow"
    assert list(packed.predict(ROWS)["prediction"]) == list(late_by_mlflow(folders))
    assert error_code(modelwright.pack, folders / "sum", name="m", options={"flavor": "onnx"}) == "pack.unknown-option"


def test_what_takes_a_matrix_is_given_one(tmp_path):
    model = KMeans(2, n_init=1, random_state=0).fit(NUMBERS.to_numpy())
    matrix = NUMBERS.to_numpy()
    mlflow.sklearn.save_model(
        model,
        tmp_path / "m",
        signature=infer_signature(matrix, model.predict(matrix)),
        serialization_format="cloudpickle",
    )
    packed = modelwright.pack(tmp_path / "m", name="m", examples=NUMBERS, options={"flavor": "python_function"})
    assert list(packed.predict(NUMBERS)["prediction"]) == list(model.predict(matrix))


def test_what_takes_tensors_is_given_them(folders):
    images = RANDOM.normal(size=(6, 3, 3))
    packed = modelwright.pack(folders / "images", name="m", examples={"image": images})
    np.testing.assert_array_equal(packed.predict({"image": images})["prediction"], images.mean(axis=(1, 2)))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda folder: (folder / "MLmodel").write_text("[}"), "pack.unreadable-model"),
        (lambda folder: (folder / "MLmodel").write_text("flavors: 3"), "pack.unreadable-model"),
        (lambda folder: (folder / "MLmodel").write_text("flavors: {spark: {}}"), "pack.unsupported-model"),
        (lambda folder: (folder / "python_model.pkl").write_bytes(b"no pickle"), "native.unreadable-model"),
    ],
)
def test_damaged_folders_are_refused_in_words(folders, tmp_path, change, code):
    folder = tmp_path / "sum"
    folder.mkdir()
    for path in (folders / "sum").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    change(folder)
    assert error_code(modelwright.pack, folder, name="m", examples=ROWS) == code


def test_onnx_is_refused_where_there_is_only_code(folders):
    assert error_code(modelwright.pack, folders / "sum", name="m", examples=ROWS, native=False) == "pack.wrong-route"


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    place = tmp_path_factory.mktemp("store")
    mlflow.set_tracking_uri(f"sqlite:///{place / 'mlflow.db'}")
    experiment = mlflow.create_experiment("late", artifact_location=str(place / "artifacts"))
    model = LogisticRegression(max_iter=500).fit(NUMBERS, LATE)
    with mlflow.start_run(experiment_id=experiment) as run:
        mlflow.sklearn.log_model(
            model,
            name="model",
            registered_model_name="late",
            input_example=NUMBERS.head(9),
            serialization_format="cloudpickle",
        )
    os.environ["MLFLOW_TRACKING_URI"] = mlflow.get_tracking_uri()
    yield run.info.run_id
    del os.environ["MLFLOW_TRACKING_URI"]


def test_models_and_runs_are_packed_by_name(logged, tmp_path):
    for uri in ("models:/late/1", f"runs:/{logged}/model"):
        assert modelwright.pack(uri, name="late").package.description.route == "onnx"
    asked = ["pack", "models:/late/1", "--name", "late", "-o", str(tmp_path / "late.mw"), "--json"]
    done = CliRunner().invoke(cli, asked)
    assert json.loads(done.stdout)["description"]["notes"]["mlflow"].startswith("MLflow")
    assert error_code(modelwright.pack, "models:/early/1", name="late") == "pack.not-in-mlflow"


def test_a_release_takes_what_mlflow_keeps_by_name(logged, tmp_path, capsys):
    NUMBERS.assign(late=LATE).to_parquet(tmp_path / "rows.parquet")
    home = ["--home", str(tmp_path / "home")]

    def release(uri):
        rest = ["--name", "late", "--data", str(tmp_path / "rows.parquet"), "--target", "late", "--json"]
        return main([*home, "release", uri, *rest]), json.loads(capsys.readouterr().out or "{}")

    status, told = release("models:/late/1")
    assert (status, told.get("outcome"), told.get("version")) == (0, "promoted", "1"), told
    status, told = release(f"runs:/{logged}/model")
    assert (status, told.get("outcome"), told.get("version")) == (0, "promoted", "2"), told
    status, told = release("models:/early/1")
    assert (status, told["error"]["code"]) == (2, "pack.not-in-mlflow"), told
    main([*home, "ledger", "show", "--json"])
    acts = [entry["action"] for entry in json.loads(capsys.readouterr().out)]
    assert acts.count("pack.package") == 2
    assert acts.count("pack.refused") == 1
