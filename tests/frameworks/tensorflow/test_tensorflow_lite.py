"""Keras models and SavedModel folders as TensorFlow Lite models: made, proven, served, or refused with the way out."""

import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

import modelwright as mw
from modelwright.adapters.frameworks.tensorflow import TensorflowFramework
from modelwright.core.errors import BadInputError, RefusedError
from modelwright.features.tabular import table
from modelwright.interfaces.cli.app import cli
from modelwright.ports.framework import Hints

RANDOM = np.random.default_rng(3)
ROWS = RANDOM.normal(size=(40, 4)).astype(np.float32)
LITE = {"format": "tflite"}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    layers = [keras.Input((4,), name="row"), keras.layers.Dense(8, "relu"), keras.layers.Dense(3, "softmax")]
    return keras.Sequential(layers)


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    place = tmp_path_factory.mktemp("saved")
    model.save(place / "m.keras")
    model.export(place / "saved", verbose=False)
    return place


@pytest.fixture(scope="module")
def package(files):
    """Of the ``.keras`` file."""
    return mw.pack(files / "m.keras", name="lite", examples=ROWS, options=LITE).package


def convert(model, rows=ROWS, tensors=None, **more):
    examples = None if tensors else table(rows)
    return TensorflowFramework().convert(model, examples, hints=Hints(tensors or {}, LITE), **more)


@pytest.mark.parametrize("name", ["m.keras", "saved", "in memory"])
def test_a_model_becomes_a_lite_model_that_answers_as_it_does(name, files, model, tmp_path):
    packed = mw.pack(model if name == "in memory" else files / name, name="lite", examples=ROWS, options=LITE)
    package = packed.package
    assert (package.native.loader, package.native.file) == ("tensorflow", "model.tflite")
    assert package.parity.holds
    assert package.parity.rows == len(ROWS)
    held = mw.open_package(packed.save(tmp_path / "lite.mw"))
    for rows in (ROWS, ROWS[:1], ROWS[:7]):
        (answer,) = held.predict(rows).values()
        np.testing.assert_allclose(answer, model.predict(rows, verbose=0), atol=1e-5)


def test_the_package_says_what_was_decided_and_needs_no_tensorflow_to_be_served(package):
    assert "format=tflite" in package.description.notes["route"]
    assert tf.__version__ in package.description.notes["route"]
    needed = {row["name"] for row in json.loads(package.read("environment.json"))}
    assert "ai-edge-litert" in needed
    assert not needed & {"tensorflow", "tensorflow-cpu", "tensorflow_cpu", "keras"}
    assert not [name for name in package.manifest.files if name.endswith((".keras", ".pb"))]


def test_rows_made_from_the_signature_are_asked_too_and_some_are_golden(package):
    beyond = package.parity.adversarial
    assert beyond.holds
    assert beyond.rows > 4 * 5  # each of four numbers at its bounds, beyond them, as minus zero, and absurd
    golden = json.loads(package.read("golden.json"))
    assert golden["adversarial"] > 0
    assert golden["rows"] == len(next(iter(golden["inputs"].values())))


def test_a_saved_model_folder_has_one_digest_over_all_of_its_files(files, tmp_path):
    graph = mw.pack(files / "saved", name="m", examples=ROWS).package
    lite = mw.pack(files / "saved", name="m", examples=ROWS, options=LITE).package
    assert graph.description.route == "onnx"
    assert len(graph.description.source_sha256) == 64
    assert graph.description.source_sha256 == lite.description.source_sha256


def test_the_command_explains_and_packs_it(files, tmp_path):
    np.savez(tmp_path / "rows.npz", row=ROWS)
    asked = ["pack", str(files / "saved"), "--name", "lite", "--data", str(tmp_path / "rows.npz")]
    asked += ["--option", "format=tflite", "-o", str(tmp_path / "lite.mw")]
    said = CliRunner().invoke(cli, [*asked, "--explain"])
    assert said.exit_code == 0, said.output
    assert "TensorFlow Lite" in said.output
    assert "model.tflite" in said.output
    assert not (tmp_path / "lite.mw").exists()
    done = CliRunner().invoke(cli, [*asked, "--json"])
    assert done.exit_code == 0, done.output
    assert "model.tflite" in json.loads(done.stdout)["files"]
    assert (tmp_path / "lite.mw").is_file()


