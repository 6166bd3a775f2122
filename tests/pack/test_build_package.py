import dataclasses
import importlib
import json

import numpy as np
import pytest
import yaml

from modelwright.core import package_codec as codec
from modelwright.core.package import Adversarial, Parity
from modelwright.core.signature import Signature, TensorSpec
from modelwright.core.table import Table
from modelwright.pack import Evidence, build, mlmodel
from modelwright.pack.build import base_rate, table_digest
from modelwright.testing.errors import error_code
from modelwright.testing.framework import FrameworkConformance, LinearFramework, Weights

MODEL = Weights(("a", "b"), (2.0, -1.0))
WHEN = "2026-01-01T00:00:00+00:00"


@pytest.fixture
def examples():
    random = np.random.default_rng(3)
    return Table({"a": random.normal(size=40), "b": random.normal(size=40).astype(np.float32)})


def pack(examples, **named):
    conversion = LinearFramework().convert(MODEL, examples, target="y")
    return build(conversion, name="linear", examples=examples, created_at=WHEN, **named)


class TestLinearFramework(FrameworkConformance):
    @pytest.fixture
    def framework(self):
        return LinearFramework()

    @pytest.fixture
    def model(self):
        return MODEL

    @pytest.fixture
    def strangers(self):
        return (1, "weights", object())


def test_the_same_input_gives_the_same_digest_but_for_the_time(examples):
    assert pack(examples).digest == pack(examples).digest
    other = build(LinearFramework().convert(MODEL, examples), name="linear", examples=examples, created_at="later")
    assert other.digest != pack(examples).digest


def test_golden_rows_are_few_evenly_chosen_and_exact(examples):
    package = pack(examples)
    assert package.golden.rows == 8
    inputs = codec.golden_tensors(package.signature.inputs, package.golden.inputs)["X"]
    outputs = codec.golden_tensors(package.signature.outputs, package.golden.outputs)["prediction"]
    np.testing.assert_array_equal(outputs, inputs @ np.array([2.0, -1.0], dtype=np.float32))
    assert inputs[0, 0] == np.float32(examples["a"][0])
    assert inputs[-1, 0] == np.float32(examples["a"][-1])


def test_the_signature_covers_examples_and_reference(examples):
    reference = Table({"a": np.array([-50.0, np.nan]), "b": np.array([0.0, 90.0])})
    features = {feature.name: feature for feature in pack(examples, reference=reference).signature.features}
    assert features["a"].nullable
    assert features["a"].low == -50.0
    assert features["b"].high == 90.0


def test_the_reference_profile_is_of_the_training_rows_and_the_predictions_of_the_examples(examples):
    reference = Table({"a": np.arange(100.0), "b": np.arange(100.0)})
    package = pack(examples, reference=reference)
    assert package.reference.rows == 100
    assert package.reference.numbers["a"].high == 99.0
    assert package.reference.predictions["prediction"].rows == 40


def test_the_card_says_what_is_known_and_what_is_not_provided(examples):
    package = pack(examples, evidence=Evidence(purpose="Delays | of flights", evaluation={"rmse": 1.25}))
    card = package.read("card.md").decode()
    _, front, body = card.split("---\n", 2)
    assert yaml.safe_load(front)["model_name"] == "linear"
    assert "- Purpose: Delays | of flights" in body
    assert "| rmse | 1.25 |" in body
    assert "- Owner: not provided" in body
    assert "not provided: the model came as an ONNX file" in body
    assert "Predicts y from 2 columns. The model is a Weights of linear 1." in body
    assert "- Missing values were seen in: no column" in body


def test_the_card_tells_how_the_conversion_was_proven(examples):
    parity = Parity(
        rows=40,
        max_difference=1e-7,
        mean_difference=1e-8,
        worst_row=3,
        label_flips=0,
        tolerance=1e-4,
        holds=True,
        numeric_type="FP64",
        tried=(
            {"numeric_type": "FP32", "max_difference": 0.5, "holds": False},
            {"numeric_type": "FP32, INT64", "why": "no such operator", "holds": False},
            {"numeric_type": "FP64", "max_difference": 1e-7, "holds": True},
        ),
        adversarial=Adversarial(
            rows=5,
            refused=2,
            differing=1,
            max_difference=np.inf,
            mean_difference=np.inf,
            label_flips=0,
            holds=True,
            worst=({"row": "age 1e+300", "binds": False, "original": "1", "converted": "inf"},),
        ),
    )
    conversion = dataclasses.replace(
        LinearFramework().convert(MODEL, examples),
        parity=parity,
        notes={"isolation": "own process"},
    )
    card = build(conversion, name="linear", examples=examples).read("card.md").decode()
    assert "answers as the original does on the 40 example rows" in card
    assert "- Attempts: 3 (FP32 differs by 0.5; FP32, INT64 does not convert)" in card
    assert "- Beyond the examples: 5 rows made from the signature: 4 agree, 2 more the original itself refuses" in card
    assert "different: age 1e+300 (original 1, here inf)" in card
    assert "- Isolation while it was opened and converted: own process" in card


