"""Tables of every awkward shape, drawn afresh from a seed."""

from __future__ import annotations

import numpy as np
import pytest

from modelwright.core.table import Table


def _words(values):
    return np.array(values, dtype=object)


def _with_nulls(column, share, random):
    column = column.copy()
    column[random.random(len(column)) < share] = None if column.dtype == object else np.nan
    return column


def _zipf(levels, power):
    weights = np.arange(1, levels + 1.0) ** -power
    return weights / weights.sum()


@pytest.fixture(scope="session")
def draw():
    """``draw(random, rows)``: an i.i.d. mixed table: numbers of many shapes, long-tailed categories, nulls."""

    def table(random, rows):
        return Table(
            {
                "normal": random.normal(size=rows),
                "heavy": _with_nulls(random.standard_t(2, size=rows), 0.03, random),
                "skewed": random.lognormal(size=rows),
                "mostly_zero": np.where(random.random(rows) < 0.95, 0.0, random.exponential(size=rows)),
                "count": random.poisson(2, rows),
                "rounded": np.round(random.normal(50, 15, rows)),
                "flag": random.random(rows) < 0.3,
                "rare_flag": random.random(rows) < 0.002,
                "even": _with_nulls(_words(random.integers(0, 12, rows).astype(str)), 0.1, random),
                "long_tail": _words(random.choice(300, rows, p=_zipf(300, 1.2)).astype(str)),
                "very_long_tail": _words(random.choice(5000, rows, p=_zipf(5000, 1.0)).astype(str)),
                "rarely_missing": _with_nulls(random.normal(size=rows), 0.001, random),
            }
        )

    return table
