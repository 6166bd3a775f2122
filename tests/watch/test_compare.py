import json
import re

import numpy as np
import pytest

from modelwright.core.record_codec import to_json
from modelwright.core.table import Table
from modelwright.stats.profile import profile
from modelwright.watch.compare import compare
from modelwright.watch.evidence import percent

RANDOM = np.random.default_rng(0)
ROWS = 3000
REFERENCE = Table(
    {
        "temp": RANDOM.normal(36, 10, ROWS),
        "carrier": RANDOM.choice(np.array(["UA", "B6", "DL"], dtype=object), ROWS, p=[0.5, 0.3, 0.2]),
        "late": RANDOM.random(ROWS) < 0.2,
        "hour": RANDOM.integers(5, 24, ROWS),
    }
)
KNOWN = profile(REFERENCE)


def only(current, **kwargs):
    findings, _ = compare(KNOWN, current, **kwargs)
    assert len(findings) == 1, findings
    return findings[0]


def swapped(**columns):
    return Table({**REFERENCE.columns, **columns})


def test_the_reference_itself_is_quiet():
    findings, columns = compare(KNOWN, REFERENCE)
    assert findings == ()
    assert {column.verdict for column in columns} == {"quiet"}


def test_a_drifted_number_says_which_way_and_how_far():
    finding = only(swapped(temp=REFERENCE["temp"] - 9))
    assert finding.kind == "drift"
    assert finding.severity == "warning"
    assert finding.says.startswith("temp is lower: mean 35.66 -> 26.66, median 35.44 -> 26.44")
    assert "(-0.9 standard deviations)" in finding.says
    assert finding.rank == 1
    assert finding.q_value is not None
    assert finding.q_value <= 0.01


def test_a_wider_number_says_so():
    finding = only(swapped(temp=36 + (REFERENCE["temp"] - 36) * 1.5))
    assert "temp spreads wider: standard deviation" in finding.says


def test_a_drifted_category_names_the_levels():
    carrier = REFERENCE["carrier"].copy()
    carrier[:600] = "DL"
    finding = only(swapped(carrier=carrier))
    assert finding.kind == "drift"
    assert "more 'DL' 20 % -> " in finding.says
    assert "less 'UA' 49 % -> " in finding.says


def test_new_levels_are_named_with_their_shares():
    carrier = REFERENCE["carrier"].copy()
    carrier[::20], carrier[::40] = "ZZ", "YY"
    finding = only(swapped(carrier=carrier))
    assert finding.kind == "new-category"
    assert finding.says.startswith("carrier has 2 new levels in 5.0 % of the rows: ")
    assert "'ZZ' 2.5 %" in finding.says


def test_a_placeholder_outside_the_range_is_recognised():
    temp = REFERENCE["temp"].copy()
    temp[::50] = -999
    finding = only(swapped(temp=temp))
    assert finding.kind == "out-of-range"
    assert "-999 in 2.0 % of the rows" in finding.says
    assert "placeholder" in finding.says


def test_a_unit_change_is_named():
    finding = only(swapped(temp=(REFERENCE["temp"] - 32) / 1.8))
    assert (finding.kind, finding.severity) == ("unit-change", "critical")
    assert "looks like Celsius where Fahrenheit was" in finding.says


@pytest.mark.parametrize("factor", [10, 100, 1000, 1609.344 / 1000, 1 / 1000])
def test_a_factor_is_named(factor):
    finding = only(swapped(temp=REFERENCE["temp"] * factor))
    assert finding.kind == "unit-change"
    assert "values look multiplied by" in finding.says or "values look divided by" in finding.says


def test_nulls_and_drift_of_one_column_are_two_causes():
    temp = REFERENCE["temp"] + 10
    temp[::10] = np.nan
    findings, _ = compare(KNOWN, swapped(temp=temp))
    assert [finding.kind for finding in findings] == ["drift", "nulls-up"]
    assert findings[1].says == "temp is missing in 10 % of the rows; it was missing in 0 %."


