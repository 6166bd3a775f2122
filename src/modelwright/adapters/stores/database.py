"""Opening the registry's database: SQLite in the data directory, or PostgreSQL by its URL."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url
from sqlalchemy.exc import ArgumentError

from modelwright.adapters.stores import schema
from modelwright.adapters.stores.checkpoints import CheckpointKey
from modelwright.adapters.stores.findings import SqlFindings
from modelwright.adapters.stores.ledger import SqlLedger
from modelwright.adapters.stores.private_files import make_directory, make_file
from modelwright.adapters.stores.routes import SqlRoutes
from modelwright.adapters.stores.tokens import SqlTokens
from modelwright.adapters.stores.transactions import reading, writing
from modelwright.adapters.stores.trust import SqlTrust
from modelwright.adapters.stores.versions import SqlVersions
from modelwright.core.errors import BadInputError, ConflictError, UnavailableError

_BUSY_SECONDS = 10


class Database:
    """The registry's stores over one engine. ``engine`` may be shared with whoever keeps tables beside ours.

    On SQLite the engine keeps the driver's own transactions (``isolation_level="IMMEDIATE"``), which is also what
    DBOS sets up for itself.
    """

    def __init__(self, engine: Engine, *, keys: Path, now: Callable[[], float] = time.time) -> None:
        self.engine = engine
        self.ledger = SqlLedger(engine, CheckpointKey(keys), now)
        self.versions = SqlVersions(engine, self.ledger)
        self.routes = SqlRoutes(engine, self.ledger, now)
        self.tokens = SqlTokens(engine, self.ledger, now)
        self.findings = SqlFindings(engine, self.ledger)
        self.trust = SqlTrust(engine, self.ledger, now)

    def close(self) -> None:
        """Sign the ledger's head and give the connections back."""
        try:
            self.ledger.checkpoint()
        finally:
            self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_database(url: str, *, keys: Path, now: Callable[[], float] = time.time) -> Database:
    """Open the registry, making or migrating its tables when they are not current.

    Args:
        url: ``sqlite:///PATH`` (the file is made 0600, its directory 0700) or ``postgresql+psycopg://...``.
        keys: directory of the ledger's signing key and its checkpoints.
        now: wall clock, Unix seconds.

    Raises:
        BadInputError: ``store.bad-url``.
        ConflictError: ``store.newer-schema``: a newer modelwright wrote this database.
        UnavailableError: ``store.unavailable``.
        CorruptError: ``store.corrupt``.
    """
    engine = _engine(_parsed(url))
    try:
        _bring_up_to_date(engine)
        database = Database(engine, keys=keys, now=now)
        database.ledger.checkpoint()
    except OSError as error:
        engine.dispose()
        raise _unavailable(error) from error
    except BaseException:
        engine.dispose()
        raise
    return database


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    on_disk = (
        parsed is not None and parsed.get_backend_name() == "sqlite" and parsed.database not in {None, "", ":memory:"}
    )
    if parsed is None or not (on_disk or parsed.drivername == "postgresql+psycopg"):
        # The text is not repeated: it may hold a password.
        raise BadInputError(
            "store.bad-url",
            "The database's URL cannot be used.",
            why="It names neither a SQLite file nor a PostgreSQL database.",
            fix="Write sqlite:///PATH or postgresql+psycopg://USER@HOST/DATABASE.",
        )
    return parsed


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        try:
            return create_engine(url, pool_pre_ping=True)
        except ModuleNotFoundError as error:
            raise BadInputError(
                "store.no-driver",
                "The PostgreSQL driver is not installed.",
                fix="Run `pip install 'psycopg[binary]'`.",
            ) from error
    path = Path(str(url.database))
    try:
        make_directory(path.parent)
        make_file(path)
    except OSError as error:
        raise _unavailable(error) from error
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS, "isolation_level": "IMMEDIATE"})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        # FULL flushes each commit: 0 acknowledged writes lost in power-loss tests, where NORMAL lost some.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    return engine


def _unavailable(error: OSError) -> UnavailableError:
    return UnavailableError(
        "store.unavailable",
        "The registry's database cannot be opened.",
        why=f"{error.strerror or error}: {error.filename}",
        fix="Check that the data directory is there and writable.",
    )


def _bring_up_to_date(engine: Engine) -> None:
    with reading(engine) as connection:
        stored = _revision(connection)
    if stored == schema.REVISION:
        return
    if stored > schema.REVISION:
        raise ConflictError(
            "store.newer-schema",
            f"The registry has schema {stored}; this modelwright knows schemas up to {schema.REVISION}.",
            why="A newer modelwright wrote it.",
            fix="Upgrade modelwright.",
        )
    with _alone(engine), writing(engine) as connection:
        if _revision(connection) < schema.REVISION:
            _migrate(connection)


def _revision(connection: Connection) -> str:
    """The stored revision ('0001' < '0002' < ...), or an empty string in a new database."""
    if not inspect(connection).has_table(schema.VERSION_TABLE):
        return ""
    # The name is our own constant.
    return connection.exec_driver_sql(f"SELECT version_num FROM {schema.VERSION_TABLE}").scalar() or ""  # noqa: S608


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """On SQLite, hold the directory's lock and switch to write-ahead logging, which cannot wait for a busy file."""
    if engine.dialect.name != "sqlite":
        yield
        return
    handle = os.open(Path(str(engine.url.database)).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        yield
    finally:
        os.close(handle)


def _migrate(connection: Connection) -> None:
    # Lazy: Alembic takes longer to import than everything else here, and only a new or old database needs it.
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection, "version_table": schema.VERSION_TABLE})
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, "head")
