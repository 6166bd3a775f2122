"""PyTorch models in every form in which people keep them."""

import copy
import sys
from pathlib import Path

import joblib
import numpy as np
import onnx
import pytest
import torch
from torch import nn

from modelwright.adapters.frameworks.onnx_file import session
from modelwright.adapters.frameworks.torch import TorchFramework
from modelwright.core.errors import BadInputError, RefusedError
from modelwright.native import open_model
from modelwright.native.torch_model import open_file
from modelwright.ports.framework import Hints
from modelwright.testing.errors import error_code
from modelwright.testing.framework import AskedTwice, FrameworkConformance

CODE = str(Path(__file__).with_name("nets.py"))
FREE = {0: torch.export.Dim.DYNAMIC}


def matrix(rows):
    return np.stack([rows[name] for name in rows.names], axis=1).astype(np.float32)


def answers(net, array):
    net = copy.deepcopy(net).eval()
    with torch.inference_mode():
        return net(torch.from_numpy(array)).numpy()


def opened(conversion, folder):
    for name, content in conversion.files.items():
        (folder / name).write_bytes(content)
    return open_model(conversion.native, folder / conversion.native.file, conversion.signature)


def served(conversion, folder):
    """What answers, on either route."""
    if conversion.native is not None:
        return opened(conversion, folder)
    graph = session(conversion.onnx)
    names = [spec.name for spec in conversion.signature.outputs]
    return lambda feeds: dict(zip(names, graph.run(names, feeds), strict=True))


TWICE = AskedTwice(TorchFramework())


class TestConformance(FrameworkConformance):
    @pytest.fixture
    def framework(self):
        return TWICE

    @pytest.fixture
    def model(self, trained):
        return trained

    @pytest.fixture
    def examples(self, rows):
        return rows

    @pytest.fixture
    def strangers(self):
        return [object(), Path("model.onnx"), Path("model.joblib"), torch.zeros(3)]


@pytest.fixture(scope="module")
def packed(trained, rows):
    return TorchFramework().convert(trained, rows, target="size")


def test_a_module_becomes_a_graph_that_answers_any_number_of_rows_in_evaluation_mode(packed, trained, rows):
    assert "evaluation mode" in packed.notes["mode"]
    assert trained.training, "it is given back as it came"
    assert packed.row_independent
    graph = session(packed.onnx)
    for count in (1, 2, 17):
        array = matrix(rows)[:count]
        np.testing.assert_allclose(graph.run(["output"], {"x": array})[0], answers(trained, array), atol=1e-5)


def test_inputs_and_outputs_have_the_names_of_forward_and_columns_are_bound(packed, rows):
    (spec,) = packed.signature.inputs
    assert (spec.name, spec.datatype, spec.shape, spec.features) == ("x", "FP32", (-1, 3), rows.names)
    assert [(spec.name, spec.shape) for spec in packed.signature.outputs] == [("output", (-1, 2))]


def test_a_graph_says_nothing_of_the_source_files_it_came_from(packed):
    said = str(onnx.load_from_string(packed.onnx))
    assert "stack_trace" not in said
    assert "nets.py" not in said


def test_outputs_get_the_names_they_are_given_and_classes_make_a_classifier(nets, rows):
    tokens = np.random.default_rng(1).integers(0, 20, (30, 6))
    weight = np.random.default_rng(2).normal(size=(30, 1))
    hints = Hints({"tokens": tokens, "weight": weight}, {"classes": "no,yes", "dynamic": "tokens:1"})
    made = TorchFramework().convert(nets.seeded(nets.Two), None, target="late", hints=hints)
    assert [(spec.name, spec.datatype, spec.shape) for spec in made.signature.inputs] == [
        ("tokens", "INT64", (-1, -1)),
        ("weight", "FP32", (-1, 1)),
    ]
    assert made.signature.task == "binary"
    assert made.signature.score_output == "probabilities"
    longer = session(made.onnx).run(
        ["probabilities"], {"tokens": tokens[:, [0, 1, 2, 3, 4, 5, 0]], "weight": weight.astype(np.float32)}
    )
    assert longer[0].shape == (30, 2)
    with pytest.raises(BadInputError) as refused:
        TorchFramework().convert(nets.seeded(nets.Two), None, hints=Hints(hints.tensors, {"outputs": "only"}))
    assert refused.value.code == "pack.wrong-outputs"


