"""The parity certificate: the original model's answers against the converted graph's, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import RefusedError
from modelwright.core.package import Parity

_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers to n rows: ``labels`` [n] as text, ``scores`` [n, classes] of a classifier, ``values`` [n] or [n, k].

    ``margins`` [n] say how far a row is from another label, where its scores do not.
    """

    labels: NDArray[Any] | None = None
    scores: NDArray[Any] | None = None
    values: NDArray[Any] | None = None
    margins: NDArray[Any] | None = None


def compare(original: Answers, converted: Answers, *, tolerance: float, numeric_type: str) -> Parity:
    """The certificate over all rows.

    A difference is |p - q| of a probability, or |v - w| / max(1, |v|) of a value; NaN against a number is infinite.
    A label flip counts unless the row is a tie: its two largest original probabilities within twice the tolerance, or
    its margin.
    """
    rows = len(_first(original))
    differences = _differences(original, converted, rows)
    return certificate(differences, _flips(original, converted, tolerance, rows), tolerance, numeric_type)


def certificate(
    differences: NDArray[np.float64], flips: NDArray[np.bool_], tolerance: float, numeric_type: str
) -> Parity:
    """The certificate of rows that differ by so much [n], and of those whose label flips [n]."""
    worst = int(np.argmax(differences)) if differences.any() else int(np.argmax(flips))
    largest = float(differences.max(initial=0.0))
    return Parity(
        rows=len(differences),
        max_difference=largest,
        mean_difference=float(differences.mean()) if len(differences) else 0.0,
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


def beyond_refusal(broken: str, parity: Parity, *, advice: str) -> RefusedError:
    """Why a conversion that agrees on the examples is refused: a row that may really come, in words (``broken``)."""
    beyond = parity.adversarial
    return RefusedError(
        "pack.parity-failed",
        "The converted model does not answer as the original does to rows that may really come.",
        why=f"On a row made from the signature, {broken}. On the {parity.rows} examples they agree.",
        fix=advice,
        details={
            "adversarial": [dict(worst) for worst in beyond.worst] if beyond is not None else [],
            "tried": [dict(attempt) for attempt in parity.tried],
        },
    )


def describe(answers: Answers, row: int) -> str:
    """One row's answer in words."""
    if answers.scores is not None:
        return "[" + ", ".join(f"{score:.6g}" for score in answers.scores[row].tolist()) + "]"
    if answers.values is not None:
        numbers = np.atleast_1d(answers.values[row]).tolist()
        shown = ", ".join(f"{number:.6g}" for number in numbers[:_SHOWN]) + (", ..." if len(numbers) > _SHOWN else "")
        label = f"{answers.labels[row]!r} " if answers.labels is not None else ""
        return label + (shown if len(numbers) == 1 else f"[{shown}]")
    return repr(answers.labels[row]) if answers.labels is not None else "nothing"


def differing(original: Answers, other: Answers, tolerance: float) -> NDArray[np.bool_]:
    """True [n] for the rows a certificate under this tolerance would not accept."""
    rows = len(_first(original))
    apart: NDArray[np.bool_] = _differences(original, other, rows) > tolerance
    return apart | _flips(original, other, tolerance, rows)


def one_row(answers: Answers, row: int) -> Answers:
    """The answers to one row alone."""
    held = (answers.labels, answers.scores, answers.values, answers.margins)
    return Answers(*(None if array is None else array[row : row + 1] for array in held))


def _first(answers: Answers) -> NDArray[Any]:
    return next(array for array in (answers.labels, answers.scores, answers.values) if array is not None)


def _differences(original: Answers, converted: Answers, rows: int) -> NDArray[np.float64]:
    if original.values is not None and converted.values is not None:
        if original.values.shape != converted.values.shape:
            return np.full(rows, np.inf)
        before, after = (held.values.astype(np.float64).reshape(rows, -1) for held in (original, converted))  # type: ignore[union-attr]
        scale = np.maximum(1.0, np.abs(before))
        relative: NDArray[np.float64] = _absolute(before, after) / np.where(np.isfinite(scale), scale, 1.0)
        return np.asarray(relative.max(axis=1, initial=0.0), np.float64)
    if original.scores is not None and converted.scores is not None:
        if original.scores.shape != converted.scores.shape:
            return np.full(rows, np.inf)
        return np.asarray(
            _absolute(original.scores.astype(np.float64), converted.scores.astype(np.float64)).max(axis=1), np.float64
        )
    return np.zeros(rows)


def _absolute(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    same = (before == after) | (np.isnan(before) & np.isnan(after))
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.where(same, 0.0, np.abs(before - after))
    known: NDArray[np.float64] = np.where(np.isnan(difference), np.inf, difference)
    return known


def _flips(original: Answers, converted: Answers, tolerance: float, rows: int) -> NDArray[np.bool_]:
    if original.labels is None or converted.labels is None:
        return np.zeros(rows, dtype=bool)
    differ = np.asarray(original.labels != converted.labels, dtype=bool)
    if original.margins is not None:
        near: NDArray[np.bool_] = np.asarray(original.margins <= 2 * tolerance, dtype=bool)
        return differ & ~near
    if original.scores is None or original.scores.shape[1] < 2:
        return differ
    top = np.sort(original.scores, axis=1)[:, -2:]
    tie: NDArray[np.bool_] = top[:, 1] - top[:, 0] <= 2 * tolerance
    return differ & ~tie
