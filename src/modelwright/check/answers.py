"""What a model says on rows: labels and scores as the signature names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import BadInputError
from modelwright.core.package import Package
from modelwright.core.signature import Signature
from modelwright.core.table import Column, Table
from modelwright.features.columns import feeds
from modelwright.ports.runner import Runner
from modelwright.stats import metrics
from modelwright.stats.statistic import Statistic

BATCH_ROWS = 4096  # rows a runner is given at once: bounds its memory


@dataclass(frozen=True, slots=True)
class Answers:
    """``label`` [n] predicted labels or values, ``scores`` [n, classes] probabilities; None where there are none."""

    signature: Signature
    label: Column | None
    scores: NDArray[Any] | None

    def statistics(self, truth: Column) -> dict[str, Statistic]:
        """Every metric of the task on these answers, bound to the rows; truth [n] without missing values."""
        return metrics.statistics(self.signature.task, truth, self.label, self.scores, self.signature.classes)

    def take(self, rows: NDArray[Any]) -> Answers:
        """The answers to some of the rows."""
        label = None if self.label is None else self.label[rows]
        return Answers(self.signature, label, None if self.scores is None else self.scores[rows])

    def principal(self) -> NDArray[Any]:
        """[n, m]: probabilities where the model gives them, else its value or (as text) its label."""
        if self.scores is not None:
            return self.scores
        assert self.label is not None
        column = self.label if self.label.dtype.kind in "biuf" else self.label.astype(str)
        return column[:, None]

    def unusable(self) -> int:
        """How many rows have a prediction that is NaN, infinite, or too large to be squared."""
        values = self.principal()
        if values.dtype.kind != "f":
            return 0
        return int((~(np.abs(values.astype(np.float64)) <= metrics.LARGEST)).any(axis=1).sum())


def answer(package: Package, runner: Runner, rows: Table) -> Answers:
    """Run the rows through the model, in batches, by the package's own signature.

    Raises:
        BadInputError: ``features.missing-column`` and its kin, ``check.no-outputs`` when the signature names neither
            a label nor a score output.
    """
    signature = package.signature
    names = [name for name in (signature.label_output, signature.score_output) if name]
    if not names:
        raise BadInputError(
            "check.no-outputs",
            f"The signature of {package.name!r} names no output that holds the prediction.",
            fix="Pack the model with its task and outputs.",
        )
    tensors = feeds(signature, rows)
    parts = []
    for start in range(0, len(rows), BATCH_ROWS):
        batch = {name: tensor[start : start + BATCH_ROWS] for name, tensor in tensors.items()}
        parts.append(runner.run(batch, names))
    whole = {name: np.concatenate([part[name] for part in parts]) for name in names}
    label, scores = whole.get(signature.label_output), whole.get(signature.score_output)
    return Answers(
        signature,
        None if label is None else label.reshape(-1),
        None if scores is None else scores.reshape(len(rows), -1),
    )
