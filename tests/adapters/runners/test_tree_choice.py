"""What runs a graph fastest is measured where it is packed, kept in the package, and followed where it is loaded."""

import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
from skl2onnx import to_onnx
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from modelwright.adapters.runners.onnx import OnnxRunner, OnnxRunners
from modelwright.adapters.runners.sessions import CPU_ONLY, Sessions, open_session
from modelwright.adapters.runners.tree_choice import choose, choose_where_possible
from modelwright.adapters.runners.tree_measuring import SIZES
from modelwright.adapters.runners.trees import kernel
from modelwright.adapters.runners.trees.extract import extract
from modelwright.adapters.runners.trees.proof import proof_rows, require_same_bits
from modelwright.adapters.runners.trees.runner import TreeRunner
from modelwright.core import package_codec
from modelwright.core.errors import CorruptError, UnavailableError
from modelwright.core.kernels import KernelChoice
from modelwright.core.package import Description, Golden
from modelwright.core.signature import Signature, TensorSpec
from modelwright.jail import available

pytestmark = pytest.mark.skipif(not any(map(shutil.which, kernel.COMPILERS)), reason="needs a C compiler")
X = np.random.default_rng(7).normal(size=(200, 5)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
TREES = KernelChoice("trees", 3, "faster from 3 rows on")


def graph_of(model):
    options = {id(model.fit(X, Y)): {"zipmap": False}}
    return to_onnx(model, X[:1], options=options, target_opset={"ai.onnx.ml": 3, "": 17}).SerializeToString()


@pytest.fixture(scope="module")
def graph():
    return graph_of(GradientBoostingClassifier(n_estimators=40))


@pytest.fixture
def package(graph):
    """``package(choice)``: the ensemble with this choice in it."""
    sessions = Sessions(CPU_ONLY, memory_bytes=0, available=(), opener=open_session)
    answers = OnnxRunner("trees", *sessions.open(graph, name="trees", threads=1)).run({"X": X[:4]})
    signature = Signature(
        (TensorSpec("X", "FP32", (-1, 5)),),
        (TensorSpec("label", "INT64", (-1,)), TensorSpec("probabilities", "FP32", (-1, 2))),
    )
    golden = Golden({"X": X[:4].tolist()}, {name: tensor.tolist() for name, tensor in answers.items()}, 4)

    def make(choice):
        kernels = {} if choice is None else {"kernels.json": package_codec.kernels_json(choice)}
        return package_codec.assemble(
            "trees",
            {
                "model.onnx": graph,
                "package.json": package_codec.description_json(Description("trees", "", "", "", "onnx", "", "")),
                "signature.json": package_codec.signature_json(signature),
                "golden.json": package_codec.golden_json(golden),
                **kernels,
            },
        )

    return make


def test_an_ensemble_is_measured_in_a_jail_at_every_size_and_has_the_same_bits(graph):
    choice = choose("trees", graph, {"X": X})
    assert tuple(timing.rows for timing in choice.timings) == SIZES
    assert all(timing.onnxruntime > 0 and timing.trees > 0 for timing in choice.timings)
    assert choice.same_bits == 8192 + len(X)
    assert choice.isolation in (available().level, "strict")
    assert (choice.chosen == "trees") == (choice.from_rows in SIZES)


def test_a_graph_that_is_no_ensemble_is_for_onnx_runtime_and_says_why():
    choice = choose("line", graph_of(LogisticRegression()), {"X": X})
    assert replace(choice, machine="", isolation="") == KernelChoice(
        "onnxruntime", 0, "it is not one ensemble over its only input"
    )


def test_without_a_compiler_nothing_is_said_of_the_model(graph, monkeypatch, caplog):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UnavailableError, match="No C compiler") as refused:
        choose("trees", graph, {"X": X})
    assert refused.value.code == "pack.kernels-unmeasured"
    assert choose_where_possible("trees", graph, {"X": X}) is None
    assert "No C compiler" in caplog.records[-1].why


def test_bytes_that_are_no_graph_end_with_a_word_and_no_choice():
    with pytest.raises(UnavailableError) as refused:
        choose("trees", b"\x08\xff no graph", {"X": X})
    assert refused.value.code == "pack.kernels-unmeasured"


def test_the_choice_of_the_package_is_followed_where_it_is_loaded(package, tmp_path, caplog):
    caplog.set_level("INFO")
    runner = OnnxRunners(kernels=tmp_path / "kernels").load(package(TREES))
    assert isinstance(runner, TreeRunner)
    assert runner.least == 3
    assert (caplog.records[-1].from_rows, caplog.records[-1].measured) == (3, "where it was packed")


def test_a_model_measured_to_be_faster_on_onnx_runtime_stays_there_and_nothing_is_compiled(package, tmp_path, caplog):
    caplog.set_level("INFO")
    choice = KernelChoice("onnxruntime", 0, "ONNX Runtime is as fast")
    runner = OnnxRunners(kernels=tmp_path / "kernels").load(package(choice))
    assert isinstance(runner, OnnxRunner)
    assert "ONNX Runtime is as fast" in caplog.records[-1].why
    assert not (tmp_path / "kernels").exists()


@pytest.mark.parametrize("told", [True, False], ids=["no compiler", "not told to"])
def test_where_the_choice_cannot_be_followed_the_log_says_why(package, tmp_path, monkeypatch, caplog, told):
    caplog.set_level("INFO")
    monkeypatch.setenv("PATH", "")
    runner = OnnxRunners(kernels=tmp_path / "kernels" if told else None).load(package(TREES))
    assert isinstance(runner, OnnxRunner)
    assert ("no C compiler" if told else "MODELWRIGHT_KERNELS") in caplog.records[-1].why


def test_an_ensemble_that_differs_in_one_weight_is_found_by_the_rows_of_the_proof(package, tmp_path):
    onnx_runner = OnnxRunners().load(package(None))
    trees = extract(onnx.load_from_string(package(None).read("model.onnx")).graph)
    weights = trees.weights.copy()
    weights[np.flatnonzero(weights)[0]] *= np.float32(1.001)
    off = TreeRunner(onnx_runner, replace(trees, weights=weights), kernel.load(tmp_path / "kernels"))
    with pytest.raises(kernel.NoKernelError, match="differs"):
        require_same_bits(off, onnx_runner, "X", proof_rows(trees))


@pytest.mark.parametrize("choice", [replace(TREES, from_rows=0), KernelChoice("onnxruntime", 4, "")])
def test_a_choice_that_contradicts_itself_is_no_package(package, choice):
    with pytest.raises(CorruptError, match="no choice"):
        package(choice)
