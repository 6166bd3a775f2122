"""A Python file as a model: its signature comes from the examples and from what it answers."""

import textwrap

import numpy as np
import pandas as pd
import pytest

from modelwright.adapters.frameworks.python_file import PythonFramework
from modelwright.adapters.frameworks.python_native import convert_python
from modelwright.core.errors import BadInputError, InternalError, ModelwrightError, RefusedError
from modelwright.core.native import Native
from modelwright.features.tabular import table

ROWS = pd.DataFrame({"age": [20, 50, 70, 33], "spend": [1.5, np.nan, 2.0, 8.0], "town": ["Ulm", None, "Bonn", "Ulm"]})
RULE = """
import json, numpy as np
CLASSES = ["no", "yes"]
def predict(inputs):
    p = 1 / (1 + np.exp(-(inputs["age"][:, 0] - 45) / 5))
    return {"label": np.where(p > 0.5, "yes", "no"), "probabilities": np.stack([1 - p, p], axis=1)}
"""


def converted(tmp_path, source, rows=ROWS):
    file = tmp_path / "rule.py"
    file.write_text(textwrap.dedent(source))
    return convert_python(file, None if rows is None else table(rows), target="t")


def test_a_classifier_is_known_by_the_names_of_its_outputs_and_by_its_classes(tmp_path):
    made = converted(tmp_path, RULE)
    signature = made.signature
    assert (signature.task, signature.classes) == ("binary", ("no", "yes"))
    assert (signature.label_output, signature.score_output, signature.target) == ("label", "probabilities", "t")
    assert [(spec.name, spec.datatype, spec.shape) for spec in signature.inputs] == [
        ("age", "FP64", (-1, 1)),
        ("spend", "FP64", (-1, 1)),
        ("town", "BYTES", (-1, 1)),
    ]
    assert made.native == Native("python", "model.py")
    assert made.outputs["label"].tolist() == ["no", "yes", "yes", "no"]
    assert made.row_independent
    assert {row["name"] for row in made.environment} == {"numpy"}


def test_a_stream_and_a_sequence_are_noted_and_the_first_chunks_are_held_to_the_signature(tmp_path):
    plain = "def predict(inputs): return {'y': inputs['age']}\n"
    assert converted(tmp_path, plain).native == Native("python", "model.py")
    streaming = converted(
        tmp_path, plain + "def stream(inputs):\n    yield {'y': inputs['age']}\n    yield {'y': [[1]]}\n"
    )
    assert streaming.native == Native("python", "model.py", streams=True)
    counting = converted(tmp_path, "def predict(inputs, sequence): return {'y': inputs['age']}")
    assert counting.native == Native("python", "model.py", sequences=True)
    with pytest.raises(InternalError) as caught:
        converted(tmp_path, plain + "def stream(inputs):\n    yield {'z': inputs['age']}\n")
    assert caught.value.code == "native.bad-answer"


def test_one_number_a_row_that_is_called_prediction_is_a_regression(tmp_path):
    made = converted(tmp_path, "def predict(inputs): return {'prediction': inputs['age'][:, 0] * 2}")
    assert (made.signature.task, made.signature.label_output) == ("regression", "prediction")


def test_other_outputs_claim_no_task(tmp_path):
    made = converted(tmp_path, "def predict(inputs): return {'a': inputs['age'] * [1.0, 2.0], 'b': ['x'] * 4}")
    assert made.signature.task == "none"
    assert [(spec.name, spec.datatype, spec.shape) for spec in made.signature.outputs] == [
        ("a", "FP64", (-1, 2)),
        ("b", "BYTES", (-1,)),
    ]
    assert not made.row_independent  # four texts whatever it is asked


def test_whole_numbers_stay_whole_where_the_file_needs_them_so(tmp_path):
    source = """
    import numpy as np
    STEPS = np.arange(100.0)
    def predict(inputs): return {"prediction": STEPS[inputs["age"][:, 0]]}
    """
    assert converted(tmp_path, source).signature.inputs[0].datatype == "INT64"


