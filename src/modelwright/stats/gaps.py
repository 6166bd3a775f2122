"""A metric of one group of rows minus that of other rows, with its interval and p-value.

Both sides are drawn anew by themselves (the bootstrap of two independent samples; Efron and Tibshirani, 1993, chapter
8), so a group of 40 among 100,000 rows keeps its 40 rows in every replicate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from modelwright.stats import bootstrap
from modelwright.stats.bootstrap import Interval
from modelwright.stats.statistic import Floats, Statistic

ROWS = 2_000
"""Rows of a side that replicates are drawn on: two dozen groups are measured, not one."""
RARE = 100
"""Of what is rare (positives), so many are among them, as far as the rows of the plain bootstrap reach."""
SHARES = ("accuracy", "precision", "recall", "f1", "macro_f1", "roc_auc", "average_precision")
"""Metrics between 0 and 1 whose replicates are all alike where the group is right, or wrong, throughout."""
NOT_COMPARED = ("calibration_error",)
"""It grows as rows become fewer, with a perfect model too: groups of different sizes cannot be compared by it."""


DOUBTED = 0.05
"""Smaller p-values are held against random groups, too; a larger one refuses nothing as it is."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Group minus rest, its 95 % percentile interval, and a two-sided p-value of "no difference"."""

    value: float
    low: float
    high: float
    p: float


def drawn_rows(rows: int, rarest: int) -> int:
    """Rows that the replicates of a side are drawn on: of its rows, ``rarest`` are of the rarest kind."""
    return min(rows, max(ROWS, min(bootstrap.ROWS, rows * RARE // max(rarest, 1))))


def measure(
    group: Mapping[str, Statistic],
    rest: Mapping[str, Statistic],
    cases: Mapping[str, int],
    *,
    drawn: tuple[int, int] = (ROWS, ROWS),
) -> tuple[dict[str, Interval], dict[str, Difference]]:
    """Each metric of a group with its 95 % interval, and its gap to the rest where both sides are defined.

    Args:
        group: the metrics bound to the group's rows.
        rest: the metrics that are to be compared, bound to the other rows.
        cases: metric to the number of the group's rows that decide it (for recall: its positives).
        drawn: rows of the group, and of the rest, that replicates are drawn on at most.
    """
    figures = {name: value for name, one in group.items() if math.isfinite(value := one.value)}
    others = {name: value for name, one in rest.items() if math.isfinite(value := one.value)}
    if not figures:
        return {}, {}
    ours, rows = bootstrap.deviations({name: group[name] for name in figures}, seed=1, most=drawn[0])
    ours = {name: _uncertain(name, figures[name], one, cases.get(name, rows)) for name, one in ours.items()}
    measured = {name: bootstrap.around(figures[name], one, rows) for name, one in ours.items()}
    compared = [name for name in figures if name in others and name not in NOT_COMPARED]
    if not compared:
        return measured, {}
    theirs, _ = bootstrap.deviations({name: rest[name] for name in compared}, seed=2, most=drawn[1])
    return measured, {name: difference(figures[name] - others[name], ours[name], theirs[name]) for name in compared}


def doubted(
    found: Mapping[str, Difference], whole: Mapping[str, Statistic], rows: int, *, drawn: tuple[int, int] = (ROWS, ROWS)
) -> dict[str, Difference]:
    """The gaps with p-values that hold for small groups as well: the larger of two wherever one is small.

    The standard error of a small group is itself uncertain, and smallest where the group looks best or worst by chance.
    So a small p-value is held against random groups of the same size from all rows, for which "no difference" is true:
    a permutation test. Its tail is that of the Pearson type III distribution with the mean, spread and skewness of the
    permutations (P. W. Mielke and K. J. Berry, "Permutation Methods", 2001). It alone would not do: it takes the group
    to vary as all rows do.

    Args:
        found: the gaps of one group.
        whole: the metrics bound to all rows.
        rows: how many of them are the group's.
        drawn: as :func:`measure`.
    """
    names = [name for name, one in found.items() if one.p <= DOUBTED]
    if not names:
        return dict(found)
    everything = whole[names[0]].rows
    if min(rows, everything - rows) > ROWS and drawn == (ROWS, ROWS):  # many, and none of them rare
        return dict(found)
    sides = min(rows, drawn[0]), min(everything - rows, drawn[1])
    pool = np.linspace(0, everything - 1, sum(sides)).astype(np.intp)
    size = math.sqrt((1 / rows + 1 / (everything - rows)) / (1 / sides[0] + 1 / sides[1]))
    first = (np.arange(sum(sides)) < sides[0]).astype(np.float64)
    chosen = np.random.default_rng(4).permuted(np.tile(first, (bootstrap.REPLICATES, 1)), axis=1)
    held = {}
    for name in names:
        one = whole[name].take(pool)
        p = _tail(found[name].value, (one.replicate(chosen) - one.replicate(1 - chosen)) * size)
        held[name] = replace(found[name], p=max(found[name].p, p))
    return {**found, **held}


def _tail(value: float, drawn: Floats) -> float:
    """Two-sided p-value of a value under a Pearson type III distribution like the draws."""
    from scipy.stats import pearson3, skew  # lazy: half a second, and a check without slices needs it not

    known = drawn[np.isfinite(drawn)]
    spread = float(np.std(known)) if len(known) else 0.0
    if not spread:
        return 1.0
    low = float(pearson3.cdf((value - float(np.mean(known))) / spread, float(skew(known))))
    return min(2 * min(low, 1 - low), 1.0)


def difference(value: float, ours: Floats, theirs: Floats) -> Difference:
    """The gap from the deviations [r] of each side's replicates.

    The p-value is that of value / standard error under the normal distribution: counting replicates beyond 0 would
    know no p-value below 1 / r, too coarse to correct for many comparisons.
    """
    drawn = ours - theirs
    low, high = bootstrap.bounds(drawn)
    error = float(np.nanstd(drawn))
    p = math.erfc(abs(value) / error / math.sqrt(2)) if error > 0 else float(value == 0)
    return Difference(value, value + min(low, 0.0), value + max(high, 0.0), p)


def _uncertain(name: str, figure: float, deviation: Floats, cases: int) -> Floats:
    """The deviations; where a share of 0 or 1 gave replicates that are all alike, those of an exact binomial bound.

    Thirty right of thirty do not prove that every one will be. With n of n the 95 % bound is 0.025 ** (1 / n) (Clopper
    and Pearson, 1934), which is a quantile of Beta(n, 1); the deviations are that distribution's, in random order.
    """
    if name not in SHARES or figure not in {0.0, 1.0} or np.nanmax(np.abs(deviation)) > 0:
        return deviation
    places = np.random.default_rng(3).permutation(len(deviation))
    below: Floats = ((places + 0.5) / len(deviation)) ** (1 / max(cases, 1)) - 1.0
    return below if figure == 1.0 else -below
