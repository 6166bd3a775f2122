"""Ensembles of trees by a kernel of our own: the same bits as ONNX Runtime's, or not at all."""

import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
from skl2onnx import to_onnx
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)

from modelwright.adapters.runners.onnx import OnnxRunner, OnnxRunners
from modelwright.adapters.runners.sessions import CPU_ONLY, Sessions, open_session
from modelwright.adapters.runners.trees import kernel
from modelwright.adapters.runners.trees.ensemble import read, write
from modelwright.adapters.runners.trees.extract import UnknownFormError, extract
from modelwright.adapters.runners.trees.proof import proof_rows
from modelwright.adapters.runners.trees.runner import TreeRunner, with_kernel
from modelwright.core import package_codec
from modelwright.core.package import Description, Golden
from modelwright.core.signature import Signature, TensorSpec
from modelwright.testing.runner import RunnerConformance

pytestmark = pytest.mark.skipif(not any(map(shutil.which, kernel.COMPILERS)), reason="needs a C compiler")
RANDOM = np.random.default_rng(7)
X = RANDOM.normal(size=(300, 5)).astype(np.float32)
HOLED = np.where(RANDOM.random(X.shape) < 0.1, np.float32("nan"), X)
Y = (X[:, 0] * X[:, 1] + X[:, 2] > 0).astype(int)
TARGETS = {"ai.onnx.ml": 3, "": 17}


def graph_of(model, y=Y, x=X):
    model.fit(x, y)
    options = {id(model): {"zipmap": False}} if hasattr(model, "classes_") else None
    return to_onnx(model, X[:1], options=options, target_opset=TARGETS).SerializeToString()


def by_onnx(graph):
    sessions = Sessions(CPU_ONLY, memory_bytes=0, available=(), opener=open_session)
    return OnnxRunner("trees", *sessions.open(graph, name="trees", threads=1))


def extracted(graph):
    return read(write(extract(onnx.load_from_string(graph).graph)))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return kernel.load(tmp_path_factory.mktemp("kernels"))


@pytest.mark.parametrize(
    "graph",
    [
        lambda: graph_of(HistGradientBoostingClassifier(max_iter=10, min_samples_leaf=5), x=HOLED),
        lambda: graph_of(GradientBoostingClassifier(n_estimators=10)),
        lambda: graph_of(RandomForestClassifier(10, random_state=0)),
        lambda: graph_of(RandomForestClassifier(10, random_state=0), np.array(["no", "yes"])[Y]),
        lambda: graph_of(HistGradientBoostingRegressor(max_iter=10, min_samples_leaf=5), X[:, 0] * X[:, 1]),
        lambda: graph_of(GradientBoostingRegressor(n_estimators=10), X[:, 0] * X[:, 1]),
        lambda: graph_of(RandomForestRegressor(10, random_state=0), X[:, 0] * X[:, 1]),
    ],
    ids=["hist", "boosted", "forest", "words", "hist-regressor", "boosted-regressor", "forest-regressor"],
)
def test_every_answer_is_that_of_onnx_runtime_bit_for_bit(library, graph):
    made = graph()
    theirs, trees = by_onnx(made), extracted(made)
    ours = TreeRunner(theirs, trees, library)
    rows = np.concatenate([proof_rows(trees, 500), X, HOLED])
    for some in (rows, rows[:33], rows[5:6], rows[:0], rows[::3], np.asfortranarray(rows)):
        found, expected = ours.run({trees.input: some}), theirs.run({trees.input: some})
        assert list(found) == list(expected)
        for name, tensor in expected.items():
            assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
            same = found[name].tolist() == tensor.tolist() if tensor.dtype == object else None
            assert same if same is not None else found[name].tobytes() == tensor.tobytes()


@pytest.mark.parametrize(
    ("graph", "why"),
    [
        (lambda: graph_of(RandomForestClassifier(3), np.arange(300) % 3), "several targets"),
        (lambda: graph_of(RandomForestRegressor(3), np.stack([Y, -Y], axis=1)), "several targets"),
    ],
)
def test_an_ensemble_of_another_form_stays_where_it_is(graph, why):
    with pytest.raises(UnknownFormError, match=why):
        extracted(graph())