def file_of(kind, net, folder, rows):
    """The path of the network in that form, and the options that it needs."""
    net = copy.deepcopy(net)
    if kind == "exported program":
        path = folder / "net.pt2"
        torch.export.save(
            torch.export.export(net.eval(), (torch.from_numpy(matrix(rows)),), dynamic_shapes=(FREE,)), path
        )
        return path, {}
    path = folder / ("net.ts" if kind == "TorchScript" else "net.pt")
    if kind == "TorchScript":
        torch.jit.script(net).save(str(path))
        return path, {}
    if kind == "weights":
        torch.save(net.state_dict(), path)
        return path, {"factory": f"{CODE}:build"}
    torch.save(net, path)
    return path, {"code": CODE}


@pytest.mark.parametrize("kind", ["weights", "TorchScript"])
def test_a_file_is_opened_in_the_jail_and_converted(kind, trained, packed, rows, tmp_path):
    path, options = file_of(kind, trained, tmp_path, rows)
    made = TorchFramework().convert(path, rows, target="size", route="onnx", hints=Hints({}, options))
    assert "strict" in made.notes["isolation"]
    found = session(made.onnx).run(None, {"x": matrix(rows)})[0]
    np.testing.assert_allclose(found, answers(trained, matrix(rows)), atol=1e-5)
    assert (made.onnx == packed.onnx) == (kind == "weights"), "the same module gives the same graph"


@pytest.mark.parametrize("kind", ["exported program", "pickled module"])
def test_a_file_is_opened_in_the_jail_and_kept_as_code(kind, nets, trained, rows, tmp_path, monkeypatch):
    path, options = file_of(kind, trained, tmp_path, rows)
    kept = TorchFramework().convert(path, rows, route="native", hints=Hints({}, options))
    assert kept.parity.holds
    assert not kept.onnx
    monkeypatch.setitem(sys.modules, "nets", nets)  # opening it here runs the file again
    found = opened(kept, tmp_path)({"x": matrix(rows)})["output"]
    np.testing.assert_allclose(found, answers(trained, matrix(rows)), atol=1e-5)


def test_an_axis_that_may_have_any_size_has_it_in_the_answer_too(nets, tmp_path):
    tokens = np.random.default_rng(1).integers(0, 20, (9, 6))
    hints = Hints({"tokens": tokens}, {"dynamic": "tokens:1"})
    net = nets.seeded(nets.Words)
    for route in ("onnx", "native"):
        made = TorchFramework().convert(net, None, route=route, hints=hints)
        assert made.signature.outputs[0].shape == (-1, -1)
        longer = np.concatenate([tokens, tokens], axis=1)
        run = served(made, tmp_path)
        np.testing.assert_allclose(run({"tokens": longer})["output"], answers(net, longer), atol=1e-5)


def test_what_depends_on_its_values_is_kept_as_it_is_and_the_package_says_why(nets, rows, tmp_path):
    torch.save(nets.seeded(nets.Branching), tmp_path / "net.pt")
    hints = Hints({}, {"code": CODE})
    kept = TorchFramework().convert(tmp_path / "net.pt", rows, hints=hints)
    assert kept.native.loader == "torch"
    assert "Branching has no conversion to ONNX" in kept.notes["route"]
    with pytest.raises(RefusedError) as refused:
        TorchFramework().convert(nets.seeded(nets.Branching), rows, route="onnx")
    assert refused.value.code == "pack.unconvertible"


