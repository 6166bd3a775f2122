"""Calibrated drift tests from counts alone: how far two samples are apart, and whether chance explains it.

A fixed cut on a distance alarms on every small window and is blind on large ones; each test here gives a p-value
instead, with both sample sizes in it. ``dispersion`` is how many rows carry the information of one independent row
(1 = independent rows); it divides both sample sizes.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, chdtri, chndtrinc, gammaln

from modelwright.core.signature import CategoryProfile

OWN_BIN_SHARE = 0.05  # rarer levels share hash buckets: sparse bins break every distance
LEAST_EXPECTED = 5.0  # rows expected in a bin for the chi-squared law to hold in the tail
POWER = 0.8
_SUMMED = 20_000

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Distance:
    """Population stability index of two counted samples.

    ``psi`` is as computed, ``effect`` what is left after taking away what chance alone gives, never negative.
    """

    psi: float
    effect: float
    p_value: float
    bins: int


def distance(reference: NDArray[Any], window: NDArray[Any], *, dispersion: float = 1.0) -> Distance | None:
    """PSI with +0.5 smoothing and its p-value; None when fewer than two bins or an empty side.

    Under "same distribution" PSI / (1/n_reference + 1/n_window) is about chi-squared with bins - 1 degrees of
    freedom: to second order PSI is the symmetrised Kullback-Leibler divergence, which is the two-sample
    chi-squared statistic over that factor (B. Yurdakul, "Statistical Properties of Population Stability Index", 2018).

    Args:
        reference: rows by bin ([bins]).
        window: rows by bin ([bins]).
        dispersion: see the module.
    """
    rows_before, rows_now = float(reference.sum()), float(window.sum())
    bins = len(reference)
    if bins < 2 or not rows_before or not rows_now:
        return None
    # Independent rows are smoothed: half a row beside 50 rows that are 5 at heart would leave empty bins too deep.
    before, now = reference / dispersion + 0.5, window / dispersion + 0.5
    before, now = before / before.sum(), now / now.sum()
    psi = float(((now - before) * np.log(now / before)).sum())
    unit = dispersion * (1 / rows_before + 1 / rows_now)
    if bins == 2:  # a share: the exact test holds where the rarer bin expects less than a handful
        rarer = int(np.argmin(reference))
        p_value = share_changed(
            int(window[rarer]), int(rows_now), int(reference[rarer]), int(rows_before), dispersion=dispersion
        )
    else:
        p_value = float(chdtrc(bins - 1, psi / unit))
    return Distance(psi, max(0.0, psi - unit * (bins - 1)), p_value, bins)


def merged(reference: Counts, window: Counts, *, dispersion: float = 1.0) -> tuple[Counts, Counts]:
    """Neighbouring bins merged until each expects at least five independent rows in both samples.

    Where that leaves one bin, the fullest bin is set against all others.
    Which bins merge depends on the reference's counts and the two sizes only, never on where the window's rows fell.
    """
    rows = max(1, int(reference.sum()))
    least = LEAST_EXPECTED * dispersion * max(1.0, rows / max(1, int(window.sum())))
    starts, held = [0], 0
    for index, count in enumerate(reference.tolist()):
        if held >= least:
            starts.append(index)
            held = 0
        held += count
    if held < least and len(starts) > 1:
        starts.pop()
    if len(starts) == 1 and len(reference) > 1:
        fullest = int(np.argmax(reference))
        return (
            np.array([reference[fullest], reference.sum() - reference[fullest]]),
            np.array([window[fullest], window.sum() - window[fullest]]),
        )
    return np.add.reduceat(reference, starts), np.add.reduceat(window, starts)


@dataclass(frozen=True, slots=True)
class Shift:
    """P(a row of the window is larger than a row of the reference) - 1/2, ties counted half; and its p-value.

    A shift of 0.1 standard deviations of a normal column is about 0.028.
    """

    effect: float
    p_value: float


def shift(reference: Counts, window: Counts, *, dispersion: float = 1.0) -> Shift | None:
    """Mann-Whitney test on the counts of ordered bins, ties corrected; None for an empty side or one bin.

    One degree of freedom looks where PSI's bins - 1 look everywhere: a small move of the whole column is found with
    half the rows. None too where fewer than five independent rows are expected outside the fullest bin of either side:
    the normal law fails there (one row of a rare value would be news).
    Source: E. L. Lehmann, "Nonparametrics" (1975), 1.4 (ties).

    Args:
        reference: rows by bin ([bins], bins in order of value).
        window: rows by bin ([bins]).
        dispersion: see the module.
    """
    before, now = float(reference.sum()), float(window.sum())
    pooled = (reference + window).astype(np.float64)
    rows = before + now
    spread = 1 - float(((pooled / rows) ** 3).sum()) if rows else 0.0
    if not before or not now or spread <= 0:
        return None
    if (1 - float(pooled.max()) / rows) * min(before, now) / dispersion < LEAST_EXPECTED:
        return None
    below = np.cumsum(reference) - reference / 2
    effect = float((below * window).sum()) / (before * now) - 0.5
    variance = dispersion * rows * spread / (12 * before * now)
    return Shift(effect, math.erfc(abs(effect) / math.sqrt(2 * variance)))


def category_bins(
    known: CategoryProfile, levels: Mapping[str, int], *, dispersion: float = 1.0
) -> tuple[Counts, Counts]:
    """Rows by bin of a category's reference and window: own bins for frequent levels, hash buckets for the rest.

    A level has its own bin when it holds at least 5 % of the reference and five independent rows of it are expected
    in the window. The rest shares as many buckets as hold about that much each; a bucket is the level's CRC-32, so it
    depends on the name alone. Where the profile is capped, the rest is one bin.
    """
    present = max(1, known.rows - known.nulls)
    rows = max(1, sum(levels.values()))
    least = max(OWN_BIN_SHARE, LEAST_EXPECTED * dispersion / rows, LEAST_EXPECTED * dispersion / present)
    own = [level for level, count in known.levels.items() if count >= least * present]
    rest = present - sum(known.levels[level] for level in own)
    buckets = 1 if known.other else int(min(10, max(1, rest / present / least)))
    place = {level: index for index, level in enumerate(own)}

    def counted(counts: Mapping[str, int]) -> Counts:
        binned = np.zeros(len(own) + buckets, dtype=np.int64)
        for level, count in counts.items():
            index = place.get(level)
            binned[len(own) + zlib.crc32(level.encode()) % buckets if index is None else index] += count
        return binned

    before, now = counted(known.levels), counted(levels)
    before[-1] += known.other
    expected = rest * min(1.0, rows / present) / dispersion
    if expected < LEAST_EXPECTED and len(own) > 1:  # too few for a bin: the rest joins the rarest own level
        at = np.arange(len(own))
        before, now = np.add.reduceat(before, at), np.add.reduceat(now, at)
    return before, now


def more_than_expected(
    hits: int, rows: int, reference_hits: float, reference_rows: float, *, dispersion: float = 1.0
) -> float:
    """p-value of seeing ``hits`` or more of ``rows`` when the reference had ``reference_hits`` of ``reference_rows``.

    The chance under the beta-binomial law with a = reference hits + 1, b = reference rows - hits: exact for counts
    beyond an order statistic of the reference (S. S. Wilks, 1941), conservative for a fixed share, and it carries the
    reference's own sampling error.
    """
    size, count = int(rows / dispersion), int(hits / dispersion)
    a = reference_hits / dispersion + 1.0
    b = max(0.0, reference_rows - reference_hits) / dispersion
    if count <= 0 or size <= 0 or b <= 0 or count * (a + b) <= size * a:
        return 1.0
    k = np.arange(count, min(size, count + _SUMMED) + 1, dtype=np.float64)
    logs = gammaln(k + a) + gammaln(size - k + b) - gammaln(k + 1) - gammaln(size - k + 1)
    logs += gammaln(size + 1) - gammaln(size + a + b) + gammaln(a + b) - gammaln(a) - gammaln(b)
    return float(min(1.0, np.exp(logs).sum()))


def share_changed(hits: int, rows: int, reference_hits: int, reference_rows: int, *, dispersion: float = 1.0) -> float:
    """Two-sided p-value of a changed share (for example of missing values): twice the smaller one-sided one."""
    up = more_than_expected(hits, rows, reference_hits, reference_rows, dispersion=dispersion)
    down = more_than_expected(rows - hits, rows, reference_rows - reference_hits, reference_rows, dispersion=dispersion)
    return min(1.0, 2 * min(up, down))


def unseen_levels(hits: int, rows: int, known: CategoryProfile, *, dispersion: float = 1.0) -> float:
    """p-value of ``hits`` rows of levels the reference does not list.

    Good-Turing: the mass of unseen levels is about singletons / rows (I. J. Good, 1953). Its variance is up to twice
    the binomial one, so the reference counts half. An unseen level brings all its rows at once, about
    2 doubletons / singletons of them per reference size, so the window's rows count as that much fewer. Where the
    profile is capped nobody can tell: 1.
    """
    present = known.rows - known.nulls
    if known.other or not present:
        return 1.0
    doubletons = sum(1 for count in known.levels.values() if count == 2)
    together = 1 + rows / present * 2 * doubletons / max(1, known.singletons)
    return more_than_expected(
        int(hits / together), int(rows / together), known.singletons / 2, present / 2, dispersion=dispersion
    )


def detectable(reference_rows: int, rows: int, bins: int, level: float, *, dispersion: float = 1.0) -> float:
    """Smallest PSI found with 80 % chance at significance ``level``: noncentral chi-squared power, solved for PSI."""
    if bins < 2 or not reference_rows or not rows:
        return math.inf
    return dispersion * (1 / reference_rows + 1 / rows) * _noncentrality(bins, level)


def rows_needed(reference_rows: int, psi: float, bins: int, level: float, *, dispersion: float = 1.0) -> int | None:
    """Window rows at which ``psi`` becomes detectable; None when the reference itself has too few rows."""
    left = psi / (dispersion * _noncentrality(max(2, bins), level)) - 1 / max(1, reference_rows)
    return math.ceil(1 / left) if left > 0 else None


def _noncentrality(bins: int, level: float) -> float:
    """Noncentrality at which a chi-squared test with bins - 1 degrees of freedom has power 0.8 at ``level``."""
    return float(chndtrinc(chdtri(bins - 1, level), bins - 1, 1 - POWER))


def overdispersion(blocks: Sequence[NDArray[Any]]) -> float:
    """Dispersion factor from contiguous blocks of reference rows, counted into the same bins; at least 1.

    Pearson's chi-squared of the blocks against their pool over its degrees of freedom (the quasi-likelihood estimate;
    McCullagh and Nelder, 1989, 4.5). Blocks as long as the windows to be watched give the right factor for them.

    Args:
        blocks: rows by bin of each block ([bins] each, two blocks or more).
    """
    counts = np.asarray([block for block in blocks if block.sum()], dtype=np.float64)
    if len(counts) < 2:
        return 1.0
    pooled = counts.sum(axis=0)
    counts, pooled = counts[:, pooled > 0], pooled[pooled > 0]
    expected = counts.sum(axis=1, keepdims=True) * pooled / pooled.sum()
    freedom = (len(counts) - 1) * (len(pooled) - 1)
    return max(1.0, float(((counts - expected) ** 2 / expected).sum()) / freedom) if freedom else 1.0
