import contextlib
import json
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from modelwright.adapters.stores import schema
from modelwright.adapters.stores.database import open_database
from modelwright.core.access import Act, Actor
from modelwright.core.errors import BadInputError, ConflictError, CorruptError, UnavailableError
from modelwright.core.version import Arm, Lineage, Route

ACT = Act("ada", "because")
MIGRATIONS = Path(schema.__file__).parent / "migrations"


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def opened(home):
    return open_database(f"sqlite:///{home}/modelwright.db", keys=home / "keys")


def run_python(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_only_the_owner_may_open_what_it_makes(home):
    with opened(home) as database:
        database.ledger.append("watch.look", "flight", act=ACT)
        for path in [home, *home.rglob("*")]:
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_every_connection_flushes_each_commit_and_checks_foreign_keys(home):
    with opened(home) as database, database.engine.connect() as first, database.engine.connect() as second:
        for connection in (first, second):
            asked = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            told = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in asked]
            assert told == ["wal", 2, 1, 10_000]


def test_the_migrations_make_the_schema_of_the_code(home):
    with opened(home) as database, database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": schema.VERSION_TABLE})
        assert compare_metadata(context, schema.metadata) == []


def test_tokens_of_the_first_schema_are_good_for_any_rate_after_the_migration(home):
    with opened(home) as database:
        token = database.tokens.issue("old", "viewer", act=ACT)
    with contextlib.closing(sqlite3.connect(home / "modelwright.db")) as connection:
        connection.execute("ALTER TABLE mw_tokens DROP COLUMN rate")
        connection.execute("DROP TABLE mw_signatures")
        connection.execute("DROP TABLE mw_trusted_keys")
        connection.execute("UPDATE mw_schema SET version_num = '0001'")
        connection.commit()
    with opened(home) as database:
        assert database.tokens.actor(token) == Actor("old", "viewer")
        assert database.tokens.grants()[0].rate == 0.0


def test_a_registry_of_before_signatures_trusts_nobody_and_has_what_it_had(home):
    with opened(home) as database:
        version = database.versions.register("flight", "ab" * 32, lineage=Lineage("d"), verdict={"a": 1}, act=ACT)
    with contextlib.closing(sqlite3.connect(home / "modelwright.db")) as connection:
        connection.execute("DROP TABLE mw_signatures")
        connection.execute("DROP TABLE mw_trusted_keys")
        connection.execute("UPDATE mw_schema SET version_num = '0002'")
        connection.commit()
    with opened(home) as database:
        assert database.versions.version("flight", "1") == version
        assert list(database.trust.keys()) == []
        assert list(database.trust.bundles("ab" * 32)) == []


def test_the_revision_named_in_the_code_is_the_newest_migration():
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == schema.REVISION


def test_a_database_keeps_what_was_written_when_it_is_opened_again(home):
    with opened(home) as database:
        version = database.versions.register("flight", "ab" * 32, lineage=Lineage("d"), verdict={"a": 1}, act=ACT)
        database.versions.set_alias("flight", "champion", "1", act=ACT)
        route = Route("flight", (Arm("1", "ab" * 32, 1.0, "champion"),))
        epoch = database.routes.set_route(route, act=ACT)
        token = database.tokens.issue("bob", "viewer", act=ACT)
    with opened(home) as database:
        assert database.versions.version("flight", "champion") == version
        assert database.routes.route("flight") == route
        assert database.routes.table().epoch == epoch + 1
        assert database.tokens.actor(token) is not None
        assert database.ledger.verify().entries == 4


def test_the_text_of_a_token_is_nowhere_on_the_disk(home):
    with opened(home) as database:
        token = database.tokens.issue("bob", "viewer", act=ACT)
        for path in home.rglob("*"):
            assert not path.is_file() or token.encode() not in path.read_bytes()


def test_a_token_ends_when_its_time_is_over(home):
    clock = [1000.0]
    with open_database(f"sqlite:///{home}/modelwright.db", keys=home / "keys", now=lambda: clock[0]) as database:
        token = database.tokens.issue("bob", "viewer", act=ACT, ttl_seconds=60.0)
        assert [grant.expires_at for grant in database.routes.table().tokens] == [1060.0]
        clock[0] = 1060.0
        assert database.tokens.actor(token) is None
        assert database.tokens.grants() == ()
        assert database.tokens.revoke("bob", act=ACT) == 0


def test_opening_a_current_database_does_not_import_alembic(home):
    opened(home).close()
    code = """if True:
        import sys, pathlib
        from modelwright.adapters.stores.database import open_database
        home = pathlib.Path(sys.argv[1])
        open_database(f"sqlite:///{home}/modelwright.db", keys=home / "keys").close()
        print("alembic" in sys.modules)
    """
    output, errors = run_python(code, home).communicate()
    assert (output.strip(), errors) == ("False", "")


def test_blobs_need_no_database_library():
    code = """if True:
        import sys
        import modelwright.adapters.stores.local_blobs
        print(sorted({"sqlalchemy", "alembic", "cryptography", "numpy", "msgspec"} & set(sys.modules)))
    """
    output, errors = run_python(code).communicate()
    assert (output.strip(), errors) == ("[]", "")