def test_a_graph_that_is_no_ensemble_stays_where_it_is_and_the_log_says_why(sum_package, tmp_path, caplog):
    caplog.set_level("INFO")
    runner = OnnxRunners(kernels=tmp_path / "kernels").load(sum_package())
    assert isinstance(runner, OnnxRunner)
    assert [record.why for record in caplog.records] == ["it is not one ensemble over its only input"]


def test_a_loaded_package_answers_the_same_whichever_was_faster(packaged_trees, tmp_path, caplog):
    caplog.set_level("INFO")
    runner = OnnxRunners(kernels=tmp_path / "kernels").load(packaged_trees)
    assert list((tmp_path / "kernels").glob("trees-*.so"))
    told = {record.message for record in caplog.records}
    assert told <= {"trees run by the kernel", "trees run on ONNX Runtime"}
    theirs = by_onnx(packaged_trees.read("model.onnx"))
    for rows in (X[:1], X):
        answers, expected = runner.run({"X": rows}), theirs.run({"X": rows})
        assert {name: tensor.tobytes() for name, tensor in answers.items()} == {
            name: tensor.tobytes() for name, tensor in expected.items()
        }


def test_without_a_compiler_everything_stays_where_it_is(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    graph = graph_of(GradientBoostingClassifier(n_estimators=3))
    theirs = by_onnx(graph)
    monkeypatch.setenv("PATH", "")
    assert with_kernel(theirs, graph, name="trees", folder=tmp_path) is theirs
    assert "no C compiler" in caplog.records[-1].why


def test_the_compiled_kernel_is_kept_and_made_anew_where_its_bytes_are_not_its_own(tmp_path):
    folder = tmp_path / "kernels"
    kernel.load(folder)
    (file,) = folder.glob("*.so")
    before = file.stat().st_ino
    kernel.load(folder)
    assert file.stat().st_ino == before
    whole = file.read_bytes()
    file.chmod(0o700)
    file.unlink()
    file.write_bytes(b"something else")
    kernel.load(folder)
    assert file.read_bytes()[:4] == whole[:4]
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_may_write_to_is_not_used(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(kernel.NoKernelError, match="others may write"):
        kernel.load(tmp_path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda nodes: nodes.__setitem__("child", np.uint32(2**32 - 1)),
        lambda nodes: nodes.__setitem__("feature", 5),
        lambda nodes: nodes.__setitem__("threshold", 0.0),
        lambda nodes: nodes.__setitem__("nan_goes_true", 0),
        lambda nodes: nodes.__setitem__("nan_goes_true", 2),
    ],
)
def test_what_a_walk_could_leave_is_no_ensemble(spoil):
    trees = extracted(graph_of(GradientBoostingClassifier(n_estimators=3)))
    nodes = trees.nodes.copy()
    spoil(nodes)
    with pytest.raises(ValueError, match="no ensemble"):
        read(write(replace(trees, nodes=nodes)))


class TestTreeRunner(RunnerConformance):
    @pytest.fixture
    def package(self, packaged_trees):
        return packaged_trees

    @pytest.fixture
    def runners(self, package, library):
        class Loader(OnnxRunners):
            def load(self, package, **how):
                graph = package.read("model.onnx")
                return TreeRunner(super().load(package, **how), extracted(graph), library)

        return Loader()


@pytest.fixture
def packaged_trees():
    graph = graph_of(GradientBoostingClassifier(n_estimators=5))
    answers = by_onnx(graph).run({"X": X[:4]})
    signature = Signature(
        (TensorSpec("X", "FP32", (-1, 5)),),
        (TensorSpec("label", "INT64", (-1,)), TensorSpec("probabilities", "FP32", (-1, 2))),
    )
    described = Description("trees", "onnx", "1", "graph", "onnx", "2026-01-01T00:00:00Z", "3.11", row_independent=True)
    files = {
        "model.onnx": graph,
        "package.json": package_codec.description_json(described),
        "signature.json": package_codec.signature_json(signature),
        "golden.json": package_codec.golden_json(
            Golden({"X": X[:4].tolist()}, {name: tensor.tolist() for name, tensor in answers.items()}, 4)
        ),
    }
    return package_codec.assemble("trees", files)
