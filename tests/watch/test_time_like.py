import numpy as np
import pytest

from modelwright.watch.time_like import by_construction


def words(*values):
    return np.array(values * 20, dtype=object)


@pytest.mark.parametrize(
    "column",
    [
        words("2013-01-01", "2013-12-31"),
        words("2013-01-01T10:00:00Z", "2013-01-01T11:00:00Z"),
        words("2013-01-01 10:00:00.25+01:00", "2013-01-01 10:00", None),
        np.array(["2013-01-01"] * 3, dtype="datetime64[us]"),
    ],
)
def test_times_are_recognised_in_any_common_form(column):
    found = by_construction("seen", column, column)
    assert found is not None
    assert found[0] == "time"


@pytest.mark.parametrize("name", ["year", "Month", "day", "week", "quarter"])
def test_calendar_parts_are_time_by_their_name(name):
    found = by_construction(name, np.array([1, 2, 1]), np.array([7, 7, 7]))
    assert found is not None
    assert found[0] == "time"


@pytest.mark.parametrize("column", [np.arange(100), np.array([f"id-{i}" for i in range(100)], dtype=object)])
def test_columns_that_name_rows_are_identifiers(column):
    found = by_construction("key", column, column)
    assert found is not None
    assert found[0] == "identifier"


@pytest.mark.parametrize(
    "column",
    [
        np.random.default_rng(0).normal(size=100),
        np.sort(np.random.default_rng(0).normal(size=100)),
        np.random.default_rng(0).integers(0, 1000, 100),
        np.full(100, 3),
        np.repeat([0, 1], 50),
        np.array([True, False] * 50),
        words("UA", "B6", None),
        words("1-2", "2013-01"),
        words(None, None),
        np.array([], dtype=np.float64),
        np.array([], dtype=object),
    ],
)
def test_everything_else_is_compared(column):
    assert by_construction("hour", column, column) is None
