"""The data sets of the matrix: small, made from a fixed seed, each with rows that no packing has seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

TRAIN, EXAMPLES, NEW = 300, 60, 100
ROWS = TRAIN + EXAMPLES + NEW


@dataclass(frozen=True, slots=True)
class Data:
    """Rows (an array or a data frame [n, k], or an array of more dimensions) and what is to be learnt of them.

    ``classes`` [n] are whole numbers or words, ``values`` [n] FP64, ``counts`` [n] INT64 above or at 0.
    """

    rows: Any
    classes: NDArray[Any]
    values: NDArray[np.float64]
    counts: NDArray[np.int64]

    @property
    def seen(self) -> Data:
        """What the models are trained on."""
        return Data(self.rows[:TRAIN], self.classes[:TRAIN], self.values[:TRAIN], self.counts[:TRAIN])

    @property
    def examples(self) -> Any:
        """The rows that packing is given."""
        return self.rows[TRAIN : TRAIN + EXAMPLES]

    @property
    def new(self) -> Any:
        """The rows that only the packed model and the framework are asked about."""
        return self.rows[TRAIN + EXAMPLES :]


def _numbers(width: int = 6, dtype: Any = np.float64) -> NDArray[Any]:
    return np.random.default_rng(1).normal(size=(ROWS, width)).astype(dtype)


def _of(rows: Any, score: NDArray[np.float64], classes: NDArray[Any] | None = None) -> Data:
    noisy = score + np.random.default_rng(2).normal(size=len(score)) / 3
    counts = np.random.default_rng(3).poisson(np.exp(np.clip(score, -2, 2)))
    return Data(rows, (noisy > 0).astype(np.int64) if classes is None else classes, noisy * 10 + 60, counts)


def numbers() -> Data:
    """An array of six numbers."""
    rows = _numbers()
    return _of(rows, rows[:, 0] - rows[:, 1])


def wide() -> Data:
    """An array of 200 numbers of 32 bits."""
    rows = _numbers(200, np.float32)
    return _of(rows, (rows[:, 0] - rows[:, 1]).astype(np.float64))


def classes() -> Data:
    """Six numbers, and four classes named by words."""
    rows = _numbers()
    score = rows[:, 0] - rows[:, 1]
    return _of(rows, score, np.array(["east", "north", "south", "west"])[np.digitize(score, [-1, 0, 1])])


def gaps() -> Data:
    """A data frame of numbers, a tenth of them missing."""
    import pandas as pd  # lazy: comes with the extra

    rows = _numbers()
    holes = np.random.default_rng(4).random(rows.shape) < 0.1
    names = ["age", "visits", "spend", "days", "calls", "rate"]
    return _of(pd.DataFrame(np.where(holes, np.nan, rows), columns=names), rows[:, 0] - rows[:, 1])


def mixed() -> Data:
    """A data frame of numbers, whole numbers, truths and two columns of text."""
    import pandas as pd  # lazy: comes with the extra

    random, rows = np.random.default_rng(5), _numbers()
    frame = pd.DataFrame(
        {
            "age": (rows[:, 0] * 10 + 40).round(2),
            "visits": random.integers(0, 9, ROWS),
            "member": random.random(ROWS) > 0.5,
            "city": random.choice(["bern", "oslo", "rome"], ROWS),
            "plan": random.choice(["basic", "plus"], ROWS),
        }
    )
    return _of(frame, rows[:, 0] + (frame["city"] == "oslo").to_numpy() - 0.3)


def counts() -> Data:
    """A data frame of four numbers, and counts to be foretold."""
    import pandas as pd  # lazy: comes with the extra

    rows = _numbers(4)
    return _of(pd.DataFrame(rows, columns=["load", "heat", "speed", "wear"]), (rows[:, 0] - rows[:, 1]) / 2)


def images() -> Data:
    """Pictures of 12 by 12 points of 32 bits, in one channel."""
    rows = np.random.default_rng(6).normal(size=(ROWS, 1, 12, 12)).astype(np.float32)
    return _of(rows, rows.mean(axis=(1, 2, 3)).astype(np.float64) * 12)


def tokens() -> Data:
    """Sequences of ten whole numbers below 50."""
    rows = np.random.default_rng(7).integers(0, 50, (ROWS, 10))
    return _of(rows, (rows.mean(axis=1) - 24.5) / 5)


SETS: Mapping[str, Callable[[], Data]] = {
    "numbers": numbers,
    "wide": wide,
    "classes": classes,
    "gaps": gaps,
    "mixed": mixed,
    "counts": counts,
    "images": images,
    "tokens": tokens,
}


@cache
def data_set(name: str) -> Data:
    """The data set of that name, made once."""
    return SETS[name]()
