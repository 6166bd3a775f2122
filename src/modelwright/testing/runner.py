"""A runner made of a Python function, and the conformance class of ``ports.runner``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.device import ON_CPU, Placement
from modelwright.core.errors import BadInputError, UnavailableError
from modelwright.core.package import Package
from modelwright.core.package_codec import golden_tensors
from modelwright.ports.runner import RunnerLoader
from modelwright.testing.errors import error_code

Function = Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]


class FunctionRunner:
    """Implements ``ports.runner.Runner`` over a function of the named inputs.

    ``calls`` counts the runs; ``broken`` may be set to why it is not ready.
    """

    def __init__(self, function: Function, memory_bytes: int = 0, placement: Placement = ON_CPU) -> None:
        self.placement = placement
        self._function, self.closed, self.calls, self.memory_bytes = function, False, 0, memory_bytes
        self.broken = ""

    @property
    def remote(self) -> None:
        """None: it runs here."""
        return

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """The function's answers; what it raises becomes ``serve.model-rejected-input``."""
        if self.closed:
            raise UnavailableError("serve.runner-closed", "The runner is closed.")
        self.calls += 1
        try:
            answers = self._function(inputs)
            return answers if outputs is None else {name: answers[name] for name in outputs}
        except Exception as error:
            raise BadInputError(
                "serve.model-rejected-input", "The model rejected its input.", why=f"{error}"
            ) from error

    def unready(self) -> str:
        """Why it could not answer now; empty when it could."""
        return "It is closed." if self.closed else self.broken

    def close(self) -> None:
        """Refuse further runs."""
        self.closed = True


class FunctionRunners:
    """Implements ``ports.runner.RunnerLoader``: functions by package digest.

    ``runners`` keeps what was loaded, and ``loads`` every digest asked for; each runner says that it holds
    ``memory_bytes``.
    """

    def __init__(self, functions: Mapping[str, Function], memory_bytes: int = 0) -> None:
        self._functions, self._memory_bytes = dict(functions), memory_bytes
        self.runners: dict[str, FunctionRunner] = {}
        self.loads: list[str] = []

    def load(self, package: Package, *, threads: int = 1, instead: str = "") -> FunctionRunner:  # noqa: ARG002 - the port's signature
        """The function registered for the package's digest; every file of the package is verified first."""
        self.loads.append(package.digest)
        for name in package.manifest.files:
            package.read(name)
        if package.digest not in self._functions:
            raise BadInputError("serve.graph-unusable", f"There is no function for {package.name!r}.")
        where = Placement(reason=instead) if instead else ON_CPU
        runner = FunctionRunner(self._functions[package.digest], self._memory_bytes, where)
        self.runners[package.digest] = runner
        return runner


class RunnerConformance:
    """Inherit, give fixtures ``runners`` (a loader) and ``package`` (with golden rows), and the port is tested."""

    def test_the_golden_answers_come_back(self, runners: RunnerLoader, package: Package) -> None:
        """Every output, under its name."""
        answers = runners.load(package).run(_golden_inputs(package))
        assert package.golden is not None
        expected = golden_tensors(package.signature.outputs, package.golden.outputs)
        assert set(answers) == {spec.name for spec in package.signature.outputs}
        for name, tensor in expected.items():
            if tensor.dtype.kind == "f":
                np.testing.assert_allclose(answers[name].reshape(tensor.shape), tensor, rtol=1e-5, atol=1e-6)
            else:
                assert (answers[name].reshape(tensor.shape) == tensor).all()

    def test_only_the_outputs_asked_for_come_back(self, runners: RunnerLoader, package: Package) -> None:
        """In the order asked for."""
        names = [spec.name for spec in reversed(package.signature.outputs)]
        runner = runners.load(package)
        assert list(runner.run(_golden_inputs(package), names)) == names
        assert list(runner.run(_golden_inputs(package), names[:1])) == names[:1]

    def test_a_row_is_answered_alike_whatever_stands_beside_it(self, runners: RunnerLoader, package: Package) -> None:
        """Row i of the outputs depends on row i of the inputs alone."""
        runner, inputs = runners.load(package), _golden_inputs(package)
        whole = runner.run({name: np.concatenate([tensor, tensor[::-1]]) for name, tensor in inputs.items()})
        alone = runner.run(inputs)
        for name, tensor in alone.items():
            count = len(tensor)
            if tensor.dtype.kind == "f":
                np.testing.assert_allclose(whole[name][:count], tensor, rtol=1e-5, atol=1e-6)
                np.testing.assert_allclose(whole[name][count:][::-1], tensor, rtol=1e-5, atol=1e-6)
            else:
                assert (whole[name][:count] == tensor).all()

    def test_an_input_the_model_does_not_know_is_refused(self, runners: RunnerLoader, package: Package) -> None:
        """With the port's error, never the runtime's own."""
        runner = runners.load(package)
        assert error_code(runner.run, {"no such input": np.zeros((1, 1))}) == "serve.model-rejected-input"

    def test_it_says_what_it_holds_in_a_process_of_its_own(self, runners: RunnerLoader, package: Package) -> None:
        """0 where it runs in this one; bytes, also once it is closed."""
        runner = runners.load(package)
        before = runner.memory_bytes
        runner.close()
        assert min(before, runner.memory_bytes) >= 0

    def test_it_says_where_it_runs(self, runners: RunnerLoader, package: Package) -> None:
        """And why on the CPU, where something else was wanted."""
        runner = runners.load(package)
        assert runner.placement.names
        assert runner.placement.instances >= 1
        runner.close()

    def test_a_closed_runner_says_so_and_its_package_loads_again(self, runners: RunnerLoader, package: Package) -> None:
        """Closing gives memory back, it does not damage."""
        runner = runners.load(package)
        assert runner.unready() == ""
        runner.close()
        assert runner.unready()
        assert error_code(runner.run, _golden_inputs(package)) == "serve.runner-closed"
        assert runners.load(package).run(_golden_inputs(package))


def _golden_inputs(package: Package) -> dict[str, NDArray[Any]]:
    assert package.golden is not None
    return golden_tensors(package.signature.inputs, package.golden.inputs)
