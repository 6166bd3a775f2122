"""Was the unit of a number changed? Undo each usual conversion and see whether the reference comes back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelwright.core.signature import NumberProfile
from modelwright.stats import drift
from modelwright.stats.profile import number_counts

LEAST_BINS = 5  # fewer bins cannot tell a conversion from any other change
LEAST_PSI = 0.5
LEFT_OVER = 0.1
SMALL_FACTOR = 4.0  # times: less than this a number may well have grown or shrunk by itself
CHANCE = 0.01


@dataclass(frozen=True, slots=True)
class Conversion:
    """``now = factor * before + offset``, and what a person would call it."""

    factor: float
    offset: float
    says: str


def _factor(factor: float, units: str = "") -> tuple[Conversion, Conversion]:
    named = f" ({units})" if units else ""
    return (
        Conversion(factor, 0.0, f"values look multiplied by {factor:g}{named}"),
        Conversion(1 / factor, 0.0, f"values look divided by {factor:g}{named}"),
    )


CONVERSIONS: tuple[Conversion, ...] = (
    *_factor(10),
    *_factor(100, "as between a share and per cent, metres and centimetres"),
    *_factor(1000, "as between kilo- and plain units, seconds and milliseconds"),
    *_factor(1e6),
    *_factor(60, "as between minutes and seconds"),
    *_factor(3600, "as between hours and seconds"),
    *_factor(24, "as between days and hours"),
    *_factor(1.609344, "as between miles and kilometres"),
    *_factor(2.54, "as between inches and centimetres"),
    *_factor(3.28084, "as between metres and feet"),
    *_factor(2.204623, "as between kilograms and pounds"),
    *_factor(25.4, "as between inches and millimetres"),
    *_factor(33.8639, "as between inches of mercury and hectopascals"),
    *_factor(1.943844, "as between metres per second and knots"),
    Conversion(5 / 9, -160 / 9, "looks like Celsius where Fahrenheit was"),
    Conversion(9 / 5, 32.0, "looks like Fahrenheit where Celsius was"),
    Conversion(1.0, 273.15, "looks like Kelvin where Celsius was"),
    Conversion(1.0, -273.15, "looks like Celsius where Kelvin was"),
    Conversion(5 / 9, 459.67 * 5 / 9, "looks like Kelvin where Fahrenheit was"),
    Conversion(-1.0, 0.0, "the sign looks flipped"),
)


def unit_change(known: NumberProfile, values: NDArray[np.float64]) -> Conversion | None:
    """The conversion that explains the values, or None.

    Undoing it must bring the values back into the reference's bins: PSI 0.5 or more before, less than 0.1 and less
    than a tenth of it after (beyond what chance gives). A factor below 4 must explain everything but chance, and better
    than a plain doubling or trebling does: prices double without any unit.
    """
    before = np.asarray(known.counts)
    now = drift.distance(before, number_counts(known, values))
    if now is None or now.bins < LEAST_BINS or now.effect < LEAST_PSI:
        return None
    left = []
    for conversion in CONVERSIONS:
        undone = drift.distance(before, number_counts(known, (values - conversion.offset) / conversion.factor))
        left.append(undone.effect if undone is not None else np.inf)
    best = int(np.argmin(left))
    if left[best] >= min(LEFT_OVER, now.effect / 10):
        return None
    found = CONVERSIONS[best]
    return None if _grew(known, values, found) else found


def _grew(known: NumberProfile, values: NDArray[np.float64], found: Conversion) -> bool:
    """Is growth or decline as good a reason as this conversion? Only asked where the factor is small."""
    if found.offset or not 1 / SMALL_FACTOR < found.factor < SMALL_FACTOR or found.factor < 0:
        return False
    before = np.asarray(known.counts)

    def gap(factor: float) -> tuple[float, float]:
        left = drift.shift(before, number_counts(known, values / factor))
        return (0.0, 1.0) if left is None else (abs(left.effect), left.p_value)

    size, p_value = gap(found.factor)
    return p_value < CHANCE or any(gap(factor)[0] < size for factor in (2.0, 0.5, 3.0, 1 / 3))
