import gc
import os
import signal
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from modelwright.adapters.runners.process import ProcessRunner
from modelwright.adapters.runners.process_loader import ProcessRunners
from modelwright.adapters.runners.routed import RoutedRunners
from modelwright.core.device import parse_devices
from modelwright.core.errors import RefusedError, UnavailableError
from modelwright.core.package import Golden
from modelwright.core.signature import Signature, TensorSpec
from modelwright.testing.errors import error_code
from modelwright.testing.runner import RunnerConformance

SUM = """
    def predict(inputs):
        return {"total": inputs["X"].sum(axis=1, keepdims=True)}
"""
FRAGILE = """
    import ctypes, os, time

    def predict(inputs):
        first = inputs["X"][0, 0]
        if first == -1:
            ctypes.string_at(0)
        if first == -2:
            while True:
                pass
        if first == -3:
            raise ValueError("not today")
        return {"total": inputs["X"].sum(axis=1, keepdims=True)}
"""
ECHO = """
    def predict(inputs):
        return {f"{name}_out": tensor for name, tensor in inputs.items()}
"""
NUMBER = """
    import os
    import numpy as np

    class Model:
        def __init__(self, folder, device="none"):
            self.told = {device, os.environ["MODELWRIGHT_DEVICE"]}

        def predict(self, inputs):
            (device,) = self.told
            return {"total": np.full((len(inputs["X"]), 1), {"cpu": -1, "cuda:3": 3}[device], np.float32)}
"""
ROWS = [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


def rows(first=0.0):
    return {"X": np.array([[first, 1, 2]], np.float32)}


@contextmanager
def loaded(package, **options):
    with closing(ProcessRunners(**options).load(package)) as runner:
        yield runner


def gone(pid, seconds=20):
    """Whether a process ends."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


class TestProcessRunner(RunnerConformance):
    @pytest.fixture
    def runners(self):
        made = []

        class Closing(RoutedRunners):
            def load(self, package, *, threads=1, instead=""):
                made.append(super().load(package, threads=threads))
                return made[-1]

        yield Closing()
        for runner in made:
            runner.close()

    @pytest.fixture
    def package(self, code_package):
        return code_package(SUM, golden=Golden({"X": ROWS}, {"total": [[3.0], [12.0]]}, 2))


def test_the_process_holds_the_isolation_that_the_package_asks_for(code_package):
    with loaded(code_package(SUM, isolation="strict")) as runner:
        assert runner.level == "strict"


@pytest.mark.parametrize("count", [1, 3, 200_000])
def test_tensors_of_every_datatype_and_size_come_back_as_they_were(code_package, count):
    tensors = {
        "flag": np.arange(count) % 2 == 0,
        "small": np.arange(count, dtype=np.uint8),
        "half": np.linspace(0, 1, count).astype(np.float16),
        "wide": np.arange(2 * count, dtype=np.float64).reshape(count, 2),
        "whole": -np.arange(count, dtype=np.int64),
        "text": np.array([["grün", "", "a\x00b", "plain"][i % 4] for i in range(min(count, 5000))], dtype=object),
    }
    kinds = {"flag": "BOOL", "small": "UINT8", "half": "FP16", "wide": "FP64", "whole": "INT64", "text": "BYTES"}
    specs = {name: (kinds[name], (-1, *tensor.shape[1:])) for name, tensor in tensors.items()}
    if count > 5000:
        del tensors["text"], specs["text"]
    signature = Signature(
        tuple(TensorSpec(name, *spec) for name, spec in specs.items()),
        tuple(TensorSpec(f"{name}_out", *spec) for name, spec in specs.items()),
    )
    with loaded(code_package(ECHO, signature=signature)) as runner:
        for _ in range(2):
            answers = runner.run(tensors)
            for name, tensor in tensors.items():
                assert answers[f"{name}_out"].dtype == tensor.dtype
                assert (answers[f"{name}_out"] == tensor).all()


def test_a_model_that_raises_keeps_its_process(code_package):
    with loaded(code_package(FRAGILE)) as runner:
        before = runner.processes
        assert error_code(runner.run, rows(-3)) == "serve.model-rejected-input"
        assert runner.run(rows())["total"].tolist() == [[3.0]]
        assert runner.processes == before


def test_a_request_whose_process_was_killed_is_run_again(code_package):
    with loaded(code_package(FRAGILE)) as runner:
        (pid,) = runner.processes
        os.kill(pid, signal.SIGKILL)
        assert runner.run(rows())["total"].tolist() == [[3.0]]
        assert runner.processes != (pid,)


def test_a_request_that_ends_two_processes_is_not_run_a_third_time(code_package):
    with loaded(code_package(FRAGILE)) as runner:
        assert error_code(runner.run, rows(-1)) == "serve.poison-request"
        runner.run(rows())
        before = runner.processes
        assert error_code(runner.run, rows(-1)) == "serve.poison-request"
        assert runner.run(rows())["total"].tolist() == [[3.0]]
        assert runner.processes == before


def test_where_a_run_may_not_be_repeated_its_loss_is_told(code_package):
    with loaded(code_package(FRAGILE, idempotent=False)) as runner:
        with pytest.raises(UnavailableError) as told:
            runner.run(rows(-1))
        assert told.value.code == "serve.runner-lost"
        assert told.value.details["retry_after"] > 0
        assert runner.run(rows())["total"].tolist() == [[3.0]]


def test_closing_ends_the_process_and_removes_its_files(code_package):
    with loaded(code_package(SUM)) as runner:
        (pid,) = runner.processes
        folder = runner._files.files.parent
        assert folder.is_dir()
    assert gone(pid)
    until = time.monotonic() + 20
    while folder.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert not folder.exists()


def test_a_model_that_cannot_be_opened_says_why(code_package):
    with pytest.raises(Exception, match="no such luck") as told:
        ProcessRunners().load(code_package("raise RuntimeError('no such luck')"))
    assert told.value.code == "serve.model-unusable"


def test_what_a_model_prints_goes_nowhere(code_package, capfd):
    with loaded(
        code_package(
            "print('hello')\n" + "def predict(inputs):\n    print('x')\n    return {'total': inputs['X'][:, :1]}"
        )
    ) as runner:
        runner.run(rows())
    assert capfd.readouterr() == ("", "")


def test_resident_memory_is_told(code_package):
    with loaded(code_package(SUM)) as runner:
        assert runner.memory_bytes > 2**20


def test_threads_that_ask_at_once_get_their_own_answers(code_package):
    with loaded(code_package(FRAGILE)) as runner, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: runner.run(rows(number))["total"][0, 0], range(1, 200)))
    assert answers == [number + 3 for number in range(1, 200)]


def test_the_process_outlives_the_thread_that_asked_for_it(code_package):
    made = []
    thread = threading.Thread(target=lambda: made.append(ProcessRunners().load(code_package(FRAGILE))))
    thread.start()
    thread.join()
    with closing(made[0]) as runner:
        (pid,) = runner.processes
        assert runner.run(rows())["total"].tolist() == [[3.0]]
        assert runner.processes == (pid,)


def test_the_operator_s_isolation_holds_where_the_package_asks_for_less(code_package):
    with loaded(code_package(SUM, isolation="standard"), isolation="strict") as runner:
        assert runner.level == "strict"


def test_a_package_that_asks_for_no_jail_runs_only_where_the_operator_allows_it(code_package):
    with pytest.raises(RefusedError) as caught, loaded(code_package(SUM, isolation="off")):
        pass
    assert caught.value.code == "serve.isolation-off"
    assert "MODELWRIGHT_NATIVE_ISOLATION=off" in caught.value.fix
    with loaded(code_package(SUM, isolation="off"), isolation="off") as runner:
        assert runner.level == "none"


def test_what_a_process_did_to_its_files_is_undone_before_the_next_one_starts(code_package):
    with loaded(code_package(FRAGILE)) as runner:
        file = runner._files.files / "model.py"
        file.chmod(0o600)
        file.write_text("def predict(inputs): return {'total': inputs['X'][:, :1] * 0}")
        os.kill(runner.processes[0], signal.SIGKILL)
        assert runner.run(rows())["total"].tolist() == [[3.0]]


def test_a_runner_that_is_forgotten_leaves_nothing_behind(code_package):
    runner = ProcessRunners().load(code_package(SUM))
    (pid,), folder = runner.processes, runner._files.files.parent
    del runner
    gc.collect()
    assert gone(pid)
    assert not folder.exists()


def test_what_a_killed_gateway_left_is_removed_by_the_next_runner(code_package, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "modelwright-native-left"
    (left / "files").mkdir(parents=True)
    with loaded(code_package(SUM)) as first, loaded(code_package(SUM)) as second:
        assert not left.exists()
        assert first._files.files.is_dir()
        assert second._files.files.is_dir()


def test_a_disk_without_room_is_said_to_be_the_reason(code_package, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
    assert error_code(ProcessRunners().load, code_package(SUM)) == "serve.runner-failed-to-start"


def test_a_run_that_takes_too_long_ends_its_process_and_is_not_made_again(code_package):
    package = code_package(FRAGILE)
    runner = ProcessRunner(package, instances=1, threads=1, memory_bytes=2**34, isolation="standard", run_seconds=0.3)
    with closing(runner):
        (pid,) = runner.processes
        assert error_code(runner.run, rows(-2)) == "serve.runner-lost"
        assert gone(pid)
        assert runner.unready() == "its process is being started again"
        assert runner.run(rows())["total"].tolist() == [[3.0]]
        assert runner.unready() == ""


@pytest.mark.parametrize(("wish", "number"), [("auto", -1), ("cpu", -1), ("cuda:3", 3), ("openvino:0", -1)])
def test_a_model_is_told_its_device_as_an_argument_and_in_its_environment(code_package, wish, number):
    with loaded(code_package(NUMBER), wish=parse_devices(wish)) as runner:
        assert runner.run(rows())["total"].tolist() == [[number]]
