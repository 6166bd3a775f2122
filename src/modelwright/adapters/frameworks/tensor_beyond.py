"""Rows made from the signature, asked of a model that answers tensors and of what was made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.adapters.frameworks.adversarial import Adversary, cases, golden_feeds
from modelwright.adapters.frameworks.native_answers import Outputs, Run
from modelwright.adapters.frameworks.parity import Answers, beyond_refusal
from modelwright.adapters.frameworks.tensor_inputs import ROWS
from modelwright.adapters.frameworks.tensor_proof import TOLERANCE, Made, Question
from modelwright.core.package import Parity
from modelwright.core.table import Table
from modelwright.features.columns import feeds
from modelwright.features.tabular import rows_evenly


@dataclass(frozen=True, slots=True)
class Beyond:
    """The certificate with the record of these rows in it, and those of them that are kept, with their answers."""

    parity: Parity
    inputs: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    outputs: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def beyond(
    asked: Question, parity: Parity, rows: Table | None, answer: Run, run: Run, made: Made, *, golden: bool
) -> Beyond:
    """Ask both about rows beyond the examples ``rows``; of examples that are no table there are none.

    ``golden``: keep some of those that agree.

    Raises:
        RefusedError: ``pack.parity-failed``: a row that may really come is answered otherwise.
    """
    if rows is None or not asked.signature.features:
        return Beyond(parity)

    def answers(held: Run, table: Table) -> Answers:
        return _as_answers(held(feeds(asked.signature, table)))

    some = rows.take(rows_evenly(len(rows), ROWS))
    adversary = Adversary(cases(asked.signature.features, some), some, lambda table: answers(answer, table), TOLERANCE)
    compared = adversary.judge(lambda table: answers(run, table))
    certified = replace(parity, adversarial=compared.record)
    if not compared.record.holds:
        raise beyond_refusal(compared.broken, certified, advice=made.advice)
    kept = golden_feeds(compared, asked.signature) if golden else {}
    return Beyond(certified, kept, run(kept) if kept else {})


def _as_answers(outputs: Outputs) -> Answers:
    """All tensors as one: numbers with fractions as values [n, k], the others as labels [n] in words."""
    rows = len(next(iter(outputs.values())))
    flat = [np.asarray(array).reshape(rows, -1) for array in outputs.values()]
    values = [array.astype(np.float64) for array in flat if array.dtype.kind == "f"]
    others = [array for array in flat if array.dtype.kind != "f"]
    words = [" ".join(str(value) for array in others for value in array[row]) for row in range(rows)]
    return Answers(
        labels=np.array(words, dtype=object) if others else None,
        values=np.concatenate(values, axis=1) if values else None,
    )
