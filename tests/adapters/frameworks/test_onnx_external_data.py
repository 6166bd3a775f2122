import hashlib

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelwright import wiring
from modelwright.adapters.frameworks.onnx_file import OnnxFileFramework
from modelwright.adapters.frameworks.onnx_split import split
from modelwright.adapters.runners.sessions import CPU_ONLY, Sessions, open_session
from modelwright.adapters.stores.local_blobs import LocalBlobs
from modelwright.adapters.stores.package_files import open_path, write_directory, write_zip
from modelwright.core import package_codec as codec
from modelwright.core.content import stored
from modelwright.pack import build
from modelwright.ports.framework import Hints
from modelwright.testing.errors import error_code

WIDTH = 32
WIDE = 3000  # its weights are large enough to stay beside the graph


def rows(width):
    return {"x": np.arange(2 * width, dtype=np.float32).reshape(2, width) / width}


def linear(width=WIDTH):
    weights = np.eye(width, dtype=np.float32) * 2
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones(width, np.float32), "one"))],
        "branch",
        [],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, [width])],
    )
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["xw"]),
            helper.make_node("If", ["yes"], ["b"], then_branch=branch, else_branch=branch),
            helper.make_node("Add", ["xw", "b"], ["y"]),
        ],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", width])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.array(True), "yes")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def external(path, *, one_file=True, width=WIDTH):
    onnx.save(
        linear(width),
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=one_file,
        size_threshold=0,
        convert_attribute=True,
    )
    return path


def relocated(path, location):
    model = onnx.load(external(path), load_external_data=False)
    next(entry for entry in model.graph.initializer[0].external_data if entry.key == "location").value = location
    path.write_bytes(model.SerializeToString())
    return path


def pack(path, **options):
    return build(OnnxFileFramework().convert(path, None, **options), name="linear")


@pytest.mark.parametrize("one_file", [True, False])
@pytest.mark.parametrize("width", [WIDTH, WIDE])
@pytest.mark.parametrize("write", [write_zip, write_directory])
def test_tensors_beside_a_graph_are_packed_with_it_and_answer_alike(tmp_path, one_file, width, write):
    package = pack(external(tmp_path / "m.onnx", one_file=one_file, width=width))
    assert (codec.WEIGHTS in package.manifest.files) == (width == WIDE)
    write(package, tmp_path / "m.mw")
    given = rows(width)
    runner = wiring.runners().load(open_path(tmp_path / "m.mw"))
    np.testing.assert_allclose(runner.run(given)["y"], given["x"] * 2 + 1)


def test_a_large_package_from_a_blob_store_answers_alike(tmp_path):
    package = pack(external(tmp_path / "m.onnx", width=WIDE))
    blobs = LocalBlobs(tmp_path / "blobs")
    again = codec.load(codec.store(package, blobs.put), blobs.get)
    given = rows(WIDE)
    np.testing.assert_allclose(wiring.runners().load(again).run(given)["y"], given["x"] * 2 + 1)


def test_a_package_with_tensors_beside_its_graph_opens_in_onnx_runtime_alone(tmp_path):
    write_directory(pack(external(tmp_path / "m.onnx", width=WIDE)), tmp_path / "out")

    held = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    given = rows(WIDE)
    np.testing.assert_allclose(held.run(None, given)[0], given["x"] * 2 + 1)


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "a/../../secret", "", "sub\\secret", "./secret"])
def test_a_tensor_outside_the_folder_of_its_graph_is_refused(tmp_path, location):
    (tmp_path / "secret").write_bytes(bytes(4 * WIDTH * WIDTH))
    (tmp_path / "below").mkdir()
    path = relocated(tmp_path / "below" / "m.onnx", location)
    assert error_code(OnnxFileFramework().convert, path, None) == "pack.unsafe-external-data"


def test_a_tensor_behind_a_link_is_refused(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(4 * WIDTH * WIDTH))
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    path = relocated(tmp_path / "m.onnx", "link")
    assert error_code(OnnxFileFramework().convert, path, None) == "pack.unsafe-external-data"


