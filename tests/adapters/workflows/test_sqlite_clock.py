"""Milliseconds where SQLite has none."""

import sqlite3
import time

from modelwright.adapters.workflows.sqlite_clock import add_to


def test_a_column_may_default_to_milliseconds_on_any_sqlite():
    with sqlite3.connect(":memory:") as connection:
        add_to(connection)
        connection.execute("create table t (at integer not null default (unixepoch('subsec') * 1000), x integer)")
        before = time.time() * 1000
        connection.execute("insert into t (x) values (1)")
        at = connection.execute("select at from t").fetchone()[0]
    assert before - 1 <= at <= time.time() * 1000 + 1


def test_without_the_modifier_it_gives_whole_seconds():
    with sqlite3.connect(":memory:") as connection:
        add_to(connection)
        assert isinstance(connection.execute("select unixepoch('now')").fetchone()[0], int)