def test_processes_that_make_the_same_database_at_once_do_not_race(home):
    code = """if True:
        import sys, pathlib
        from modelwright.adapters.stores.database import open_database
        from modelwright.core.access import Act, Actor
        home = pathlib.Path(sys.argv[1])
        print("ready", flush=True)
        sys.stdin.readline()
        with open_database(f"sqlite:///{home}/modelwright.db", keys=home / "keys") as database:
            for n in range(10):
                database.ledger.append("watch.look", sys.argv[2], act=Act(sys.argv[2]))
    """
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(home), f"process-{n}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(4)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _output, errors = process.communicate()
        assert (process.returncode, errors) == (0, "")
    with opened(home) as database:
        verdict = database.ledger.verify()
        assert (verdict.verified, verdict.entries) == (True, 40), verdict.why


def test_threads_that_make_the_same_database_at_once_do_not_race(home):
    start, failures = threading.Barrier(4), []

    def work():
        start.wait()
        try:
            opened(home).close()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_database_of_a_newer_release_is_refused(home):
    with opened(home) as database, database.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(ConflictError) as raised:
        opened(home)
    assert raised.value.code == "store.newer-schema"


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "sqlite://", "sqlite:///:memory:", "mysql://u:hidden@h/d", "postgresql://u:hidden@h/d"],
)
def test_a_url_that_cannot_be_used_is_refused_without_repeating_it(home, url):
    with pytest.raises(BadInputError) as raised:
        open_database(url, keys=home / "keys")
    assert raised.value.code == "store.bad-url"
    assert "hidden" not in json.dumps(raised.value.to_json())


def test_a_place_that_cannot_hold_a_database_is_an_error_in_words(home):
    home.mkdir()
    (home / "file").write_text("in the way")
    (home / "directory").mkdir()
    for place in ("file/modelwright.db", "directory"):
        with pytest.raises(UnavailableError) as raised:
            open_database(f"sqlite:///{home}/{place}", keys=home / "keys")
        assert raised.value.code == "store.unavailable"
        assert raised.value.why


def test_a_damaged_file_is_an_error_in_words(home):
    home.mkdir()
    (home / "modelwright.db").write_bytes(b"this is no database, " * 200)
    with pytest.raises(CorruptError) as raised:
        opened(home)
    assert raised.value.code == "store.corrupt"


def test_a_server_that_is_not_there_is_an_error_in_words(home):
    with pytest.raises(UnavailableError) as raised:
        open_database("postgresql+psycopg://nobody:hidden@127.0.0.1:1/nothing", keys=home / "keys")
    assert raised.value.code == "store.unavailable"
    assert "hidden" not in str(raised.value)


def test_a_database_that_stays_locked_is_an_error_in_words(home):
    with opened(home) as database:
        other = sqlite3.connect(home / "modelwright.db")
        other.execute("BEGIN IMMEDIATE")
        database.engine.dispose()
        sa.event.listen(database.engine, "connect", lambda raw, _: raw.execute("PRAGMA busy_timeout=1"))
        with pytest.raises(UnavailableError) as raised:
            database.ledger.append("watch.look", "flight", act=ACT)
        other.rollback()
        other.close()
        assert (raised.value.code, raised.value.why) == ("store.unavailable", "database is locked")
        assert database.ledger.append("watch.look", "flight", act=ACT).sequence == 1


ACTS = {
    "mw_versions": lambda db: db.versions.register("flight", "cd" * 32, lineage=Lineage(), verdict={}, act=ACT),
    "mw_alias_moves": lambda db: db.versions.set_alias("flight", "champion", "1", act=ACT),
    "mw_routes": lambda db: db.routes.set_route(Route("flight", ()), act=ACT),
    "mw_tokens": lambda db: db.tokens.issue("bob", "viewer", act=ACT),
}


@pytest.mark.parametrize("table", ACTS)
def test_a_change_and_its_entry_are_written_together_or_not_at_all(home, table):
    with opened(home) as database:
        database.versions.register("flight", "ab" * 32, lineage=Lineage(), verdict={}, act=ACT)
        before = everything(home)
        for refusing in ("mw_ledger", table):
            with database.engine.begin() as connection:
                connection.exec_driver_sql(
                    f"CREATE TRIGGER refuse BEFORE INSERT ON {refusing} BEGIN SELECT RAISE(ABORT, 'disk'); END"
                )
            with pytest.raises(sa.exc.IntegrityError):
                ACTS[table](database)
            with database.engine.begin() as connection:
                connection.exec_driver_sql("DROP TRIGGER refuse")
            assert everything(home) == before
        ACTS[table](database)
        assert everything(home) != before


def everything(home):
    connection = sqlite3.connect(home / "modelwright.db")
    names = [table.name for table in schema.metadata.sorted_tables if table.name != "mw_checkpoints"]
    rows = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}
    connection.close()
    return rows


def test_a_neighbour_may_begin_its_own_transactions_on_the_engine(home):
    """As DBOS does: it opens a transaction by hand, and writes in the driver's own."""
    with opened(home) as database:
        with database.engine.begin() as connection:
            connection.execute(sa.text("BEGIN IMMEDIATE"))
            connection.execute(sa.text("CREATE TABLE neighbour (n INTEGER)"))
        with database.engine.begin() as connection:
            connection.execute(sa.text("INSERT INTO neighbour VALUES (1)"))
        database.ledger.append("watch.look", "flight", act=ACT)
        with database.engine.connect() as connection:
            assert connection.execute(sa.text("SELECT n FROM neighbour")).scalar() == 1