def test_inputs_and_outputs_keep_their_names_in_whatever_order_they_stand(tmp_path):
    pixels, place = keras.Input((8, 8, 3), name="pixels"), keras.Input((2,), name="a-place")
    both = keras.layers.Concatenate()([keras.layers.Flatten()(keras.layers.Conv2D(2, 3)(pixels)), place])
    model = keras.Model([pixels, place], {"score": keras.layers.Dense(1)(both), "kind": keras.layers.Dense(2)(both)})
    given = {"pixels": RANDOM.normal(size=(6, 8, 8, 3)).astype(np.float32), "a-place": np.ones((6, 2), np.float32)}
    model.save(tmp_path / "both.keras")
    packed = mw.pack(tmp_path / "both.keras", name="both", examples=given, options=LITE)
    assert {spec.name for spec in packed.package.signature.inputs} == {"pixels", "a-place"}
    own = mw.open_package(packed.save(tmp_path / "both.mw")).predict(given)
    wanted = model.predict(list(given.values()), verbose=0)
    for name, array in wanted.items():
        np.testing.assert_allclose(own[name], array, atol=1e-4)


def test_more_than_ten_outputs_stay_in_order(tmp_path):
    first = keras.Input((4,), name="row")
    model = keras.Model(first, [keras.layers.Dense(1)(first) for _ in range(12)])
    model.save(tmp_path / "many.keras")
    packed = mw.pack(tmp_path / "many.keras", name="many", examples=ROWS, options=LITE)
    own = mw.open_package(packed.save(tmp_path / "many.mw")).predict(ROWS)
    for array, wanted in zip(own.values(), model.predict(ROWS, verbose=0), strict=True):
        np.testing.assert_allclose(array, wanted, atol=1e-4)


def test_an_operator_that_lite_does_not_have_is_refused_with_its_name_and_the_nearest_way(tmp_path):
    class Digamma(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="row")])
        def serve(self, row):
            return {"out": tf.math.digamma(tf.abs(row) + 1)}

    model = Digamma()
    tf.saved_model.save(model, str(tmp_path / "digamma"), signatures=model.serve)
    with pytest.raises(RefusedError) as refused:
        convert(tmp_path / "digamma")
    assert refused.value.code == "pack.unconvertible"
    assert refused.value.why == "LiteRT has no operator for tf.Digamma."
    assert "leave format=tflite out" in refused.value.fix.lower()


def test_a_model_that_changes_a_variable_is_refused(tmp_path):
    class Counting(tf.Module):
        def __init__(self):
            self.asked = tf.Variable(0.0)

        @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="row")])
        def serve(self, row):
            self.asked.assign_add(1.0)
            return {"out": row + 0 * self.asked}

    model = Counting()
    tf.saved_model.save(model, str(tmp_path / "counting"), signatures=model.serve)
    with pytest.raises(RefusedError) as refused:
        convert(tmp_path / "counting")
    assert refused.value.code == "pack.unconvertible"


def test_a_model_that_answers_otherwise_as_a_lite_model_is_refused(tmp_path):
    class Drawn(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="row")])
        def serve(self, row):
            return {"out": row + tf.random.uniform(tf.shape(row))}

    model = Drawn()
    tf.saved_model.save(model, str(tmp_path / "drawn"), signatures=model.serve)
    with pytest.raises(RefusedError) as refused:
        convert(tmp_path / "drawn")
    assert refused.value.code in {"pack.parity-failed", "pack.unconvertible"}
    assert "format=tflite" in refused.value.fix


def test_what_format_cannot_be_is_said(files):
    for options, route, code in (
        ({"format": "coreml"}, "auto", "pack.bad-option"),
        (LITE, "onnx", "pack.wrong-route"),
    ):
        with pytest.raises(BadInputError) as refused:
            TensorflowFramework().convert(files / "m.keras", table(ROWS), route=route, hints=Hints(options=options))
        assert refused.value.code == code


def test_a_file_that_is_a_lite_model_already_stays_as_it_is(files):
    file = files / "m.tflite"
    file.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(files / "saved")).convert())
    made = convert(file)
    assert made.native.file == "m.tflite"
    assert "as it is" in made.notes["route"]
