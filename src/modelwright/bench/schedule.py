"""When the requests of an open loop are due: decided before the first of them is sent."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Arrivals = Literal["poisson", "even"]


def due_times(
    rate: float, seconds: float, arrivals: Arrivals, *, seed: int, part: int = 0, parts: int = 1
) -> NDArray[np.float64]:
    """Seconds after the start at which requests are due, in order: [n] FP64, all below ``seconds``.

    ``poisson``: as many independent callers arrive, exponential gaps. ``even``: every ``1 / rate`` seconds.
    Of several generators each takes its ``part`` of the ``parts``; together they ask ``rate`` times a second.
    """
    if rate <= 0 or seconds <= 0:
        return np.empty(0)
    if arrivals == "even":
        times: NDArray[np.float64] = np.arange(part, rate * seconds, parts, dtype=np.float64) / rate
        return times[times < seconds]
    random = np.random.default_rng((seed, part))
    count = int(random.poisson(rate / parts * seconds))
    return np.sort(random.uniform(0.0, seconds, count))  # given their number, Poisson arrivals are uniform