def test_a_wholly_missing_column_is_critical_whatever_its_type():
    for column in (np.full(ROWS, np.nan), np.full(ROWS, None, dtype=object)):
        for name in ("temp", "carrier"):
            finding = only(swapped(**{name: column}))
            assert (finding.kind, finding.severity, finding.effect) == ("nulls-up", "critical", 1.0)


def test_a_constant_column_is_named():
    finding = only(swapped(hour=np.full(ROWS, 12)))
    assert (finding.kind, finding.severity) == ("constant", "critical")
    assert finding.says == "hour is 12 in every row; it used to vary."


def test_missing_extra_and_retyped_columns_are_named_without_any_statistics():
    current = Table(
        {
            "temp": np.array(["warm"] * 100, dtype=object),
            "late": REFERENCE["late"][:100],
            "hour": REFERENCE["hour"][:100],
            "gate": np.arange(100),
        }
    )
    findings, columns = compare(KNOWN, current)
    assert {(finding.kind, finding.subject, finding.severity) for finding in findings} == {
        ("missing-column", "carrier", "critical"),
        ("retyped-column", "temp", "critical"),
        ("extra-column", "gate", "info"),
    }
    assert [column.column for column in columns] == ["temp", "hour", "carrier", "late", "gate"]


def test_zeros_and_ones_are_booleans_where_booleans_were():
    findings, _ = compare(KNOWN, swapped(late=REFERENCE["late"].astype(np.float32)))
    assert findings == ()


def test_float32_rows_of_the_same_values_are_no_drift():
    findings, _ = compare(KNOWN, swapped(temp=REFERENCE["temp"].astype(np.float32), hour=REFERENCE["hour"] * 1.0))
    assert findings == ()


def test_a_small_window_says_how_many_rows_it_takes():
    _, columns = compare(KNOWN, REFERENCE.take(slice(0, 40)))
    temp = next(column for column in columns if column.column == "temp")
    assert temp.verdict == "not-enough-data"
    assert temp.says.startswith("Not enough data: 40 rows; about ")


def test_a_tiny_reference_says_that_it_is_the_reference_that_is_too_small():
    _, columns = compare(profile(REFERENCE.take(slice(0, 60))), REFERENCE)
    temp = next(column for column in columns if column.column == "temp")
    assert temp.verdict == "not-enough-data"
    assert "the reference has too few rows (60)" in temp.says


def test_what_is_significant_but_tiny_is_quiet():
    random = np.random.default_rng(1)
    findings, columns = compare(
        profile(Table({"x": random.normal(size=200_000)})), Table({"x": random.normal(0.05, 1, size=200_000)})
    )
    assert findings == ()
    assert "too little to matter" in columns[0].says


def test_an_empty_window_is_not_enough_data():
    findings, columns = compare(KNOWN, REFERENCE.take(slice(0, 0)))
    assert findings == ()
    assert "quiet" not in {column.verdict for column in columns}


def test_every_report_carries_shares_for_a_chart():
    _, columns = compare(KNOWN, REFERENCE)
    for column in columns:
        assert len(column.bins) == len(column.reference_shares) == len(column.current_shares) > 1
        assert sum(column.reference_shares) == pytest.approx(1)
        assert sum(column.current_shares) == pytest.approx(1)


def test_findings_are_ranked_by_severity_and_then_by_size():
    current = swapped(temp=REFERENCE["temp"] + 9, hour=np.full(ROWS, 12))
    current = Table({**current.columns, "gate": np.arange(ROWS)})
    findings, _ = compare(KNOWN, current)
    assert [(f.rank, f.kind) for f in findings] == [(1, "constant"), (2, "drift"), (3, "extra-column")]


