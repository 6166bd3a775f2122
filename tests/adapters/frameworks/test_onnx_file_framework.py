from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from modelwright.adapters.frameworks.onnx_file import OnnxFileFramework
from modelwright.core.signature import DATATYPES
from modelwright.features.tabular import table
from modelwright.testing.errors import error_code
from modelwright.testing.framework import FrameworkConformance

ONNX_TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def identity(path, datatypes=("FP32",), shape=("n", 2)):
    values = [(f"in{i}", f"out{i}", ONNX_TYPES[datatype]) for i, datatype in enumerate(datatypes)]
    graph = helper.make_graph(
        [helper.make_node("Identity", [source], [to]) for source, to, _ in values],
        "identity",
        [helper.make_tensor_value_info(source, kind, shape) for source, _, kind in values],
        [helper.make_tensor_value_info(to, kind, shape) for _, to, kind in values],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


class TestIdentity(FrameworkConformance):
    @pytest.fixture
    def framework(self):
        return OnnxFileFramework()

    @pytest.fixture
    def model(self, tmp_path):
        return identity(tmp_path / "identity.onnx")

    @pytest.fixture
    def examples(self):
        return table(np.arange(6.0).reshape(3, 2), ["a", "b"])

    @pytest.fixture
    def strangers(self):
        return (Path("model.joblib"), "model.onnx", 1, object())


def test_every_datatype_of_the_protocol_can_be_packed(tmp_path):
    made = OnnxFileFramework().convert(identity(tmp_path / "i.onnx", tuple(ONNX_TYPES)), None)
    assert [spec.datatype for spec in made.signature.inputs] == list(ONNX_TYPES)
    assert made.signature.inputs[0].shape == (-1, 2)
    assert made.signature.task == "none"
    assert made.parity is None
    for index, datatype in enumerate(ONNX_TYPES):
        assert made.inputs[f"in{index}"].dtype == DATATYPES[datatype]
        np.testing.assert_array_equal(made.outputs[f"out{index}"], made.inputs[f"in{index}"])


def test_a_scalar_and_a_fixed_shape_can_be_packed(tmp_path):
    scalar = OnnxFileFramework().convert(identity(tmp_path / "s.onnx", shape=()), None)
    assert scalar.signature.inputs[0].shape == ()
    image = OnnxFileFramework().convert(identity(tmp_path / "i.onnx", shape=("batch", 3, 8, 8)), None)
    assert image.signature.inputs[0].shape == (-1, 3, 8, 8)
    assert image.outputs["out0"].shape == (1, 3, 8, 8)


def test_a_classifier_is_known_by_its_outputs(tmp_path):
    graph = helper.make_graph(
        [
            helper.make_node("Softmax", ["X"], ["probabilities"], axis=1),
            helper.make_node("ArgMax", ["X"], ["label"], axis=1, keepdims=0),
        ],
        "classifier",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["n", 3])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 3]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "c.onnx").write_bytes(model.SerializeToString())
    signature = OnnxFileFramework().convert(tmp_path / "c.onnx", None).signature
    assert (signature.task, signature.classes) == ("multiclass", ("0", "1", "2"))


def test_a_graph_that_refuses_plain_rows_has_no_golden_examples(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "index"], ["value"])],
        "lookup",
        [helper.make_tensor_value_info("index", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("value", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor("table", TensorProto.FLOAT, [1], [5.0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "g.onnx").write_bytes(model.SerializeToString())
    made = OnnxFileFramework().convert(tmp_path / "g.onnx", None)
    assert (made.inputs, made.outputs) == ({}, {})


def test_what_is_no_graph_is_a_clear_error(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"not a graph")
    assert error_code(OnnxFileFramework().convert, tmp_path / "x.onnx", None) == "pack.unreadable-model"
    assert error_code(OnnxFileFramework().convert, tmp_path / "none.onnx", None) == "pack.missing-file"
