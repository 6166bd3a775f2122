"""How often looks at unchanged data speak, and how often looks at changed data name the change."""

import math
from collections import Counter

import numpy as np
import pytest

from modelwright.core.table import Table
from modelwright.stats.profile import profile
from modelwright.watch.compare import compare

SEEDS = 300
RATE = 0.02


@pytest.mark.parametrize(("reference", "window"), [(1000, 50), (1500, 500), (2000, 5000), (5000, 500)])
def test_unchanged_rows_raise_findings_no_more_often_than_stated(draw, reference, window):
    speaking = 0
    for seed in range(SEEDS):
        random = np.random.default_rng([seed, reference, window])
        findings, _ = compare(profile(draw(random, reference)), draw(random, window), alarm_rate=RATE)
        speaking += bool(findings)
    assert speaking / SEEDS <= RATE + 2.5 * math.sqrt(RATE * (1 - RATE) / SEEDS)


def _some(random, column, share, value):
    column = column.copy()
    column[random.random(len(column)) < share] = value
    return column


PLANTED = {
    "a shift of a quarter of a standard deviation": ("normal", "drift", 500, 0.7, lambda c, r: c + 0.25),
    "a wider spread": ("normal", "drift", 500, 0.8, lambda c, r: c * 1.4),
    "a sentinel at 1 %": ("normal", "out-of-range", 2000, 0.9, lambda c, r: _some(r, c, 0.01, -999.0)),
    "a default inside the range": ("skewed", "drift", 500, 0.9, lambda c, r: _some(r, c, 0.05, 1.0)),
    "a new category at 3 %": ("even", "new-category", 500, 0.9, lambda c, r: _some(r, c, 0.03, "NEW")),
    "a new category in a long tail": ("long_tail", "new-category", 2000, 0.9, lambda c, r: _some(r, c, 0.03, "NEW")),
    "nulls from none to 5 %": ("normal", "nulls-up", 500, 0.95, lambda c, r: _some(r, c, 0.05, np.nan)),
    "nulls gone": ("even", "nulls-down", 500, 0.95, lambda c, r: np.where(c == None, "3", c)),  # noqa: E711 - elementwise
    "times 1000": ("skewed", "unit-change", 500, 0.95, lambda c, r: c * 1000),
    "inches to centimetres": ("rounded", "unit-change", 500, 0.95, lambda c, r: c * 2.54),
    "Fahrenheit to Celsius": ("rounded", "unit-change", 500, 0.95, lambda c, r: (c - 32) * 5 / 9),
    "a constant number": ("count", "constant", 200, 1.0, lambda c, r: np.full(len(c), 2)),
    "a constant category": ("long_tail", "constant", 200, 1.0, lambda c, r: np.full(len(c), "3", dtype=object)),
    "another mix": ("even", "drift", 500, 0.9, lambda c, r: _some(r, c, 0.15, "3")),
    "a flag raised more often": ("rare_flag", "drift", 500, 0.9, lambda c, r: c | (r.random(len(c)) < 0.05)),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_what_was_planted_is_named_and_nothing_else_is(draw, planted):
    column, kind, window, least, change = PLANTED[planted]
    seeds = 20
    named, elsewhere = Counter(), 0
    for seed in range(seeds):
        random = np.random.default_rng([seed, 7])
        reference, current = draw(random, 4000), draw(random, window)
        changed = Table({**current.columns, column: change(current[column], random)})
        findings, _ = compare(profile(reference), changed)
        named.update({finding.kind for finding in findings if finding.subject == column})
        elsewhere += any(finding.subject != column for finding in findings)
    assert named[kind] / seeds >= least
    assert elsewhere <= 2
