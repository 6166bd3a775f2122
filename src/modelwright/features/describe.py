"""What columns may hold, as data showed it: the features of a signature."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from modelwright.core.signature import Feature, Signature
from modelwright.core.table import Column, Table, missing

MAX_CATEGORIES = 200


def describe(name: str, columns: Sequence[Column], *, null_as: str | None = None) -> Feature:
    """One feature over everything seen of it: kind, nullability, range, levels (at most 200, sorted, else none).

    Text is a category; ``null_as`` is kept for text only. A column seen nowhere is a number.
    """
    nullable = any(bool(missing(column).any()) for column in columns)
    if any(column.dtype == object for column in columns):
        levels = sorted({str(value) for column in columns for value in column[~missing(column)]})
        shown = tuple(levels) if len(levels) <= MAX_CATEGORIES else ()
        return Feature(name, "category", nullable, categories=shown, null_as=null_as or "")
    if columns and all(column.dtype == bool for column in columns):
        return Feature(name, "boolean", nullable)
    lows, highs = [], []
    for column in columns:
        numbers = column.astype(np.float64)
        finite = numbers[np.isfinite(numbers)]
        if len(finite):
            lows.append(float(finite.min()))
            highs.append(float(finite.max()))
    return Feature(name, "number", nullable, low=min(lows, default=None), high=max(highs, default=None))


def describe_all(signature: Signature, tables: Iterable[Table]) -> Signature:
    """The signature with its features described by all the tables together; features none of them holds are kept."""
    held = list(tables)
    features = []
    for feature in signature.features:
        columns = [table[feature.name] for table in held if feature.name in table]
        seen = describe(feature.name, columns, null_as=feature.null_as) if columns else feature
        features.append(seen if seen.kind == feature.kind else feature)
    return replace(signature, features=tuple(features))
