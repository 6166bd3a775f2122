"""SQL over recorded rows."""

import numpy as np
import pytest

from modelwright.core.errors import BadInputError
from modelwright.core.table import Table
from modelwright.record.query import query

ROWS = Table(
    {
        "version": np.array(["1", "1", "2"], dtype=object),
        "input.hour": np.array([5.0, np.nan, 7.0], dtype=np.float32),
        "truth": np.array([1.0, 0.0, np.nan]),
    }
)


def test_a_question_in_sql_gets_names_and_rows():
    names, rows = query(ROWS, "select version, count(*) as n from predictions group by version order by version")
    assert names == ["version", "n"]
    assert rows == [("1", 2), ("2", 1)]


def test_a_name_with_a_dot_is_quoted():
    assert query(ROWS, 'select max("input.hour") from predictions')[1] == [(7.0,)]


@pytest.mark.parametrize(
    "sql",
    ["select nothing from predictions", "selct 1", "select * from '/etc/passwd'", "copy predictions to '/tmp/x.csv'"],
)
def test_what_cannot_be_answered_says_why_and_names_the_columns(sql):
    with pytest.raises(BadInputError) as caught:
        query(ROWS, sql)
    assert caught.value.code == "record.bad-query"
    assert "input.hour" in caught.value.why
