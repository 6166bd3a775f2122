"""Which device a graph runs on. There is none but the CPU here: its provider stands in for the others'."""

import threading

import numpy as np
import pytest

from modelwright.adapters.runners.onnx import OnnxRunners
from modelwright.adapters.runners.process_loader import told_devices
from modelwright.adapters.runners.sessions import open_session
from modelwright.core import package_codec
from modelwright.core.device import parse_devices
from modelwright.core.errors import UnavailableError
from modelwright.testing.errors import error_code

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
BUILT = (CUDA, "TensorrtExecutionProvider", "OpenVINOExecutionProvider", CPU)


class Part:
    def __init__(self, ep_name):
        self.ep_name = ep_name


class Session:
    """A CPU session that says of itself what a session on the wanted provider would."""

    def __init__(self, graph, options, wanted, *, missing=(), unused=()):
        self.wanted = {name: dict(settings) for name, settings in wanted}
        self._session = open_session(graph, options, [(CPU, {})])
        self._missing, self._unused = missing, unused
        self.run, self.get_outputs = self._session.run, self._session.get_outputs

    def get_providers(self):
        return [name for name in self.wanted if name not in self._missing]

    def get_provider_graph_assignment_info(self):
        first = next(iter(self.wanted))
        return [Part(CPU if first in self._unused else first), Part(CPU)]


def loading(text, package, *, available=BUILT, fails="", memory_bytes=0, **how):
    """The runner and the sessions that were made."""
    made = []

    def opener(graph, options, wanted):
        if fails and wanted[0][0] != CPU:
            raise RuntimeError(f"{fails}\nframe 0x7f")
        made.append(Session(graph, options, wanted, **how))
        return made[-1]

    runners = OnnxRunners(parse_devices(text), device_memory_bytes=memory_bytes, available=available, opener=opener)
    return runners.load(package), made


@pytest.mark.parametrize(
    ("text", "available", "names"),
    [
        ("auto", BUILT, ("cuda",)),
        ("auto", ("AzureExecutionProvider", CPU), ("cpu",)),
        ("cuda", BUILT, ("cuda",)),
        ("cuda:0,1", BUILT, ("cuda:0", "cuda:1")),
        ("cuda:1,cpu", (CPU,), ("cpu",)),
        ("openvino:0,cpu", BUILT, ("openvino:0",)),
        ("tensorrt:2", BUILT, ("tensorrt:2",)),
        ("cpu", BUILT, ("cpu",)),
    ],
)
def test_the_first_device_that_is_there_is_taken(sum_package, text, available, names):
    runner, made = loading(text, sum_package(bias=0.5), available=available)
    assert runner.placement.names == names
    assert runner.placement.instances == len(made) == len(names)
    assert runner.run({"X": np.ones((2, 3), np.float32)})["total"].tolist() == [[3.5], [3.5]]


def test_nobody_is_told_of_devices_that_nobody_asked_for(sum_package):
    assert loading("auto", sum_package(), available=(CPU,))[0].placement.reason == ""


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"available": (CPU,)}, "onnxruntime-gpu"),
        ({"missing": (CUDA,)}, "library or driver"),
        ({"unused": (CUDA,)}, "none of the model's operators"),
        ({"fails": "no such device"}, "no such device"),
    ],
)
def test_a_device_that_cannot_be_used_is_refused_or_the_cpu_takes_over_and_says_why(sum_package, caplog, how, reason):
    with pytest.raises(UnavailableError) as refused:
        loading("cuda", sum_package(), **how)
    assert refused.value.code == "serve.device-unavailable"
    assert reason in str(refused.value)
    assert ("onnxruntime-gpu" in refused.value.fix) == ("available" in how)
    assert "--device cuda,cpu" in refused.value.fix
    assert "0x7f" not in str(refused.value)
    runner, _ = loading("cuda,cpu", sum_package(), **how)
    assert runner.placement.names == ("cpu",)
    assert reason in runner.placement.reason
    assert [record.message for record in caplog.records] == ["runs on the CPU"]


def test_a_graph_that_is_none_is_the_graph_s_fault_where_the_cpu_was_tried(sum_package, broken_graph):
    assert error_code(loading, "cuda,cpu", broken_graph, fails="INVALID_PROTOBUF") == "serve.graph-unusable"


def test_each_session_gets_its_device_and_its_share_of_memory(sum_package):
    _, made = loading("cuda:0,3", sum_package(), memory_bytes=2**30)
    assert [session.wanted[CUDA]["device_id"] for session in made] == ["0", "3"]
    assert {session.wanted[CUDA]["gpu_mem_limit"] for session in made} == {str(2**30)}
    assert {session.wanted[CUDA]["use_tf32"] for session in made} == {"0"}
    _, made = loading("tensorrt:1", sum_package())
    assert list(made[0].wanted) == ["TensorrtExecutionProvider", CUDA, CPU]
    assert "gpu_mem_limit" not in made[0].wanted[CUDA]


def test_runs_at_once_are_made_by_different_sessions(sum_package):
    runner, made = loading("cuda:0,1", sum_package())
    inside, used = threading.Barrier(2), []
    for session in made:

        def run(names, inputs, session=session, real=session.run):
            inside.wait(timeout=30)
            used.append(session)
            return real(names, inputs)

        session.run = run
    runner = type(runner)("total", made, runner.placement)
    both = [threading.Thread(target=runner.run, args=({"X": np.ones((1, 3), np.float32)},)) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(timeout=30)
    assert set(used) == set(made)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("auto", ("cpu",)),
        ("cuda", ("cuda",)),
        ("cuda:0,2,cpu", ("cuda:0", "cuda:2")),
        ("migraphx:1", ("cuda:1",)),
        ("coreml", ("mps",)),
        ("openvino:0", ("cpu",)),
    ],
)
def test_models_that_run_as_code_are_told_devices_as_pytorch_names_them(text, told):
    assert told_devices(parse_devices(text)) == told


@pytest.fixture
def broken_graph(sum_package):
    package = sum_package()
    files = {name: package.read(name) for name in package.manifest.files} | {"model.onnx": b"no graph"}
    return package_codec.assemble("broken", files)
