import os
import subprocess
import sys

import numpy as np
import pytest

from modelwright.adapters.runners.onnx import OnnxRunners
from modelwright.core import package_codec
from modelwright.core.errors import BadInputError, CorruptError
from modelwright.core.package import Package
from modelwright.testing.errors import error_code
from modelwright.testing.runner import FunctionRunners, RunnerConformance


class TestOnnxRunner(RunnerConformance):
    @pytest.fixture
    def runners(self):
        return OnnxRunners()

    @pytest.fixture
    def package(self, sum_package):
        return sum_package(bias=0.5)


class TestFunctionRunner(RunnerConformance):
    @pytest.fixture
    def package(self, function_package):
        self.made, self.function = function_package(factor=3.0)
        return self.made

    @pytest.fixture
    def runners(self, package):
        return FunctionRunners({package.digest: self.function})


def test_bytes_tensors_travel_as_arrays_of_text(echo_package):
    runner = OnnxRunners().load(echo_package("echo", {"s": ("BYTES", (-1, 1))}))
    given = np.array([["grün"], [""], ["a\x00b"]], dtype=object)
    answer = runner.run({"s": given})["s_out"]
    assert answer.dtype == object
    assert answer.tolist() == given.tolist()


def test_damaged_bytes_are_never_loaded(sum_package):
    whole = sum_package()
    damaged = Package(
        whole.manifest, whole.description, whole.signature, whole.golden, None, None, lambda name: b"other bytes"
    )
    with pytest.raises(CorruptError):
        OnnxRunners().load(damaged)


def test_a_graph_that_is_none_is_bad_input(sum_package):
    package = sum_package()
    files = {name: package.read(name) for name in package.manifest.files} | {"model.onnx": b"no graph"}
    assert error_code(OnnxRunners().load, package_codec.assemble("broken", files)) == "serve.graph-unusable"


def test_what_the_runtime_says_is_one_line(sum_package):
    runner = OnnxRunners().load(sum_package())
    with pytest.raises(BadInputError) as refused:
        runner.run({"X": np.zeros((2, 7), np.float32)})
    assert refused.value.code == "serve.model-rejected-input"
    assert "\n" not in str(refused.value)


def test_the_runtime_neither_writes_nor_starts_its_telemetry(tmp_path):
    quiet = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    free = {key: value for key, value in os.environ.items() if key not in {"ORT_DISABLE_TELEMETRY", "CI"}}
    subprocess.run([sys.executable, "-c", "import modelwright.adapters.runners.onnx"], env=free | quiet, check=True)
    assert list(tmp_path.rglob("*")) == []