def test_a_missing_text_is_an_empty_one_and_a_missing_number_is_nan(tmp_path):
    source = """
    import numpy as np
    def predict(inputs):
        return {"gap": np.isnan(inputs["spend"][:, 0]), "none": inputs["town"][:, 0] == ""}
    """
    outputs = converted(tmp_path, source).outputs
    assert outputs["gap"].tolist() == outputs["none"].tolist() == [False, True, False, False]


def test_a_file_that_is_not_the_same_twice_is_refused_and_rows_that_hang_together_are_said_to(tmp_path):
    with pytest.raises(RefusedError) as caught:
        converted(tmp_path, "n = 0\ndef predict(i):\n    global n\n    n += 1\n    return {'a': i['age'] + n}")
    assert caught.value.code in {"pack.not-repeatable", "pack.native-differs"}
    made = converted(tmp_path, "def predict(i): return {'a': i['age'] - i['age'].mean()}")
    assert not made.row_independent
    assert "do not stand alone" in made.notes["rows"]


@pytest.mark.parametrize(
    ("source", "rows", "code"),
    [
        (RULE, None, "pack.no-examples"),
        (RULE, ROWS[:0], "pack.no-examples"),
        (RULE, ROWS.drop(columns="age"), "serve.model-rejected-input"),
        (RULE, ROWS.assign(day=pd.Timestamp("2024-02-29")), "pack.unsupported-column"),
        (RULE.replace('["no", "yes"]', '["a", "b", "c"]'), ROWS, "pack.wrong-classes"),
        ("def predict(i): return {}", ROWS, "pack.unsupported-model"),
        ("def predict(i): return {'a': [1]}", ROWS, "native.bad-answer"),
        ("def predict(", ROWS, "native.unreadable-model"),
    ],
)
def test_what_cannot_be_packed_says_why(tmp_path, source, rows, code):
    with pytest.raises((BadInputError, InternalError)) as caught:
        converted(tmp_path, source, rows)
    assert caught.value.code == code
    assert caught.value.fix


def test_a_folder_is_packed_with_what_lies_beside_its_model_but_hidden_files(tmp_path):
    folder = tmp_path / "rule"
    (folder / "weights").mkdir(parents=True)
    (folder / "model.py").write_text(
        "from helper import twice\n"
        "class Model:\n"
        "    def __init__(self, folder): self.factor = float((folder / 'weights' / 'factor.txt').read_text())\n"
        "    def predict(self, inputs): return {'prediction': twice(self.factor * inputs['age'][:, 0])}\n"
    )
    (folder / "helper.py").write_text("def twice(x): return 2 * x\n")
    (folder / "weights" / "factor.txt").write_text("3")
    (folder / ".secret").write_text("not this")
    framework = PythonFramework()
    assert framework.owns(folder)
    made = framework.convert(folder, table(ROWS), target="t", isolation="standard")
    assert sorted(made.files) == ["helper.py", "model.py", "weights/factor.txt"]
    assert made.outputs["prediction"].tolist() == [120.0, 300.0, 420.0, 198.0]
    assert made.native.isolation == "standard"
    (folder / "package.json").write_text("{}")
    with pytest.raises(BadInputError) as caught:
        framework.convert(folder, table(ROWS))
    assert caught.value.code == "pack.reserved-name"


def test_the_framework_owns_python_files_and_runs_them_in_a_jail_only(tmp_path):
    file, mark = tmp_path / "rule.py", tmp_path / "mark"
    file.write_text(f"try: open({str(mark)!r}, 'w')\nexcept OSError: pass\n{RULE}")
    framework = PythonFramework()
    assert framework.owns(file)
    assert not framework.owns(tmp_path / "rule.joblib")
    made = framework.convert(file, table(ROWS), target="t")
    assert made.files == {"model.py": file.read_bytes()}
    assert "own process" in made.notes["isolation"]
    assert not mark.exists()
    with pytest.raises(ModelwrightError) as caught:
        framework.convert(file, table(ROWS), route="onnx")
    assert caught.value.code == "pack.wrong-route"
