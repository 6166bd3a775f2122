"""Training rows against the rows a candidate is judged on: a unit that changed in between shows here."""

from __future__ import annotations

import numpy as np

from modelwright.core.package import Package
from modelwright.core.signature import NumberProfile
from modelwright.core.table import Column, Table, missing
from modelwright.core.verdict import Gate
from modelwright.features.calendar import is_calendar

MOST_OUTSIDE = 0.5  # a model that must extrapolate on most rows was trained on something else


def within_training(package: Package, rows: Table) -> Gate | None:
    """Refuses when most rows of a number lie outside the range its training rows had; None without such numbers.

    Metrics alone do not see it: a model with one feature in the wrong unit may still beat an older champion. Columns
    named as parts of the calendar are not asked: the rows to judge on are later than the training rows.
    """
    profiles = package.reference.numbers if package.reference is not None else {}
    fed = {feature.name for feature in package.signature.features}
    shares = {
        name: outside(known, rows[name])
        for name, known in profiles.items()
        if name in fed and name in rows and rows[name].dtype.kind in "iuf" and not is_calendar(name)
    }
    if not shares:
        return None
    worst = max(shares, key=lambda name: shares[name])
    known, share = profiles[worst], shares[worst]
    return Gate(
        name="within-training",
        passed=share <= MOST_OUTSIDE,
        figure=share,
        threshold=MOST_OUTSIDE,
        why=f"{worst}: {share:.0%} of the rows lie outside {known.low:.4g} to {known.high:.4g}, "
        f"the range of the training rows (allowed: {MOST_OUTSIDE:.0%}).",
        fix=""
        if share <= MOST_OUTSIDE
        else f"Give {worst} in the unit that the service sends, and train again. Where it grows by itself (a counter, "
        "an age), train without it or on its change.",
    )


def outside(known: NumberProfile, column: Column) -> float:
    """Share of the known values outside the range of the reference."""
    values = column[~missing(column)].astype(np.float64)
    return float(np.mean((values < known.low) | (values > known.high))) if len(values) else 0.0
