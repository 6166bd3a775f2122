"""Anytime-valid test of two error rates: looking after every answer costs nothing.

Null hypothesis: canary rate <= champion rate + tolerance, each arm a Bernoulli stream. For a *fixed* pair of rates
the ratio (Beta mixture of likelihoods) / (likelihood) of each arm is a non-negative martingale with mean 1 (Robbins,
1970, "Statistical methods related to the law of the iterated logarithm"), and so is the product over both arms.
Dividing the mixtures by the largest likelihood that the null allows gives a value that is below that martingale for
whichever pair in the null is true: an e-process (universal inference: Wasserman, Ramdas and Balakrishnan, 2020,
PNAS 117; game-theoretic statistics: Ramdas, Gruenwald, Vovk and Shafer, 2023). By Ville's inequality the chance that
it *ever* reaches 1 / alpha is at most alpha. It needs the four counts alone, so it survives a restart.
"""

from __future__ import annotations

import math

CANARY_PRIOR = (1.0, 3.0)  # a canary that fails, fails often: mean 25 %; any proper prior is valid, this one is quick
CHAMPION_PRIOR = (0.1, 1.0)  # a champion hardly fails


def _log_mixture(failed: int, total: int, prior: tuple[float, float]) -> float:
    """Log of the Beta(a, b) mixture of Bernoulli likelihoods: log B(failed + a, total - failed + b) - log B(a, b)."""
    a, b = prior

    def log_beta(x: float, y: float) -> float:
        return math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)

    return log_beta(failed + a, total - failed + b) - log_beta(a, b)


def _log_likelihood(failed: int, total: int, rate: float) -> float:
    hits = failed * math.log(rate) if failed else 0.0
    return hits + ((total - failed) * math.log1p(-rate) if total > failed else 0.0)


def _slope(failed: int, total: int, rate: float) -> float:
    """Derivative of the log likelihood by the rate."""
    hits = failed / rate if failed else 0.0
    return hits - ((total - failed) / (1 - rate) if total > failed else 0.0)


def _largest_null(canary: tuple[int, int], champion: tuple[int, int], tolerance: float) -> float:
    """Largest joint log likelihood with canary rate <= champion rate + tolerance.

    Each arm's log likelihood is concave in its rate, so the maximum is the free one where that is allowed, and else
    on the boundary, where bisection on the slope finds it.
    """
    free_canary = canary[0] / canary[1] if canary[1] else 0.0
    free_champion = champion[0] / champion[1] if champion[1] else 1.0
    if free_canary <= free_champion + tolerance:
        return _log_likelihood(*canary, free_canary) + _log_likelihood(*champion, free_champion)
    low, high = free_champion, min(free_canary - tolerance, 1.0 - tolerance)
    for _ in range(80):
        rate = (low + high) / 2
        # At rate 1 the likelihood of a success is 0: the slope is then minus infinity.
        uphill = rate + tolerance < 1 and _slope(*champion, rate) + _slope(*canary, rate + tolerance) > 0
        low, high = (rate, high) if uphill else (low, rate)
    rate = (low + high) / 2
    return _log_likelihood(*canary, rate + tolerance) + _log_likelihood(*champion, rate)


def log_e_value(canary: tuple[int, int], champion: tuple[int, int], *, tolerance: float) -> float:
    """Natural log of the evidence that the canary fails more often than champion + tolerance.

    Args:
        canary: (failed, total) answers so far.
        champion: (failed, total) answers so far; with no answer there is nothing to compare with, and the evidence
            never grows (use :func:`log_e_value_above`).
        tolerance: how much higher (absolute) the canary's error rate may be, in [0, 1).

    Raises:
        ValueError: counts that are no counts, or a tolerance outside [0, 1).
    """
    for failed, total in (canary, champion):
        if not 0 <= failed <= total:
            raise ValueError(f"{failed} of {total} is no count of failures")
    if not 0 <= tolerance < 1:
        raise ValueError("tolerance is a difference of rates in [0, 1)")
    evidence = _log_mixture(*canary, CANARY_PRIOR) + _log_mixture(*champion, CHAMPION_PRIOR)
    return evidence - _largest_null(canary, champion, tolerance)


def log_e_value_above(canary: tuple[int, int], *, rate: float) -> float:
    """Natural log of the evidence that the canary fails more often than a fixed ``rate`` in (0, 1)."""
    failed, total = canary
    null = min(rate, failed / total) if total else rate
    return _log_mixture(failed, total, CANARY_PRIOR) - _log_likelihood(failed, total, null)
