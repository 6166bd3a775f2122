"""Transactions on the registry's engine: one writer at a time, readers on a snapshot, errors in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError

from modelwright.core.errors import CorruptError, ModelwrightError, UnavailableError

# Any number that no neighbour in the same PostgreSQL database uses for its own advisory locks.
_WRITER_LOCK = 7_303_014_270


def _said(error: DBAPIError) -> ModelwrightError:
    why = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
    if "malformed" in why or "not a database" in why:
        return CorruptError(
            "store.corrupt", "The registry's database is damaged.", why=why, fix="Restore it from a backup."
        )
    return UnavailableError(
        "store.unavailable",
        "The registry's database cannot be used now.",
        why=why,
        fix="Check that the disk has room, that the data directory is writable and that the database runs.",
    )


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One write transaction, alone among all writers of all processes; committed when the block ends without error.

    Raises:
        UnavailableError: ``store.unavailable``: locked for longer than the busy time-out, full, read-only or gone.
        CorruptError: ``store.corrupt``.
    """
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})")
            yield connection
    except OperationalError as error:
        raise _said(error) from error
    except DBAPIError as error:
        # Any other kind is a mistake of ours, except that the driver reports a damaged file as its base kind.
        said = _said(error)
        if isinstance(said, CorruptError):
            raise said from error
        raise


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One read transaction: every statement in it sees the same state.

    Raises:
        UnavailableError: ``store.unavailable``.
        CorruptError: ``store.corrupt``.
    """
    try:
        with engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")
                yield connection
            else:
                yield connection.execution_options(isolation_level="REPEATABLE READ")
    except OperationalError as error:
        raise _said(error) from error
    except DBAPIError as error:
        said = _said(error)
        if isinstance(said, CorruptError):
            raise said from error
        raise