def test_rows_made_from_the_signature_are_golden_after_the_examples_and_no_examples(examples):
    plain = LinearFramework().convert(MODEL, examples)
    first = {name: tensor[:2] + 100 for name, tensor in plain.inputs.items()}
    answers = {name: tensor[:2] for name, tensor in plain.outputs.items()}
    made = dataclasses.replace(plain, beyond_inputs=first, beyond_outputs=answers, row_independent=True)
    golden = build(made, name="linear", examples=examples).golden
    assert (golden.rows, golden.adversarial) == (10, 2)
    assert {len(held) for held in (*golden.inputs.values(), *golden.outputs.values())} == {10}
    assert golden.inputs["X"][8:] == first["X"].tolist()
    assert golden.examples == build(plain, name="linear", examples=examples).golden
    bound = dataclasses.replace(made, row_independent=False)
    assert build(bound, name="linear", examples=examples).golden.adversarial == 0


def test_a_package_lists_its_environment_as_pins(examples):
    conversion = LinearFramework().convert(MODEL, examples)
    lock = ({"name": "numpy", "version": "2.4.6", "record_sha256": "0" * 64},)
    package = build(dataclasses.replace(conversion, environment=lock), name="linear", examples=examples)
    assert package.read("requirements.txt") == b"numpy==2.4.6\n"
    assert codec.environment_from_json(package.read("environment.json")) == lock


def test_a_bad_name_is_refused(examples):
    conversion = LinearFramework().convert(MODEL, examples)
    assert error_code(build, conversion, name="Not a name", examples=examples) == "register.bad-name"


@pytest.mark.parametrize(
    ("classes", "labels", "rate"),
    [
        (("0", "1"), np.array([0, 1, 1, 1]), 0.75),
        (("0", "1"), np.array([0.0, 1.0, np.nan, 1.0]), 2 / 3),
        (("False", "True"), np.array([True, False]), 0.5),
        (("False", "True"), np.array([1, 0, 0, 0]), 0.25),
        (("no", "yes"), np.array(["yes", None, "no"], dtype=object), 0.5),
        (("0", "1"), np.array([], dtype=int), None),
        (("0", "1"), None, None),
    ],
)
def test_the_base_rate_is_the_share_of_the_second_class(classes, labels, rate):
    signature = Signature((TensorSpec("X", "FP32", (-1, 1)),), (), task="binary", classes=classes)
    assert base_rate(signature, labels) == (rate if rate is None else pytest.approx(rate))


def test_labels_that_are_none_of_the_classes_have_no_base_rate():
    signature = Signature((), (), task="binary", classes=("no", "yes"))
    assert base_rate(signature, np.array([0, 1, 1])) is None


def test_the_base_rate_of_a_regression_is_the_mean_of_the_target():
    signature = Signature((TensorSpec("X", "FP32", (-1, 1)),), (), task="regression")
    assert base_rate(signature, np.array([1.0, np.nan, 2.0])) == pytest.approx(1.5)


def test_a_table_digest_changes_with_names_kinds_values_and_order():
    rows = {"a": np.array([1.0, 2.0]), "b": np.array(["x", None], dtype=object)}
    digests = {
        table_digest(Table(columns))
        for columns in (
            rows,
            {"c": rows["a"], "b": rows["b"]},
            {**rows, "a": rows["a"].astype(np.float32)},
            {**rows, "a": rows["a"][::-1]},
            {**rows, "b": np.array(["x", "None"], dtype=object)},
            {"b": rows["b"], "a": rows["a"]},
        )
    }
    assert len(digests) == 6
    assert table_digest(Table(rows)) == table_digest(Table({name: values.copy() for name, values in rows.items()}))


def test_a_package_holds_what_makes_it_a_model_directory_of_mlflow(examples):
    package = pack(examples)
    held = yaml.safe_load(package.read("MLmodel"))
    assert held["flavors"]["python_function"]["loader_module"] == mlmodel.LOADER
    assert hasattr(importlib.import_module(mlmodel.LOADER), "_load_pyfunc")
    assert json.loads(held["signature"]["inputs"]) == [
        {"type": "double", "name": "a", "required": True},
        {"type": "double", "name": "b", "required": True},
    ]
    rows = json.loads(package.read(held["saved_input_example_info"]["artifact_path"]))
    assert rows["columns"] == ["a", "b"]
    assert len(rows["data"]) == package.golden.rows
    assert all(name in package.manifest.files for name in held["flavors"]["python_function"]["env"].values())
