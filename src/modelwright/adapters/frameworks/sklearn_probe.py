"""Rows nobody sent yet, made from the signature: does the converted graph answer them as the original does?

A difference is written down and refuses nothing: these rows may be impossible. What the examples show, binds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from modelwright.adapters.frameworks.parity import Answers, compare, one_row
from modelwright.core.signature import Feature
from modelwright.core.table import Column, Table

UNSEEN = "modelwright-unseen"
_MAX_ROWS = 60
_SHOWN = 5
Answering = Callable[[Table], Answers]


def probe(
    features: tuple[Feature, ...], rows: Table, original: Answering, converted: Answering, tolerance: float
) -> str:
    """The outcome in words: how many rows, how many agreed, and which differ by how much.

    Args:
        features: what each column may hold.
        rows: the examples; the first one is varied.
        original: the model's answers to rows; may raise.
        converted: the graph's answers to rows; may raise.
        tolerance: as in the certificate.
    """
    varied = variations(features, rows)[:_MAX_ROWS]
    tables = [row for _, row in varied]
    befores, afters = _each(original, tables), _each(converted, tables)
    same, refused, different = 0, 0, []
    for (words, _), before, after in zip(varied, befores, afters, strict=True):
        if before is None:
            refused += 1
        elif after is None:
            different.append(f"{words} (refused)")
        else:
            certificate = compare(before, after, tolerance=tolerance, numeric_type="")
            same += certificate.holds
            if not certificate.holds:
                different.append(f"{words} ({certificate.max_difference:.3g})")
    said = f"{same + len(different)} rows made from the signature: {same} answered as the original answers them"
    said += f"; {refused} more the original itself refuses" if refused else ""
    if different:
        more = f" and {len(different) - _SHOWN} more" if len(different) > _SHOWN else ""
        said += f"; different: {', '.join(different[:_SHOWN])}{more}"
    return said


def _each(answering: Answering, tables: list[Table]) -> list[Answers | None]:
    """Answers to one-row tables: the first alone, the others together where that works; None where refused."""
    alone = _try(answering, tables[0])
    if len(tables) == 1:
        return [alone]
    names = tables[0].names
    together = _try(answering, Table({name: np.concatenate([row[name] for row in tables[1:]]) for name in names}))
    if together is None:
        return [alone, *(_try(answering, row) for row in tables[1:])]
    return [alone, *(one_row(together, index) for index in range(len(tables) - 1))]


def _try(answering: Answering, rows: Table) -> Answers | None:
    try:
        return answering(rows)
    except Exception:  # noqa: BLE001 - models and graphs refuse rows in every way
        return None


def variations(features: tuple[Feature, ...], rows: Table) -> list[tuple[str, Table]]:
    """One-row tables with the words for what was changed: missing values together, then each feature alone."""
    first = rows.take(np.array([0]))
    gaps = {
        feature.name: _one(first[feature.name], None)
        for feature in features
        if feature.nullable and feature.name in first
    }
    made = [("the first example alone", first)]
    if gaps:
        made.append(("everything missing that may be", Table({**first.columns, **gaps})))
    for feature in features:
        if feature.name in first:
            for words, value in _values(feature, first[feature.name]):
                changed = {**first.columns, feature.name: _one(first[feature.name], value)}
                made.append((f"{feature.name} {words}", Table(changed)))
    return made


def _values(feature: Feature, column: Column) -> list[tuple[str, object]]:
    missing: list[tuple[str, object]] = [("missing", None)] if feature.nullable else []
    if feature.kind == "category":
        return [*missing, ("unseen", UNSEEN), ("empty", "")]
    if feature.kind == "boolean" or feature.low is None or feature.high is None:
        return missing
    span = max(feature.high - feature.low, 1.0)
    low, high = feature.low, feature.high
    bounds: list[tuple[str, object]] = [("lowest", low), ("highest", high)]
    if column.dtype.kind == "f":
        bounds += [("below its range", low - span), ("above its range", high + span)]
    return [*missing, *bounds]


def _one(like: Column, value: object) -> Column:
    if like.dtype == object:
        return np.array([value], dtype=object)
    return np.array([np.nan if value is None else value], dtype=like.dtype)
