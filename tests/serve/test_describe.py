"""What is said of a version beside its tensors."""

from modelwright.serve.describe import platform_of
from modelwright.serve.load import Loaded


def test_the_platform_says_what_runs_the_model(sum_package, code_package, graph_package):
    total, code = sum_package(), code_package("")
    graph = graph_package("mean", {"one": total}, "one")
    found = [platform_of(Loaded(package)) for package in (total, code, graph)]
    assert found == ["onnx_onnxv1", "modelwright_python", "modelwright_graph"]
