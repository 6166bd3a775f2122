"""Rows nobody sent yet for a model that takes tensors: zeros, the bounds of what the examples hold, and beyond them.

What lies within the bounds binds. What lies beyond is reported: sums in another order may differ there by more than a
certificate allows, in two networks that are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.adapters.frameworks.adversarial import MANY_ROWS, Adversary, Case, Compared
from modelwright.adapters.frameworks.native_answers import Outputs, Run
from modelwright.adapters.frameworks.parity import Answers
from modelwright.adapters.frameworks.sklearn_graph import LABEL, SCORES
from modelwright.core.table import Table

MAX_COLUMNS = 32
"""Up to so many columns of a matrix are changed one by one too."""
MAX_BYTES = 32 * 2**20
"""What many rows at once may take, of one input."""
_HUGE, _DENORMAL = 1e30, 1e-40


def judge(tensors: Outputs, original: Run, converted: Run, tolerance: float) -> Compared:
    """Ask both about the examples changed, one row each, and about many rows at once.

    Args:
        tensors: the examples by input, each [n, ...].
        original: the model's answers to such tensors, under the names of its outputs; may raise.
        converted: those of the packed one; may raise.
        tolerance: as in the certificate.
    """
    rows = Table(tensors)
    widest = max(array[:1].nbytes for array in tensors.values())
    most = int(np.clip(MAX_BYTES // max(1, widest), 2, MANY_ROWS))
    made = [Case("the first example alone", rows.take(slice(0, 1))), *_cases(rows)]
    asked = Adversary(made, rows, lambda some: answers_of(original(some.columns)), tolerance, most)
    return asked.judge(lambda some: answers_of(converted(some.columns)))


def answers_of(outputs: Outputs) -> Answers:
    """Outputs as a certificate compares them: label and probabilities, else all numbers [n, k] and all else as text."""
    if outputs.keys() <= {LABEL, SCORES} and SCORES in outputs:
        label = outputs.get(LABEL)
        return Answers(labels=None if label is None else label.reshape(-1).astype(str), scores=outputs[SCORES])
    flat = [array.reshape(len(array), -1) for array in outputs.values()]
    numbers = [array for array in flat if array.dtype.kind == "f"]
    others = [array.astype(str) for array in flat if array.dtype.kind != "f"]
    return Answers(
        labels=np.array([" ".join(row) for row in np.hstack(others).tolist()]) if others else None,
        values=np.hstack(numbers) if numbers else None,
    )


def _cases(rows: Table) -> Iterator[Case]:
    first = rows.take(slice(0, 1))
    for name, examples in rows.columns.items():
        for words, value, binds in _values(examples):
            changed = np.full_like(first[name], value)
            yield Case(f"{name} all {words}", Table({**first.columns, name: changed}), binds, name)
        if examples.ndim == 2 and 1 < examples.shape[1] <= MAX_COLUMNS:
            yield from _columns(first, name, examples)


def _columns(first: Table, name: str, examples: NDArray[Any]) -> Iterator[Case]:
    for column in range(examples.shape[1]):
        for words, value, binds in _values(examples[:, column]):
            changed = first[name].copy()
            changed[:, column] = value
            place = Table({**first.columns, name: changed})
            yield Case(f"{name}, column {column}, {words}", place, binds)


def _values(examples: NDArray[Any]) -> Iterator[tuple[str, Any, bool]]:
    if examples.dtype.kind == "b":
        yield from (("true", True, True), ("false", False, True))
        return
    known = examples[~np.isnan(examples)] if examples.dtype.kind == "f" else examples
    if not known.size:
        return
    low, high = known.min(), known.max()
    yield from (("lowest", low, True), ("highest", high, True))
    if examples.dtype.kind != "f" or not np.isfinite([low, high]).all():
        return  # a whole number beyond those that were seen may be the index of nothing
    span = max(float(high) - float(low), 1.0)
    yield "zero", 0.0, bool(low <= 0 <= high)
    yield from (("below its range", low - span, False), ("above its range", high + span, False))
    yield "missing", np.nan, known.size < examples.size
    for value in (_HUGE, -_HUGE, _DENORMAL):
        yield f"{value:g}", value, False
