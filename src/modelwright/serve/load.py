"""Loading aside: a version gets no traffic before it reproduced its own golden answers here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import ModelwrightError, RefusedError
from modelwright.core.package import Golden, Package
from modelwright.core.package_codec import golden_tensors
from modelwright.core.signature import Signature
from modelwright.ports.runner import Runner, RunnerLoader
from modelwright.ports.trace import TracingRunner
from modelwright.serve.pace import Pace
from modelwright.serve.policy import ValuePolicy
from modelwright.serve.validate import InputCheck

PROBED_ROWS = 8
WARM_RUNS = 2
DEFAULT_TOLERANCE = 1e-5  # of packages without a parity certificate: room for another processor's rounding


class Loaded:
    """One package in memory, shared by every arm that serves it.

    ``batched`` tells that requests may run together: its rows are declared to be independent, and its golden rows gave
    the same answers one by one. ``pace`` is what a run costs; ``in_flight`` counts what waits for it or runs.
    """

    __slots__ = (
        "batched",
        "check",
        "digest",
        "in_flight",
        "pace",
        "package",
        "policy",
        "run",
        "runner",
        "signature",
    )

    def __init__(self, package: Package, runner: Runner, pace: Pace, *, row_independent: bool) -> None:
        self.package, self.runner, self.pace = package, runner, pace
        traced = package.graph is not None
        self.run: Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]] = (
            cast("TracingRunner", runner).run_traced if traced else runner.run
        )
        self.digest, self.signature = package.digest, package.signature
        self.check = InputCheck(package.name, package.signature)
        self.policy = ValuePolicy(package.name, package.signature)
        self.batched = row_independent and self.check.batched
        self.in_flight = 0


def load(package: Package, runners: RunnerLoader, *, threads: int) -> Loaded:
    """Load and prove a package.

    Raises:
        CorruptError, BadInputError, NotFoundError: as :meth:`RunnerLoader.load`.
        RefusedError: ``serve.golden-mismatch``.
    """
    runner, pace, independent = runners.load(package, threads=threads), Pace(), False
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
    return Loaded(package, runner, pace, row_independent=independent)


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
