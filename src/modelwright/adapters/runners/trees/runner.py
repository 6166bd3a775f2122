"""A runner that walks its trees by the kernel where that is faster, and gives what ONNX Runtime gives, bit for bit.

Which of the two runs a request is decided by its rows alone. No answer may depend on what else was in its batch, so the
kernel is used only for an ensemble for which both gave the same bits, on rows made to tell them apart.
"""

from __future__ import annotations

import ctypes
import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.adapters.runners.trees import ensemble, kernel
from modelwright.adapters.runners.trees.ensemble import Ensemble
from modelwright.adapters.runners.trees.proof import faster_from, proof_rows, require_same_bits, timings
from modelwright.core.device import Placement
from modelwright.core.kernels import KernelChoice
from modelwright.ports.runner import Feeds, Runner

EXTRACT_SECONDS = 60.0
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from modelwright.adapters.runners.trees.extract import main; "
    "sys.exit(main())"
)
_ROOT = str(Path(__file__).resolve().parents[4])

_logger = logging.getLogger(__name__)


class TreeRunner:
    """Runs an ensemble by the kernel from ``least`` rows on, and by ONNX Runtime below.

    Args:
        onnx: runs the graph.
        trees: what the graph is.
        library: the kernel.
        least: rows from which the kernel is faster.
    """

    memory_bytes = 0

    def __init__(self, onnx: Runner, trees: Ensemble, library: ctypes.CDLL, least: int = 1) -> None:
        self._onnx, self._trees, self.least = onnx, trees, least
        self._walk, self._finish = library.walk, library.finish
        self._labels = np.array(trees.labels, dtype=object if any(isinstance(x, str) for x in trees.labels) else None)
        arrays = (trees.nodes, trees.weights, trees.roots, trees.depths)
        self._places = (*(array.ctypes.data for array in arrays), len(trees.roots), trees.base)

    @property
    def remote(self) -> None:
        """None: it runs here."""
        return

    @property
    def placement(self) -> Placement:
        """As the graph's."""
        return self._onnx.placement

    def run(self, inputs: Feeds, outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """As the graph's runner, and raises what it raises."""
        trees = self._trees
        rows = inputs.get(trees.input)
        if (
            rows is None
            or len(inputs) > 1
            or rows.dtype != np.float32
            or rows.shape != (len(rows), trees.width)
            or len(rows) < self.least
            or not (outputs is None or set(outputs) <= set(trees.outputs))
            or self._onnx.unready()
        ):
            return self._onnx.run(inputs, outputs)
        answers = dict(zip(trees.outputs, self._answers(np.ascontiguousarray(rows)), strict=True))
        return answers if outputs is None else {name: answers[name] for name in outputs}

    def unready(self) -> str:
        """Why it could not answer now; empty when it could."""
        return self._onnx.unready()

    def close(self) -> None:
        """Drop the session; what is asked now is refused as the graph's runner does."""
        self._onnx.close()

    def _answers(self, rows: NDArray[np.float32]) -> tuple[NDArray[Any], ...]:
        count, kind = len(rows), self._trees.kind
        sums = np.empty((count, 1), np.float32)
        self._walk(rows.ctypes.data, count, self._trees.width, *self._places, sums.ctypes.data)
        if not kind:
            return (sums,)
        chosen, scores = np.empty(count, np.int64), np.empty((count, 2), np.float32)
        bounds = self._trees.bounds
        self._finish(sums.ctypes.data, count, kind, *bounds, chosen.ctypes.data, scores.ctypes.data)
        return self._labels[chosen], scores


def with_kernel(
    onnx: Runner,
    graph: bytes,
    *,
    name: str,
    folder: Path,
    recorded: KernelChoice | None = None,
    golden: Feeds | None = None,
) -> Runner:
    """The runner with the kernel beside it, where the graph is an ensemble that it runs faster; else as it was.

    Args:
        onnx: runs the graph.
        graph: serialized ONNX model, verified.
        name: the model's name, for the log.
        folder: private; keeps the compiled kernel.
        recorded: what was measured when the model was packed; where there is nothing it is measured here.
        golden: the package's golden rows, for which both must give the same bits too.
    """
    if recorded is not None and recorded.chosen != "trees":
        why = f"so it was measured when it was packed: {recorded.why}"
        _logger.info("trees run on ONNX Runtime", extra={"model": name, "why": why})
        return onnx
    try:
        trees = _extracted(graph)
        runner = TreeRunner(onnx, trees, kernel.load(folder))
        rows = proof_rows(trees)
        for some in (rows, *(golden or {}).values()):
            require_same_bits(runner, onnx, trees.input, some)
        least = recorded.from_rows if recorded else faster_from(timings(runner, onnx, trees.input, rows))
    except kernel.NoKernelError as reason:
        _logger.info("trees run on ONNX Runtime", extra={"model": name, "why": str(reason)})
        return onnx
    runner.least = least
    measured = "where it was packed" if recorded else "here"
    _logger.info("trees run by the kernel", extra={"model": name, "from_rows": least, "measured": measured})
    return runner


def _extracted(graph: bytes) -> Ensemble:
    command = [sys.executable, "-I", "-B", "-c", _PROGRAM, _ROOT]
    try:
        done = subprocess.run(command, input=graph, capture_output=True, timeout=EXTRACT_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise kernel.NoKernelError(f"the graph cannot be read: {error}") from error
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().rsplit("\n", 1)[-1]
        raise kernel.NoKernelError(last[:300] or f"reading the graph ended with status {done.returncode}")
    try:
        return ensemble.read(done.stdout)
    except (ValueError, OSError) as error:
        raise kernel.NoKernelError(f"the graph cannot be read: {error}") from error
