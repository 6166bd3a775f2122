"""The parity certificate: the original model's answers against the converted graph's, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import RefusedError
from modelwright.core.package import Parity


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers to n rows: ``labels`` [n] as text and ``scores`` [n, classes] of a classifier, or ``values`` [n]."""

    labels: NDArray[Any] | None = None
    scores: NDArray[Any] | None = None
    values: NDArray[Any] | None = None


def compare(original: Answers, converted: Answers, *, tolerance: float, numeric_type: str) -> Parity:
    """The certificate over all rows.

    A difference is |p - q| of a probability, or |v - w| / max(1, |v|) of a value; NaN against a number is infinite.
    A label flip counts unless the row is a tie: its two largest original probabilities within twice the tolerance.
    """
    rows = len(_first(original))
    differences = _differences(original, converted, rows)
    flips = _flips(original, converted, tolerance, rows)
    worst = int(np.argmax(differences)) if differences.any() else int(np.argmax(flips))
    largest = float(differences.max(initial=0.0))
    return Parity(
        rows=rows,
        max_difference=largest,
        mean_difference=float(differences.mean()) if rows else 0.0,
        worst_row=worst,
        label_flips=int(flips.sum()),
        tolerance=tolerance,
        holds=bool(largest <= tolerance and not flips.any()),
        numeric_type=numeric_type,
    )


def refusal(parity: Parity, row: int, original: Answers, converted: Answers, *, advice: str) -> RefusedError:
    """Why a conversion is refused: the worst row (``row`` among the compared ones) and both answers to it."""
    before, after = describe(original, row), describe(converted, row)
    return RefusedError(
        "pack.parity-failed",
        "The converted model does not answer as the original does.",
        why=(
            f"The largest difference on {parity.rows} examples is {parity.max_difference:.3g} (allowed: "
            f"{parity.tolerance:g}), in row {parity.worst_row}: the original answers {before}, the converted model "
            f"{after}; {parity.label_flips} labels differ."
        ),
        fix=advice,
        details={
            "worst_row": parity.worst_row,
            "max_difference": parity.max_difference,
            "label_flips": parity.label_flips,
            "original": before,
            "converted": after,
            "tried": [dict(attempt) for attempt in parity.tried],
        },
    )


def describe(answers: Answers, row: int) -> str:
    """One row's answer in words."""
    if answers.scores is not None:
        return "[" + ", ".join(f"{score:.6g}" for score in answers.scores[row].tolist()) + "]"
    if answers.values is not None:
        return f"{float(answers.values[row]):.6g}"
    return repr(answers.labels[row]) if answers.labels is not None else "nothing"


def differing(original: Answers, other: Answers, tolerance: float) -> NDArray[np.bool_]:
    """True [n] for the rows a certificate under this tolerance would not accept."""
    rows = len(_first(original))
    apart: NDArray[np.bool_] = _differences(original, other, rows) > tolerance
    return apart | _flips(original, other, tolerance, rows)


def one_row(answers: Answers, row: int) -> Answers:
    """The answers to one row alone."""
    labels, scores, values = (
        None if held is None else held[row : row + 1] for held in (answers.labels, answers.scores, answers.values)
    )
    return Answers(labels, scores, values)


def _first(answers: Answers) -> NDArray[Any]:
    return next(array for array in (answers.labels, answers.scores, answers.values) if array is not None)


def _differences(original: Answers, converted: Answers, rows: int) -> NDArray[np.float64]:
    if original.values is not None and converted.values is not None:
        before, after = original.values.astype(np.float64), converted.values.astype(np.float64)
        scale = np.maximum(1.0, np.abs(before))
        relative: NDArray[np.float64] = _absolute(before, after) / np.where(np.isfinite(scale), scale, 1.0)
        return relative
    if original.scores is not None and converted.scores is not None:
        if original.scores.shape != converted.scores.shape:
            return np.full(rows, np.inf)
        return np.asarray(
            _absolute(original.scores.astype(np.float64), converted.scores.astype(np.float64)).max(axis=1), np.float64
        )
    return np.zeros(rows)


def _absolute(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    same = (before == after) | (np.isnan(before) & np.isnan(after))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(before - after))
    known: NDArray[np.float64] = np.where(np.isnan(difference), np.inf, difference)
    return known


def _flips(original: Answers, converted: Answers, tolerance: float, rows: int) -> NDArray[np.bool_]:
    if original.labels is None or converted.labels is None:
        return np.zeros(rows, dtype=bool)
    differ = np.asarray(original.labels != converted.labels, dtype=bool)
    if original.scores is None or original.scores.shape[1] < 2:
        return differ
    top = np.sort(original.scores, axis=1)[:, -2:]
    tie: NDArray[np.bool_] = top[:, 1] - top[:, 0] <= 2 * tolerance
    return differ & ~tie
