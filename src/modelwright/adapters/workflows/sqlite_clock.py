"""Milliseconds for DBOS on an SQLite older than 3.42.

On Python 3.12 and later DBOS asks SQLite for ``unixepoch('subsec')``, which such a library answers with NULL. Debian 12
ships 3.40, so a Python 3.12 that uses the system's library could run no story there.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from typing import Any

FIRST_WITH_SUBSEC = (3, 42)


def needed() -> bool:
    """True where DBOS would ask for what this SQLite does not know."""
    return sys.version_info >= (3, 12) and sqlite3.sqlite_version_info < FIRST_WITH_SUBSEC


def provide() -> None:
    """Give every SQLite connection that is opened from now on the function, where it is needed."""
    from sqlalchemy import Engine, event  # lazy, with the rest of the workflow engine

    if needed() and not event.contains(Engine, "connect", _on_connect):
        event.listen(Engine, "connect", _on_connect)


def add_to(connection: sqlite3.Connection) -> None:
    """Define ``unixepoch(modifier)``: seconds since 1970, with a fraction for ``subsec``."""
    connection.create_function("unixepoch", 1, _unixepoch)


def _unixepoch(modifier: str) -> float:
    now = time.time()
    return now if modifier in {"subsec", "subsecond"} else int(now)


def _on_connect(connection: Any, _record: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        add_to(connection)
