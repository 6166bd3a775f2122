"""A fitted estimator with its own answers to the examples: what each route has to reproduce."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.adapters.frameworks.parity import Answers
from modelwright.adapters.frameworks.sklearn_outputs import Outputs, as_answers, asked, kind_on
from modelwright.adapters.frameworks.sklearn_rows import Layout, as_trained, layout_of
from modelwright.core.table import Table
from modelwright.features.tabular import rows_evenly


@dataclass(frozen=True, slots=True)
class Question:
    """The model, what it is, and what it answers.

    ``rows`` are those of the ``examples`` that are asked, at the places ``chosen``; ``own`` is the answer by output,
    ``original`` the same as a certificate compares it.
    """

    model: Any
    kind: str
    layout: Layout
    examples: Table
    chosen: NDArray[np.intp]
    rows: Table
    own: Outputs
    original: Answers
    target: str

    def answers(self, rows: Table) -> Answers:
        """The model's own answers to other rows."""
        return as_answers(self.kind, asked(self.model, self.kind, as_trained(self.model, self.layout, rows)))


def question(model: Any, kind: str, examples: Table, *, most: int, target: str) -> Question:
    """Ask the model about at most so many rows, evenly chosen.

    Raises:
        BadInputError: ``pack.missing-column``, ``pack.examples-rejected`` and others about the examples.
    """
    layout = layout_of(model, examples)
    chosen = rows_evenly(len(examples), most)
    rows = examples.take(chosen)
    trained = as_trained(model, layout, rows)
    kind = kind_on(model, kind, trained)
    own = asked(model, kind, trained)
    return Question(model, kind, layout, examples, chosen, rows, own, as_answers(kind, own), target)