def test_findings_are_json():
    temp = REFERENCE["temp"] + 9
    temp[::10] = -999
    carrier = REFERENCE["carrier"].copy()
    carrier[:300] = "ZZ"
    findings, columns = compare(KNOWN, swapped(temp=temp, carrier=carrier, hour=np.full(ROWS, 1)))
    assert json.loads(json.dumps(to_json([findings, columns]), allow_nan=False))


def one_column(before, now, **kwargs):
    findings, columns = compare(profile(Table({"x": before})), Table({"x": now}), **kwargs)
    return findings, columns[0]


def test_a_wide_spread_of_far_values_does_not_hide_that_the_rest_spread():
    random = np.random.default_rng(1)
    before, now = random.normal(size=5000), random.normal(size=5000) * 2
    before[0] = 5000.0  # one far value makes the reference's standard deviation 70
    (finding,), _ = one_column(before, now)
    assert "narrower" not in finding.says
    assert finding.says.startswith("x is distributed differently: ")


def test_a_mean_that_moves_against_the_rows_is_not_called_a_direction():
    random = np.random.default_rng(1)
    before = np.concatenate([random.normal(10, 1, 4900), random.normal(1000, 100, 100)])
    now = np.concatenate([random.normal(9, 1, 4800), random.normal(1000, 100, 200)])
    (finding,), _ = one_column(before, now)
    assert "higher" not in finding.says


def test_a_number_with_two_values_is_told_as_a_share():
    random = np.random.default_rng(1)
    (finding,), _ = one_column((random.random(5000) < 0.3) * 1, (random.random(5000) < 0.4) * 1)
    assert re.fullmatch(r"x is 1 in (39|4\d) % of the rows; it was in (29|30|31) %\.", finding.says)


def test_a_median_that_did_not_move_is_no_evidence():
    random = np.random.default_rng(1)
    (finding,), _ = one_column(random.poisson(3, 5000), random.poisson(3.4, 5000))
    assert finding.says.startswith("x is higher: mean ")
    assert "median" not in finding.says


def test_figures_have_the_digits_that_tell_them_apart():
    random = np.random.default_rng(1)
    (finding,), _ = one_column(1e6 + random.normal(size=5000), 1e6 + 0.5 + random.normal(size=5000))
    assert re.search(r"mean (1000000|999999\.\d+) -> 1000000\.\d", finding.says)


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (np.full(500, 7.0), "x is 7 in every row; it was 5 in every row."),
        (np.linspace(2.0, 8.0, 500), "x lies between 2 and 8; it was 5 in every row."),
    ],
)
def test_a_constant_that_changes_is_told_as_one(now, says):
    (finding,), _ = one_column(np.full(1000, 5.0), now)
    assert finding.says == says


def test_infinities_are_named_where_they_count_as_missing():
    random = np.random.default_rng(1)
    now = random.normal(size=1000)
    now[::10] = np.inf
    (finding,), _ = one_column(random.normal(size=1000), now)
    assert finding.says == "x is missing or infinite in 10 % of the rows; it was missing in 0 %."


@pytest.mark.parametrize("factor", [2.0, 2.4])
def test_a_number_that_grew_is_no_change_of_unit(factor):
    random = np.random.default_rng(1)
    (finding,), _ = one_column(random.lognormal(3, 0.5, 5000), random.lognormal(3, 0.5, 5000) * factor)
    assert finding.kind == "drift"
    assert "x is higher" in finding.says


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (np.array([3.0]), np.full(1000, 3.0)),  # one row is no constant
        (np.arange(1000) % 2 == 0, np.ones(9, dtype=bool)),  # nine rows do not show that the other level is gone
        (np.arange(1000.0), np.array([500.0])),
    ],
)
def test_too_few_rows_are_not_called_unchanged(before, now):
    findings, report = one_column(before, now)
    assert findings == ()
    assert report.verdict == "not-enough-data"
    assert "1 rows" not in report.says


def test_all_rows_and_nearly_all_rows_are_told_apart():
    assert [percent(share) for share in (0.994, 0.999, 1.0)] == ["99 %", "over 99 %", "100 %"]
