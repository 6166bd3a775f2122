import json
import os
import zipfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import numpy as np
import pytest
import tensorflow as tf

import modelwright as mw
from modelwright.adapters.frameworks.tensorflow import TensorflowFramework
from modelwright.core.errors import BadInputError
from modelwright.features.tabular import table
from modelwright.ports.framework import Hints
from modelwright.testing.framework import FrameworkConformance

ROWS = np.random.default_rng(3).normal(size=(40, 4)).astype(np.float32)
IMAGES = np.random.default_rng(4).normal(size=(6, 8, 8, 3)).astype(np.float32)
CLASSES = Hints(options={"outputs": "probabilities", "classes": "low,middle,high"})


@pytest.fixture(scope="module")
def tabular():
    keras.utils.set_random_seed(1)
    layers = [keras.Input((4,), name="row"), keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.5)]
    model = keras.Sequential([*layers, keras.layers.Dense(3, "softmax")])
    model.compile(loss="sparse_categorical_crossentropy")
    model.fit(ROWS, np.digitize(ROWS[:, 0], [-0.5, 0.5]), verbose=0)
    return model


@pytest.fixture(scope="module")
def files(tabular, tmp_path_factory):
    place = tmp_path_factory.mktemp("saved")
    tabular.save(place / "m.keras")
    tabular.export(place / "saved", verbose=False)
    (place / "m.tflite").write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(place / "saved")).convert())
    return place


def convert(model, rows=ROWS, **more):
    framework = TensorflowFramework()
    assert framework.owns(model)
    return framework.convert(model, None if rows is None else table(rows), **more)


@pytest.mark.parametrize("name", ["m.keras", "saved"])
def test_a_saved_model_becomes_a_graph_that_answers_as_it_does(name, files, tabular):
    made = convert(files / name, target="t", hints=CLASSES)
    assert made.native is None, made.notes
    assert made.parity.holds
    assert made.row_independent
    assert made.signature.classes == ("low", "middle", "high")
    np.testing.assert_allclose(made.outputs["probabilities"], tabular.predict(ROWS, verbose=0), atol=1e-5)
    assert "own process" in made.notes["isolation"]


def test_a_model_in_memory_is_packed_and_served(tabular, tmp_path):
    packed = mw.pack(tabular, name="k", examples=ROWS)
    assert packed.package.description.model_class == "Sequential"
    held = mw.open_package(packed.save(tmp_path / "k.mw"))
    (answer,) = held.predict(ROWS[:3]).values()
    np.testing.assert_allclose(answer, tabular.predict(ROWS[:3], verbose=0), atol=1e-5)


def test_a_lite_model_runs_as_it_is(files, tabular, tmp_path):
    packed = mw.pack(files / "m.tflite", name="lite", examples=ROWS)
    assert packed.package.native.loader == "tensorflow"
    assert "Lite" in packed.package.description.notes["route"]
    held = mw.open_package(packed.save(tmp_path / "lite.mw"))
    (answer,) = held.predict(ROWS[:3]).values()
    np.testing.assert_allclose(answer, tabular.predict(ROWS[:3], verbose=0), atol=1e-5)
    with pytest.raises(BadInputError) as refused:
        convert(files / "m.tflite", route="onnx")
    assert refused.value.code == "pack.wrong-route"


@pytest.mark.parametrize("name", ["m.keras", "saved"])
def test_it_runs_as_code_where_that_is_asked(name, files, tabular, tmp_path):
    packed = mw.pack(files / name, name="native", examples=ROWS, native=True)
    assert packed.package.native is not None
    held = mw.open_package(packed.save(tmp_path / "native.mw"))
    (answer,) = held.predict(ROWS[:3]).values()
    np.testing.assert_allclose(answer, tabular.predict(ROWS[:3], verbose=0), atol=1e-5)


def test_images_and_several_inputs_are_given_as_arrays():
    one, two = keras.Input((8, 8, 3), name="pixels"), keras.Input((2,), name="place")
    both = keras.layers.Concatenate()([keras.layers.Flatten()(keras.layers.Conv2D(2, 3)(one)), two])
    model = keras.Model([one, two], {"score": keras.layers.Dense(1)(both), "kind": keras.layers.Dense(2)(both)})
    given = {"pixels": IMAGES, "place": np.ones((6, 2), np.float32)}
    made = convert(model, None, hints=Hints(given))
    assert made.native is None, made.notes
    assert {spec.name: spec.shape for spec in made.signature.inputs} == {"pixels": (-1, 8, 8, 3), "place": (-1, 2)}
    wanted = model.predict(given, verbose=0)
    np.testing.assert_allclose(made.outputs["score"], wanted["score"], atol=1e-4)
    np.testing.assert_allclose(made.outputs["kind"], wanted["kind"], atol=1e-4)


class TestConformance(FrameworkConformance):
    @pytest.fixture
    def framework(self):
        return TensorflowFramework()

    @pytest.fixture
    def model(self, files):
        return files / "m.tflite"  # opened in a fraction of the time that TensorFlow takes to be imported

    @pytest.fixture
    def examples(self):
        return table(ROWS)

    @pytest.fixture
    def strangers(self, tmp_path):
        return [tmp_path, tmp_path / "m.onnx", "text", None]


def test_python_code_in_a_keras_file_is_not_run_and_the_error_says_what_to_do(tmp_path):
    canary = tmp_path / "canary"
    model = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x)])
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(held["config.json"])
    text = json.dumps(config)
    assert "Lambda" in text
    with pytest.raises(BadInputError, match="SavedModel") as refused:
        convert(tmp_path / "m.keras")
    assert refused.value.code == "pack.unreadable-model"
    assert not canary.exists()


def test_operators_that_touch_files_reach_none_of_ours(tmp_path):
    canary, secret = tmp_path / "canary", tmp_path / "secret"
    secret.write_text("the secret")

    class Evil(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32)])
        def serve(self, row):
            tf.io.write_file(str(canary), "tripped")
            length = tf.strings.length(tf.io.read_file(str(secret)))
            return {"out": row[:, :1] * 0 + tf.cast(length, tf.float32)}

    evil = Evil()
    tf.saved_model.save(evil, str(tmp_path / "evil"), signatures=evil.serve)
    with pytest.raises(BadInputError) as refused:
        convert(tmp_path / "evil")
    assert refused.value.code == "pack.examples-rejected"
    assert not canary.exists()


def test_what_is_no_model_is_a_clear_error(tmp_path):
    for name in ("m.keras", "m.tflite"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(BadInputError) as refused:
            convert(tmp_path / name)
        assert refused.value.code == "pack.unreadable-model"
