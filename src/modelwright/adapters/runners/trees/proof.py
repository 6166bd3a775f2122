"""The same bits, and which is faster: what is asked of the kernel before it answers anybody."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.adapters.runners.trees.ensemble import Ensemble
from modelwright.adapters.runners.trees.kernel import NoKernelError
from modelwright.core.kernels import KernelTiming
from modelwright.ports.runner import Feeds, Runner

PROOF_ROWS, ODD_ROWS = 8192, 37
SIZES, ROUNDS, FASTER = (1, 4, 16, 64, 256), 5, 1.1


def proof_rows(trees: Ensemble, count: int = PROOF_ROWS) -> NDArray[np.float32]:
    """Rows [count, width] of thresholds, their neighbours, what lies between, infinities and NaN."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(count, trees.width)).astype(np.float32)
    inner = np.isfinite(trees.nodes["threshold"])
    for feature in range(trees.width):
        known = np.unique(trees.nodes["threshold"][inner & (trees.nodes["feature"] == feature)])
        if len(known):
            column = random.choice(known, count)
            way = np.where(random.random(count) < 0.5, -np.inf, np.inf).astype(np.float32)
            column = np.where(random.random(count) < 0.5, np.nextafter(column, way), column)
            between = random.uniform(known[0] - 1, known[-1] + 1, count)
            rows[:, feature] = np.where(random.random(count) < 0.5, between, column)
    odd = random.random(rows.shape)
    rows[odd < 0.06] = np.nan
    rows[odd < 0.02] = np.inf
    rows[odd < 0.01] = -np.inf
    return rows


def require_same_bits(ours: Runner, theirs: Runner, name: str, rows: NDArray[np.float32]) -> int:
    """How many rows of input ``name`` both answered alike: all, some of them, and one alone.

    Raises:
        NoKernelError: they differ.
    """
    for some in (rows, rows[:ODD_ROWS], rows[:1]):
        found, expected = ours.run({name: some}), theirs.run({name: some})
        for output, tensor in expected.items():
            own = found[output]
            if own.shape != tensor.shape or own.dtype != tensor.dtype or not _same(own, tensor):
                raise NoKernelError(f"its {output} differs from ONNX Runtime's")
    return len(rows)


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return bool((one == other).all()) if one.dtype == object else one.tobytes() == other.tobytes()


def timings(
    ours: Runner,
    theirs: Runner,
    name: str,
    rows: NDArray[np.float32],
    *,
    sizes: Sequence[int] = SIZES,
    rounds: int = ROUNDS,
) -> Iterator[KernelTiming]:
    """What a run of each size takes by either, the most rows first."""
    for size in reversed(sizes):
        starts = [round_ * size % (len(rows) - size + 1) for round_ in range(rounds)]
        some = [{name: rows[start : start + size]} for start in starts]
        yield KernelTiming(size, _microseconds(theirs.run, some), _microseconds(ours.run, some))


def faster_from(measured: Iterable[KernelTiming]) -> int:
    """The fewest rows from which the kernel is faster, whatever there are above.

    Raises:
        NoKernelError: there are none.
    """
    least = 0
    for timing in measured:
        if timing.onnxruntime < FASTER * timing.trees:
            break
        least = timing.rows
    if not least:
        raise NoKernelError("ONNX Runtime is as fast")
    return least


def _microseconds(run: Callable[[Feeds], Any], feeds: Sequence[Mapping[str, NDArray[Any]]]) -> float:
    """The median of a run of each, other rows every time: the same ones again train the branch predictor."""
    taken = []
    for one in feeds:
        began = time.perf_counter_ns()
        run(one)
        taken.append(time.perf_counter_ns() - began)
    return round(sorted(taken)[len(taken) // 2] / 1000, 1)
