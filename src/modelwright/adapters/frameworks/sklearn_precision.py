"""Numbers finer than 32 bits: which examples get another answer when they are rounded, and what the package takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.adapters.frameworks.parity import Answers, differing
from modelwright.core.errors import BadInputError
from modelwright.core.signature import Signature
from modelwright.core.table import Column, Table
from modelwright.ports.framework import Hints

OPTIONS = ("inputs",)


def wanted_numbers(hints: Hints) -> str:
    """The datatype asked for with ``--option inputs=``; empty where the first that proves itself is taken.

    Raises:
        BadInputError: ``pack.bad-option``.
    """
    said = hints.options.get("inputs", "")
    if said not in {"", "FP32", "FP64"}:
        raise BadInputError(
            "pack.bad-option",
            f"The option inputs cannot be {said!r}.",
            why="It says how many bits the numbers of a converted model have.",
            fix="Write inputs=FP32 or inputs=FP64, or leave it out: FP32 is taken where it gives the same answers.",
        )
    return said


def coarse_rows(rows: Table) -> dict[str, Column]:
    """The float64 columns with values that 32 bits do not hold, rounded to 32 bits."""
    with np.errstate(over="ignore"):
        return {
            name: column.astype(np.float32).astype(np.float64)
            for name, column in rows.columns.items()
            if _is_fine(column)
        }


def _is_fine(column: NDArray[Any]) -> bool:
    if column.dtype != np.float64:
        return False
    known = column[~np.isnan(column)]
    with np.errstate(over="ignore"):
        return bool((known.astype(np.float32) != known).any())


def merged(coarse: Mapping[str, Column], rows: Table) -> tuple[str, ...]:
    """Those columns in which rounding makes two values one; all of them where it does in none."""
    found = tuple(name for name in coarse if len(np.unique(coarse[name])) < len(np.unique(rows[name])))
    return found or tuple(coarse)


def precision(
    rows: Table, original: Answers, answering: Callable[[Table], Answers], signature: Signature, tolerance: float
) -> dict[str, str]:
    """A note where the model tells apart what 32 bits do not: how many examples, by which columns, what is taken."""
    coarse = coarse_rows(rows)
    if not coarse:
        return {}
    flips = int(differing(original, answering(Table({**rows.columns, **coarse})), tolerance).sum())
    if not flips:
        return {}
    wide = any(spec.datatype == "FP64" for spec in signature.inputs)
    taken = (
        "the package takes 64-bit numbers (FP64), and a caller who sends 32-bit ones gets the rounded answers"
        if wide
        else "the package takes 32-bit numbers"
    )
    columns = ", ".join(merged(coarse, rows)[:5])
    return {
        "precision": f"{flips} of {len(rows)} examples get another answer when rounded to 32 bits ({columns}): {taken}."
    }
