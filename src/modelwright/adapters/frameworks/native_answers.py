"""What a native model answers to the examples: the outputs of its signature, and the proof that it is served alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.adapters.frameworks.parity import certificate
from modelwright.adapters.frameworks.sklearn_graph import LABEL, SCORES, VALUE
from modelwright.adapters.frameworks.sklearn_rows import Typing
from modelwright.core.errors import BadInputError, ModelwrightError, RefusedError
from modelwright.core.package import Parity
from modelwright.core.signature import DATATYPES, Signature, TensorSpec
from modelwright.core.table import Table, missing
from modelwright.features.tabular import rows_evenly

TOLERANCE = 1e-6
"""Room for rounding that depends on how many rows are asked at once and on how they lie in memory."""
_PROBED_ROWS = 16
_NULLS = ("", "nan", "None", "<missing>")
_DATATYPES = {dtype: name for name, dtype in DATATYPES.items()}
Outputs = Mapping[str, NDArray[Any]]
Run = Callable[[Outputs], dict[str, NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class Proven:
    """A model opened as it will be served, with ``outputs`` for ``feeds`` that are its own (``parity``)."""

    signature: Signature
    feeds: Outputs
    outputs: Outputs
    parity: Parity
    run: Run


def native_typings(rows: Table, names: Sequence[str]) -> list[Typing]:
    """Whole numbers as FP64 first, so that a service may be sent 3.5 where the examples held 3; else each as it is."""
    kinds = {name: _DATATYPES[rows[name].dtype] for name in names}
    wide = {name: "FP64" if rows[name].dtype.kind in "iu" else kind for name, kind in kinds.items()}
    named = {"FP64 for whole numbers": wide, "as in the examples": kinds}
    return [Typing(name, held) for name, held in named.items() if name.startswith("as") or held != kinds]


def null_word(rows: Table, names: Sequence[str]) -> str:
    """What stands for a missing text in tensors: the first of a few words that no text of the rows is."""
    taken = {value for name in names if rows[name].dtype == object for value in rows[name][~missing(rows[name])]}
    return next((word for word in _NULLS if word not in taken), "\N{REPLACEMENT CHARACTER}")


def output_specs(outputs: Outputs) -> tuple[TensorSpec, ...]:
    """The outputs as a signature lists them: any number of rows, and the rest of the shape as it is."""
    return tuple(
        TensorSpec(name, _DATATYPES[array.dtype], (-1, *(int(size) for size in array.shape[1:])))
        for name, array in outputs.items()
    )


def meaning(own: Outputs, classes: object, target: str) -> dict[str, Any]:
    """What the outputs mean, by their names: ``label``, ``probabilities`` [n, classes], ``prediction`` [n].

    Raises:
        BadInputError: ``pack.wrong-classes``.
    """
    scores, value = own.get(SCORES), own.get(VALUE)
    names = tuple(str(name) for name in classes) if isinstance(classes, Sequence) else ()
    if scores is not None and (scores.ndim != 2 or (names and scores.shape[1] != len(names))):
        raise BadInputError(
            "pack.wrong-classes",
            f"The output {SCORES!r} has the shape {list(scores.shape)}; CLASSES names {len(names)}.",
            fix="Return one column of probabilities for each class, in the order of CLASSES.",
        )
    if names and (LABEL in own or scores is not None):
        return {
            "task": "binary" if len(names) == 2 else "multiclass",
            "classes": names,
            "label_output": LABEL if LABEL in own else "",
            "score_output": SCORES if scores is not None else "",
            "target": target,
        }
    if value is not None and value.dtype.kind in "iuf" and value.size == len(value):
        return {"task": "regression", "label_output": VALUE, "target": target}
    return {"target": target}


def agreement(wanted: Outputs, found: Outputs, *, numeric_type: str, tolerance: float = TOLERANCE) -> Parity:
    """The certificate over all rows: |v - w| / max(1, |v|) of a number with fractions; all else must be the same."""
    rows = len(next(iter(wanted.values())))
    differences, flips = np.zeros(rows), np.zeros(rows, dtype=bool)
    for name, array in wanted.items():
        before, after = array.reshape(rows, -1), np.asarray(found[name]).reshape(rows, -1)
        if before.dtype.kind == "f":
            differences = np.maximum(differences, _apart(before, after).max(axis=1, initial=0.0))
        else:
            flips |= (before != after).any(axis=1)
    return certificate(differences, flips, tolerance, numeric_type)


def _apart(before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.float64]:
    wide, other = before.astype(np.float64), after.astype(np.float64)
    same = (wide == other) | (np.isnan(wide) & np.isnan(other))
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(wide - other) / np.maximum(1.0, np.abs(wide))
    known: NDArray[np.float64] = np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart))
    return known


def first_proven(tries: Sequence[Callable[[], Proven]]) -> Proven:
    """The first attempt whose answers are the model's own.

    Raises:
        RefusedError: ``pack.native-differs``.
        ModelwrightError: what the last attempt raised, where none got as far as answers.
    """
    tried: list[dict[str, object]] = []
    failure: ModelwrightError | None = None
    best: Proven | None = None
    for attempt in tries:
        try:
            proven = attempt()
        except ModelwrightError as error:
            failure = error
            tried.append({"holds": False, "why": error.why or error.what})
            continue
        made = proven.parity
        tried.append({"numeric_type": made.numeric_type, "max_difference": made.max_difference, "holds": made.holds})
        best = proven
        if made.holds:
            return replace(proven, parity=replace(made, tried=tuple(tried)))
    if best is None:
        assert failure is not None
        raise failure
    made = best.parity
    raise RefusedError(
        "pack.native-differs",
        "The packed model does not answer as the original does.",
        why=f"The largest difference is {made.max_difference:.3g}, in row {made.worst_row}; {made.label_flips} labels "
        "differ.",
        fix="A model must give the same answer each time, and take its columns as numbers, booleans and text.",
        details={"worst_row": made.worst_row, "max_difference": made.max_difference, "label_flips": made.label_flips},
    )


def stands_alone(run: Run, feeds: Outputs, *, tolerance: float = TOLERANCE) -> str:
    """Empty when a few rows give the same answers one by one as together, else what is different.

    Raises:
        RefusedError: ``pack.not-repeatable``.
    """
    rows = len(next(iter(feeds.values())))
    some = {name: tensor[rows_evenly(rows, _PROBED_ROWS)] for name, tensor in feeds.items()}
    together = run(some)
    if not agreement(together, run(some), numeric_type="", tolerance=tolerance).holds:
        raise RefusedError(
            "pack.not-repeatable",
            "The model gives different answers to the same rows.",
            why="It was asked twice in one process.",
            fix="Give its random numbers a fixed seed for each call, and let it keep nothing from call to call.",
        )
    for row in range(len(next(iter(some.values())))):
        try:
            alone = run({name: tensor[row : row + 1] for name, tensor in some.items()})
        except ModelwrightError as error:
            return f"asked for one row alone it raises: {error.why or error.what}"
        among = {name: tensor[row : row + 1] for name, tensor in together.items()}
        if not agreement(among, alone, numeric_type="", tolerance=tolerance).holds:
            return "a row asked for alone gets another answer than among others"
    return ""
