import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import modelwright as mw
from modelwright.adapters.frameworks.exchange import read_examples, write_examples
from modelwright.adapters.frameworks.onnx_file import OnnxFileFramework
from modelwright.adapters.frameworks.python_file import PythonFramework
from modelwright.core.errors import BadInputError
from modelwright.core.table import Table
from modelwright.lifecycle.local import read_tensors
from modelwright.ports.framework import Hints

IMAGES = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)


@pytest.fixture
def doubler(tmp_path):
    spec = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, 4]) for name in ("pixels", "out")]
    graph = helper.make_graph([helper.make_node("Add", ["pixels", "pixels"], ["out"])], "d", spec[:1], spec[1:])
    path = tmp_path / "d.onnx"
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)]), path)
    return path


def test_arrays_are_the_golden_examples_of_a_model_whose_input_is_no_table(doubler, tmp_path):
    np.savez(tmp_path / "x.npz", pixels=IMAGES)
    hints = Hints(read_tensors(tmp_path / "x.npz"))
    made = OnnxFileFramework().convert(doubler, None, hints=hints)
    np.testing.assert_array_equal(made.outputs["out"], 2 * IMAGES)
    package = mw.pack(doubler, name="d", examples={"pixels": IMAGES}).package
    assert package.golden.rows == 2
    assert package.golden.inputs["pixels"][1] == IMAGES[1].tolist()


def test_one_array_needs_no_name_where_there_is_one_input(doubler):
    assert mw.pack(doubler, name="d", examples=IMAGES).package.golden.rows == 2


def test_arrays_of_other_names_are_refused_with_the_names_that_are_asked(doubler):
    with pytest.raises(BadInputError, match="'pixels' is missing") as refused:
        OnnxFileFramework().convert(doubler, None, hints=Hints({"a": IMAGES, "b": IMAGES}))
    assert refused.value.code == "pack.wrong-tensors"
    assert "pixels FP32 [-1, 3, 4]" in refused.value.why


def test_what_a_framework_does_not_take_is_refused(tmp_path):
    (tmp_path / "m.py").write_text("def predict(inputs): return inputs\n")
    for hints, code in (
        (Hints(options={"depth": "3"}), "pack.unknown-option"),
        (Hints({"a": IMAGES}), "pack.no-table"),
    ):
        with pytest.raises(BadInputError) as refused:
            PythonFramework().convert(tmp_path / "m.py", None, hints=hints)
        assert refused.value.code == code


def test_a_file_of_pickled_objects_is_no_file_of_arrays(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.array([object()], dtype=object))
    with pytest.raises(BadInputError, match="cannot be read as a file of arrays"):
        read_tensors(tmp_path / "x.npz")


def test_rows_and_arrays_reach_the_converter_as_they_are(tmp_path):
    rows = Table({"a": np.array(["x", None], dtype=object)})
    write_examples(tmp_path, rows, {"pixels": IMAGES})
    table, tensors = read_examples(tmp_path)
    assert table["a"].tolist() == ["x", None]
    np.testing.assert_array_equal(tensors["pixels"], IMAGES)
