"""How often a check finds a gap between groups where there is none, and how often it finds one that is there.

    python benchmarks/slices_chance.py [CHECKS]

Truths are drawn from the model's own probabilities, so it is as good as can be in every group. "One is worse": in the
first group the truth is a coin with the same base rate. Aim: at most 5 % of the checks find a gap where there is none.
"""

import sys
import time

import numpy as np

from modelwright.check.answers import Answers
from modelwright.check.slices import measure_slices
from modelwright.core.signature import Signature
from modelwright.core.slices import Slices
from modelwright.core.table import Table

SHAPES = ((12, 40), (6, 100), (2, 200), (6, 400))
SIGNATURE = Signature((), (), (), "binary", ("0", "1"), "", "probabilities")


def check(random: np.random.Generator, groups: int, rows: int, *, worse: bool) -> Slices:
    """Slices by a column of so many groups of about so many rows."""
    count = groups * rows
    p = 1 / (1 + np.exp(0.8 - 1.2 * random.normal(size=count)))
    place = random.integers(0, groups, count)
    likely = np.where((place == 0) & worse, p.mean(), p)
    truth = (random.random(count) < likely).astype(int)
    answers = Answers(SIGNATURE, None, np.stack([1 - p, p], axis=1).astype(np.float32))
    (found,) = measure_slices(answers, truth, Table({"place": place}), ["place"])
    return found


def main() -> None:
    checks = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    print(
        f"{'groups':>6} {'rows of each':>12} {'any found, none there':>22} {'worse one found':>16} {'s per group':>12}"
    )
    for groups, rows in SHAPES:
        random, began, alarms, hits = np.random.default_rng(1), time.perf_counter(), 0, 0
        for _ in range(checks):
            same = check(random, groups, rows, worse=False)
            alarms += any(gap.beyond_chance for group in same.groups for gap in group.gaps)
            other = check(random, groups, rows, worse=True)
            first = next(group for group in other.groups if group.name == "0")
            hits += any(gap.beyond_chance and gap.worse > 0 for gap in first.gaps)
        spent = (time.perf_counter() - began) / (2 * checks * groups)
        print(f"{groups:>6} {rows:>12} {alarms / checks:>22.1%} {hits / checks:>16.1%} {spent:>12.2f}", flush=True)


if __name__ == "__main__":
    main()
