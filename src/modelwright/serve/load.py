"""Loading aside: a version gets no traffic before it reproduced its own golden answers here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import InternalError, ModelwrightError, RefusedError
from modelwright.core.package import Golden, Package
from modelwright.core.package_codec import golden_tensors
from modelwright.core.signature import Signature
from modelwright.ports.runner import Remote, Runner, RunnerLoader
from modelwright.ports.trace import TracingRunner
from modelwright.serve.pace import Pace
from modelwright.serve.policy import ValuePolicy
from modelwright.serve.validate import InputCheck

PROBED_ROWS = 8
WARM_RUNS = 2
Run = Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]
DEFAULT_TOLERANCE = 1e-5  # of packages without a parity certificate: room for another processor's rounding


@dataclass(frozen=True, slots=True)
class Proved:
    """A runner that reproduced its package's golden answers, warm.

    ``batched`` tells that requests may run together: the rows are declared to be independent, and the golden rows gave
    the same answers one by one. ``memory_bytes`` is what it holds.
    """

    runner: Runner
    pace: Pace
    batched: bool
    memory_bytes: int = 0


class Loaded:
    """One package, shared by every arm that serves it. Its records are held; its runner only while it is in memory.

    ``batched`` as in :class:`Proved`; before the first load what the package declares. ``pace`` is what a run costs;
    ``in_flight`` counts what waits for it or runs; ``used`` is the end of its latest run (``time.perf_counter``).
    ``instances`` is how many runs can be made at once.
    ``memory_bytes`` is what it holds, or held when it was last in memory (0 before), and ``returned_bytes`` what its
    latest unloading gave back to the system.
    """

    __slots__ = (
        "batched",
        "check",
        "digest",
        "in_flight",
        "instances",
        "memory_bytes",
        "pace",
        "package",
        "policy",
        "remote",
        "returned_bytes",
        "run",
        "runner",
        "signature",
        "used",
    )

    def __init__(
        self,
        package: Package,
        runner: Runner | None = None,
        pace: Pace | None = None,
        *,
        row_independent: bool | None = None,
    ) -> None:
        self.package, self.pace = package, pace or Pace()
        self.digest, self.signature = package.digest, package.signature
        self.check = InputCheck(package.name, package.signature)
        self.policy = ValuePolicy(package.name, package.signature)
        declared = package.description.row_independent if row_independent is None else row_independent
        self.batched = declared and self.check.batched
        self.in_flight = self.memory_bytes = self.returned_bytes = 0
        self.used = 0.0
        self.runner = runner
        self.instances = 1 if runner is None else runner.placement.instances
        self.run: Run = _absent if runner is None else _run_of(package, runner)
        self.remote: Remote | None = None if runner is None else runner.remote

    @property
    def streams(self) -> bool:
        """Whether it can answer in chunks."""
        return self.package.native is not None and self.package.native.streams

    @property
    def sequences(self) -> bool:
        """Whether it keeps state from one request of a sequence to the next."""
        return self.package.native is not None and self.package.native.sequences

    def take(self, proved: Proved) -> None:
        """Hold a runner."""
        self.runner, self.run, self.pace = proved.runner, _run_of(self.package, proved.runner), proved.pace
        self.remote, self.instances = proved.runner.remote, proved.runner.placement.instances
        self.batched, self.memory_bytes = proved.batched and self.check.batched, proved.memory_bytes

    def drop(self) -> Runner | None:
        """Hold no runner any more; the one that was held, for whoever closes it."""
        runner, self.runner, self.run, self.remote = self.runner, None, _absent, None
        return runner

    def note(self, returned_bytes: int, freed_bytes: int) -> None:
        """Keep what unloading this version alone brought.

        It held no more than was freed: the first load of a process also pays for the runtime itself.
        """
        self.returned_bytes = returned_bytes
        if 0 < freed_bytes < self.memory_bytes:
            self.memory_bytes = freed_bytes


def _run_of(package: Package, runner: Runner) -> Run:
    return runner.run if package.graph is None else cast("TracingRunner", runner).run_traced


def _absent(_feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    raise InternalError("serve.internal", "The model is not in memory.", fix="See the server's log.")


def prove(package: Package, runners: RunnerLoader, *, threads: int) -> Proved:
    """Load a package, and have it reproduce its golden answers: on the CPU, if another device does not.

    Raises:
        CorruptError, BadInputError, NotFoundError: as :meth:`RunnerLoader.load`.
        RefusedError: ``serve.golden-mismatch``.
    """
    runner = runners.load(package, threads=threads)
    try:
        return _proved(package, runner)
    except RefusedError as error:
        if not runner.placement.replaceable:
            raise
        names = ", ".join(runner.placement.names)
        instead = f"{names}: {error}"
    return _proved(package, runners.load(package, threads=threads, instead=instead))


def _proved(package: Package, runner: Runner) -> Proved:
    pace, independent = Pace(), False
    try:
        if package.golden is not None and package.golden.rows:
            tolerance = max(package.parity.tolerance if package.parity else 0.0, DEFAULT_TOLERANCE)
            reproduce(package.name, package.signature, package.golden, runner, tolerance)
            feeds = golden_tensors(package.signature.inputs, package.golden.inputs)
            stand_alone = rows_stand_alone(feeds, runner, pace, tolerance)
            independent = stand_alone and package.description.row_independent
    except BaseException:
        runner.close()
        raise
    return Proved(runner, pace, independent, runner.memory_bytes)


def rows_stand_alone(feeds: dict[str, NDArray[Any]], runner: Runner, pace: Pace, tolerance: float) -> bool:
    """True when a few rows give the same answers one by one as together. Also warms the runner up and times it."""
    rows = min((len(tensor) for tensor in feeds.values() if tensor.ndim), default=0)
    for _ in range(WARM_RUNS):
        began = time.perf_counter()
        together = runner.run(feeds)
        pace.learn(rows, time.perf_counter() - began)
    for row in range(min(rows, PROBED_ROWS)):
        began = time.perf_counter()
        try:
            alone = runner.run({name: tensor[row : row + 1] for name, tensor in feeds.items()})
        except ModelwrightError:
            return False
        pace.learn(1, time.perf_counter() - began)
        for name, tensor in together.items():
            own = np.asarray(tensor)[row : row + 1]
            if len(tensor) != rows or not _agree(own, np.asarray(alone[name]), tolerance):
                return False
    return True


def reproduce(name: str, signature: Signature, golden: Golden, runner: Runner, tolerance: float) -> None:
    """Run the golden rows and compare: numbers within ``tolerance`` x max(1, |value|), everything else exactly.

    Raises:
        RefusedError: ``serve.golden-mismatch``.
    """
    answers = runner.run(golden_tensors(signature.inputs, golden.inputs))
    for output, expected in golden_tensors(signature.outputs, golden.outputs).items():
        if not _agree(expected, np.asarray(answers[output]), tolerance):
            raise RefusedError(
                "serve.golden-mismatch",
                f"Package {name!r} does not reproduce its golden answers here (output {output!r}).",
                why=f"A value differs by more than {tolerance:g} from what the package says.",
                fix="Pack the model again on this kind of machine, or repair the package.",
                details={"output": output, "tolerance": tolerance},
            )


def _agree(expected: NDArray[Any], found: NDArray[Any], tolerance: float) -> bool:
    if expected.size != found.size:
        return False
    expected, found = expected.reshape(-1), found.reshape(-1)
    if expected.dtype.kind != "f":
        return bool((expected == found).all())
    wide, answer = expected.astype(np.float64), found.astype(np.float64)
    equal = (wide == answer) | (np.isnan(wide) & np.isnan(answer))  # infinities are equal, never close
    with np.errstate(invalid="ignore"):
        close = np.abs(wide - answer) <= tolerance * np.maximum(1.0, np.abs(wide))
    return bool((equal | close).all())
