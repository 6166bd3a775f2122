"""How long a run takes, learned from the runs themselves."""

from __future__ import annotations

DECAY = 0.98
"""What a run weighs against the one after it: about fifty runs are remembered."""
CLIP = 8.0
"""A run that took more than so many times what was expected, or the mean (a busy machine), counts as that."""

SHORT_SECONDS, ENOUGH = 0.0005, 64
"""Learning takes microseconds, which such runs would feel."""


class Pace:
    """Seconds of a run as ``fixed + per_row * rows``, by least squares over recent runs.

    Both parts are never negative; where all runs had the same size, all of it is per row.
    """

    __slots__ = ("_short", "_sums", "fixed", "per_row")

    def __init__(self) -> None:
        self.fixed = self.per_row = 0.0
        self._short = 0
        self._sums = (0.0, 0.0, 0.0, 0.0, 0.0)

    def seconds(self, rows: int, runs: int = 1) -> float:
        """What so many rows in so many runs are expected to take; 0 before the first run."""
        return self.fixed * runs + self.per_row * rows

    def learn(self, rows: int, seconds: float) -> None:
        """Take a run into account; of runs too short to matter, one in eight once there are enough."""
        if seconds < SHORT_SECONDS:
            self._short += 1
            if self._short > ENOUGH and self._short & 7:
                return
        weight, sum_rows, sum_seconds, sum_squares, sum_products = self._sums
        if weight:
            seconds = min(seconds, CLIP * max(self.seconds(rows), sum_seconds / weight))
        weight, sum_rows, sum_seconds = DECAY * weight + 1, DECAY * sum_rows + rows, DECAY * sum_seconds + seconds
        sum_squares, sum_products = DECAY * sum_squares + rows * rows, DECAY * sum_products + rows * seconds
        self._sums = (weight, sum_rows, sum_seconds, sum_squares, sum_products)
        spread = weight * sum_squares - sum_rows * sum_rows
        slope = (weight * sum_products - sum_rows * sum_seconds) / spread if spread > 1e-6 * sum_squares else -1.0
        fixed = (sum_seconds - slope * sum_rows) / weight
        if slope < 0 or fixed < 0:  # one part would be negative: the line through the origin, or the constant
            flat = slope < 0 and spread > 1e-6 * sum_squares
            slope, fixed = (0.0, sum_seconds / weight) if flat else (sum_products / max(sum_squares, 1e-300), 0.0)
        self.per_row, self.fixed = slope, fixed