def test_a_module_in_memory_that_only_torchscript_can_write_down_is_kept_as_that(nets, rows, tmp_path):
    net = nets.seeded(nets.Scripted)
    kept = TorchFramework().convert(net, rows)
    assert kept.native.file == "model.ts"
    np.testing.assert_allclose(opened(kept, tmp_path)({"x": matrix(rows)})["output"], answers(net, matrix(rows)))


def test_a_module_in_memory_is_kept_as_a_program_that_needs_no_code_of_the_users(trained, rows, tmp_path):
    kept = TorchFramework().convert(copy.deepcopy(trained), rows, route="native")
    assert kept.native.file == "model.pt2"
    assert kept.model_class == "Net"
    np.testing.assert_allclose(
        opened(kept, tmp_path)({"x": matrix(rows)})["output"], answers(trained, matrix(rows)), atol=1e-6
    )


def test_a_module_that_joblib_pickled_is_converted_too(rows, tmp_path):
    from modelwright.adapters.frameworks.sklearn import SklearnFramework

    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    joblib.dump(net, tmp_path / "net.joblib")
    made = SklearnFramework().convert(tmp_path / "net.joblib", rows)
    assert made.framework == "torch"
    np.testing.assert_allclose(
        session(made.onnx).run(None, {made.signature.inputs[0].name: matrix(rows)})[0],
        answers(net, matrix(rows)),
        atol=1e-5,
    )


def test_weights_without_the_code_that_takes_them_name_the_option_that_gives_it(trained, tmp_path):
    torch.save(trained.state_dict(), tmp_path / "net.pt")
    with pytest.raises(BadInputError) as refused:
        open_file(tmp_path / "net.pt", {})
    assert refused.value.code == "native.unreadable-model"
    assert "factory=FILE.py:FUNCTION" in refused.value.fix


class Evil:
    def __reduce__(self):
        return (Path.write_text, (Path("/tmp/modelwright-evil"), "here"))


def test_a_file_that_runs_code_runs_it_in_the_jail_only(rows, tmp_path):
    torch.save(Evil(), tmp_path / "net.pt")
    with pytest.raises(BadInputError) as refused:
        TorchFramework().convert(tmp_path / "net.pt", rows)
    assert refused.value.code == "pack.unreadable-model"
    assert not Path("/tmp/modelwright-evil").exists()


def test_a_program_of_a_fixed_number_of_rows_is_refused_with_the_way_to_export_it(trained, rows, tmp_path):
    net = copy.deepcopy(trained).eval()
    torch.export.save(torch.export.export(net, (torch.zeros(len(rows), 3),)), tmp_path / "net.pt2")
    with pytest.raises(BadInputError) as refused:
        TorchFramework().convert(tmp_path / "net.pt2", rows)
    assert refused.value.code == "pack.fixed-batch"
    assert "Dim.DYNAMIC" in refused.value.fix


class Random(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)


def test_a_model_that_answers_by_chance_is_refused(rows):
    assert error_code(TorchFramework().convert, torch.jit.script(Random()), rows) == "pack.not-repeatable"


def test_examples_that_the_model_does_not_take_are_said_to_be_the_reason(nets, rows):
    framework = TorchFramework()
    assert (
        error_code(framework.convert, nets.Net(), rows.take(slice(0, 5)).without("width")) == "pack.examples-rejected"
    )
    wrong = Hints({"tokens": np.zeros((3, 2), dtype=np.int64)})
    assert error_code(framework.convert, nets.Two(), None, hints=wrong) == "pack.wrong-tensors"
    assert error_code(framework.convert, nets.Two(), rows) == "pack.wrong-columns"
    assert error_code(framework.convert, nets.Net(), rows, hints=Hints({}, {"split": "half"})) == "pack.bad-option"
    assert error_code(framework.convert, nets.Net(), rows, hints=Hints({}, {"factory": "x"})) == "pack.bad-option"


@pytest.mark.parametrize("name", ["net.pt", "net.pt2", "net.ts"])
def test_a_file_of_noise_is_no_model(name, tmp_path):
    (tmp_path / name).write_bytes(b"noise")
    assert error_code(open_file, tmp_path / name, {}) == "native.unreadable-model"
