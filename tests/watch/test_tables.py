import numpy as np
import pytest

from modelwright.core.errors import BadInputError
from modelwright.core.finding import WatchReport
from modelwright.core.record_codec import from_json, to_json
from modelwright.core.table import Table
from modelwright.watch.tables import compare_tables

RANDOM = np.random.default_rng(0)


def month(number, rows=500):
    start = np.datetime64(f"2013-{number:02d}-01T00:00:00", "us")
    at = start + np.arange(rows) * np.timedelta64(3600, "s")
    return Table(
        {
            "year": np.full(rows, 2013),
            "month": np.full(rows, number),
            "at": at,
            "stamp": np.array([f"{str(moment)[:19]}Z" for moment in at], dtype=object),
            "row": np.arange(rows) + 1000 * number,
            "epoch": np.repeat(np.arange(rows // 2) + 1000 * number, 2),
            "booking": np.array([f"{number}-{index:05d}" for index in range(rows)], dtype=object),
            "temp": RANDOM.normal(30, 10, rows),
            "hour": RANDOM.integers(0, 24, rows),
        }
    )


def test_times_and_identifiers_are_set_aside_in_words():
    report = compare_tables(month(1), month(2))
    assert report.findings == ()
    verdicts = {column.column: column.verdict for column in report.columns}
    assert {name for name, verdict in verdicts.items() if verdict == "time"} == {
        "year",
        "month",
        "at",
        "stamp",
        "epoch",
    }
    assert {name for name, verdict in verdicts.items() if verdict == "identifier"} == {"row", "booking"}
    assert verdicts["hour"] in {"quiet", "not-enough-data"}
    assert all("not compared" in column.says for column in report.columns if column.verdict in {"time", "identifier"})
    assert list(verdicts) == list(month(1).names)


def test_the_summary_names_what_moved():
    current = month(2)
    report = compare_tables(month(1), Table({**current.columns, "temp": current["temp"] + 20}))
    assert report.says.startswith("1 finding in 500 rows: temp. First: temp is higher")
    assert report.rows == 500


def test_a_quiet_summary_says_how_much_was_looked_at():
    assert compare_tables(month(1), month(2)).says.startswith(
        "Nothing changed beyond chance in 500 rows and 9 columns."
    )


def test_tables_without_rows_or_common_columns_are_refused():
    with pytest.raises(BadInputError) as caught:
        compare_tables(month(1), month(1).take(slice(0, 0)))
    assert caught.value.code == "watch.empty"
    with pytest.raises(BadInputError) as caught:
        compare_tables(month(1), Table({"other": np.arange(3)}))
    assert caught.value.code == "watch.no-common-columns"
    assert "other" in str(caught.value)


def test_a_report_survives_json():
    current = month(2)
    report = compare_tables(month(1), Table({**current.columns, "temp": current["temp"] + 20}).without("hour"))
    assert from_json(WatchReport, to_json(report), "report") == report


def test_one_row_is_said_to_be_too_few_to_tell():
    report = compare_tables(Table({"x": np.arange(1000.0) % 97}), Table({"x": np.array([5.0])}))
    assert report.says == "Not enough data to tell whether anything changed: 1 row and 1 column."


@pytest.mark.parametrize("rate", [0.1, 0.01])
def test_one_row_of_a_rare_number_hardly_ever_speaks(rate):
    speaking, seeds = 0, 300
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        tables = [Table({"x": random.poisson(rate, rows)}) for rows in (1000, 1)]
        speaking += bool(compare_tables(*tables, alarm_rate=0.05).findings)
    assert speaking / seeds <= 0.05


def test_tables_of_identifiers_alone_are_not_called_unchanged():
    report = compare_tables(Table({"id": np.arange(100)}), Table({"id": np.arange(100, 200)}))
    assert report.says == "Nothing was compared: every column of 100 rows and 1 column holds times or identifiers."
