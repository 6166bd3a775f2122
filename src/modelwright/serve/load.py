"""Loading aside: a version gets no traffic before it reproduced its own golden answers here."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import RefusedError
from modelwright.core.package import Golden, Package
from modelwright.core.package_codec import golden_tensors
from modelwright.core.signature import Signature
from modelwright.ports.runner import Runner, RunnerLoader
from modelwright.serve.validate import InputCheck

DEFAULT_TOLERANCE = 1e-5  # of packages without a parity certificate: room for another processor's rounding


class Loaded:
    """One package in memory, shared by every arm that serves it. ``in_flight`` counts queued uses of the runner."""

    __slots__ = ("check", "digest", "in_flight", "package", "run", "runner", "signature")

    def __init__(self, package: Package, runner: Runner) -> None:
        self.package, self.runner, self.run = package, runner, runner.run
        self.digest, self.signature = package.digest, package.signature
        self.check = InputCheck(package.name, package.signature)
        self.in_flight = 0


def load(package: Package, runners: RunnerLoader, *, threads: int) -> Loaded:
    """Load and prove a package.

    Raises:
        CorruptError, BadInputError, NotFoundError: as :meth:`RunnerLoader.load`.
        RefusedError: ``serve.golden-mismatch``.
    """
    runner = runners.load(package, threads=threads)
    try:
        if package.golden is not None and package.golden.rows:
            tolerance = package.parity.tolerance if package.parity else DEFAULT_TOLERANCE
            reproduce(package.name, package.signature, package.golden, runner, max(tolerance, DEFAULT_TOLERANCE))
    except BaseException:
        runner.close()
        raise
    return Loaded(package, runner)


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