def test_a_tensor_that_is_not_there_or_cut_short_is_told_by_name(tmp_path):
    path = relocated(tmp_path / "m.onnx", "nowhere")
    assert error_code(OnnxFileFramework().convert, path, None) == "pack.missing-external-data"
    path = relocated(tmp_path / "m.onnx", "short")
    (tmp_path / "short").write_bytes(b"1234")
    assert error_code(OnnxFileFramework().convert, path, None) == "pack.missing-external-data"


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "0"])
def test_a_package_of_another_writer_reads_no_file_but_its_own(tmp_path, location):
    (tmp_path / "secret").write_bytes(bytes(4 * WIDTH * WIDTH))
    package = pack(external(tmp_path / "m.onnx", width=WIDE))
    model = onnx.load_model_from_string(package.read(codec.MODEL))
    next(entry for entry in model.graph.initializer[0].external_data if entry.key == "location").value = location
    files = {name: package.read(name) for name in package.manifest.files} | {codec.MODEL: model.SerializeToString()}
    assert error_code(wiring.runners().load, codec.assemble("linear", files)) == "serve.graph-unusable"


def test_a_graph_given_as_bytes_reads_no_file_at_all(tmp_path, monkeypatch):
    content = external(tmp_path / "m.onnx").read_bytes()
    monkeypatch.chdir(tmp_path)
    sessions = Sessions(CPU_ONLY, memory_bytes=0, available=(), opener=open_session)
    assert error_code(sessions.open, content, name="linear", threads=1) == "serve.graph-unusable"


def test_changed_tensors_beside_a_graph_are_noticed(tmp_path):
    write_directory(pack(external(tmp_path / "m.onnx", width=WIDE)), tmp_path / "out")
    held = bytearray((tmp_path / "out" / codec.WEIGHTS).read_bytes())
    held[-1] ^= 1
    (tmp_path / "out" / codec.WEIGHTS).write_bytes(held)
    assert error_code(wiring.runners().load, open_path(tmp_path / "out")) == "package.corrupt"


def test_an_old_graph_is_upgraded_and_says_so(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "b"], ["y"], broadcast=1, axis=1)],
        "old",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3]),
            helper.make_tensor_value_info("b", TensorProto.FLOAT, [3]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])],
        [numpy_helper.from_array(np.array([1, 2, 3], np.float32), "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 6)], ir_version=3)
    (tmp_path / "old.onnx").write_bytes(model.SerializeToString())
    package = pack(tmp_path / "old.onnx")
    assert package.description.notes["upgraded"] == "from opset 6 to 17"
    answers = wiring.runners().load(package).run({"x": np.zeros((2, 3), np.float32)})
    np.testing.assert_array_equal(answers["y"], [[1, 2, 3], [1, 2, 3]])


def test_an_invalid_graph_is_refused_and_may_be_left_to_onnx_runtime(tmp_path):
    model = linear()
    model.graph.node[0].ClearField("output")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert error_code(OnnxFileFramework().convert, tmp_path / "m.onnx", None) == "pack.invalid-graph"
    unchecked = Hints(options={"check": "no"})
    assert (
        error_code(OnnxFileFramework().convert, tmp_path / "m.onnx", None, hints=unchecked) == "pack.unreadable-model"
    )
    wrong = Hints(options={"check": "maybe"})
    assert error_code(OnnxFileFramework().convert, tmp_path / "m.onnx", None, hints=wrong) == "pack.bad-option"


def test_the_digest_of_a_package_does_not_depend_on_how_its_tensors_were_split(tmp_path):
    digests = set()
    for one_file in (True, False):
        (tmp_path / str(one_file)).mkdir()
        package = pack(external(tmp_path / str(one_file) / "m.onnx", one_file=one_file, width=WIDE))
        digests.add(hashlib.sha256(package.read(codec.WEIGHTS)).hexdigest())
    assert len(digests) == 1


def test_a_large_graph_with_its_tensors_inside_is_split_and_answers_alike(tmp_path):
    (tmp_path / "m.onnx").write_bytes(linear(WIDE).SerializeToString())
    package = pack(tmp_path / "m.onnx")
    assert package.manifest.files[codec.MODEL].size < 100_000
    model = onnx.load_model_from_string(package.read(codec.MODEL))
    write_directory(package, tmp_path / "out")
    again = onnx.load(tmp_path / "out" / "model.onnx")
    assert [tensor.name for tensor in model.graph.initializer] == ["w", "yes"]
    assert numpy_helper.to_array(again.graph.initializer[0]).tobytes() == (np.eye(WIDE, dtype=np.float32) * 2).tobytes()
    given = rows(WIDE)
    np.testing.assert_allclose(wiring.runners().load(package).run(given)["y"], given["x"] * 2 + 1)


@pytest.mark.parametrize("content", [b"\xff" * 100, b"\x3a\xff\xff\xff\xff\x0f", b"", b"\x00\x00", b"\x3a\x05ab"])
def test_a_large_file_that_is_no_graph_is_not_split(content):
    assert split(stored([content])) is None
