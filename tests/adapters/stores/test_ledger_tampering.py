"""Whatever is done to the ledger's rows behind our back is found."""

import json
import shutil
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.adapters.stores.checkpoints import CheckpointKey
from modelwright.adapters.stores.database import open_database
from modelwright.core.access import Act
from modelwright.core.errors import CorruptError
from modelwright.core.ledger import LedgerEntry, next_entry

ENTRIES = 12
COLUMNS = ["sequence", "at", "actor", "action", "subject", "reason", "evidence", "previous", "hash", "key"]


def opened(home, now=lambda: 1_000_000.0):
    return open_database(f"sqlite:///{home}/modelwright.db", keys=home / "keys", now=now)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    home = tmp_path_factory.mktemp("written")
    with opened(home) as database:
        for n in range(ENTRIES):
            database.ledger.append("watch.look", f"model-{n % 3}", act=Act("ada", "why", f"k{n}"), evidence={"n": n})
        assert database.ledger.verify().verified
    return home


@pytest.fixture
def home(written, tmp_path):
    return shutil.copytree(written, tmp_path / "home")


def sql(home, *statements):
    connection = sqlite3.connect(home / "modelwright.db")
    with connection:
        for statement, *values in statements:
            connection.execute(statement, values)
    connection.close()


def verdict_of(home):
    with opened(home) as database:
        return database.ledger.verify()


def rechain(home, **changes):
    """What someone with write access but without the key can do best: change an entry and recompute every hash."""
    connection = sqlite3.connect(home / "modelwright.db")
    connection.row_factory = sqlite3.Row
    head = None
    with connection:
        for row in connection.execute("SELECT * FROM mw_ledger ORDER BY sequence").fetchall():
            values = dict(row) | (changes if row["sequence"] == 5 else {})
            evidence = json.loads(values["evidence"])
            key = evidence.pop("idempotency_key")
            head = next_entry(
                head,
                at=values["at"],
                action=values["action"],
                subject=values["subject"],
                act=Act(values["actor"], values["reason"], key),
                evidence=evidence,
            )
            connection.execute(
                "UPDATE mw_ledger SET reason = ?, previous = ?, hash = ? WHERE sequence = ?",
                (values["reason"], head.previous, head.hash, head.sequence),
            )
    connection.close()


def test_an_untouched_copy_verifies(home):
    verdict = verdict_of(home)
    assert (verdict.verified, verdict.entries) == (True, ENTRIES)


@settings(max_examples=60, deadline=None)
@given(
    sequence=st.integers(1, ENTRIES),
    column=st.sampled_from(COLUMNS),
    value=st.one_of(st.text(max_size=8), st.integers(-3, 99), st.floats(allow_nan=False), st.binary(max_size=4)),
)
def test_an_edit_of_any_column_is_found(tmp_path_factory, written, sequence, column, value):
    home = shutil.copytree(written, tmp_path_factory.mktemp("edit") / "home")
    where = f"FROM mw_ledger WHERE sequence = {sequence}"
    connection = sqlite3.connect(home / "modelwright.db")
    connection.execute("PRAGMA foreign_keys=OFF")
    before = connection.execute(f"SELECT {column} {where}").fetchone()
    try:
        with connection:
            connection.execute(f"UPDATE mw_ledger SET {column} = ? WHERE sequence = ?", (value, sequence))
    except (sqlite3.IntegrityError, UnicodeEncodeError):
        return  # the database itself refuses a sequence number that is taken
    finally:
        after = connection.execute(f"SELECT {column} {where}").fetchone()
        connection.close()
    if before == after:
        return
    assert not verdict_of(home).verified


@settings(max_examples=25, deadline=None)
@given(gone=st.sets(st.integers(1, ENTRIES), min_size=1))
def test_deleting_any_entries_is_found(tmp_path_factory, written, gone):
    home = shutil.copytree(written, tmp_path_factory.mktemp("delete") / "home")
    sql(home, *((f"DELETE FROM mw_ledger WHERE sequence = {sequence}",) for sequence in gone))
    verdict = verdict_of(home)
    assert not verdict.verified
    assert verdict.first_bad == min(gone)


@settings(max_examples=20, deadline=None)
@given(pair=st.lists(st.integers(1, ENTRIES), min_size=2, max_size=2, unique=True))
def test_swapping_two_entries_is_found(tmp_path_factory, written, pair):
    home = shutil.copytree(written, tmp_path_factory.mktemp("swap") / "home")
    first, second = pair
    move = "UPDATE mw_ledger SET sequence = ? WHERE sequence = ?"
    sql(home, (move, -1, first), (move, first, second), (move, second, -1))
    verdict = verdict_of(home)
    assert not verdict.verified
    assert verdict.first_bad == min(pair)


@pytest.mark.parametrize("sequence", [0, 3.5, ENTRIES + 1, ENTRIES + 2])
def test_an_inserted_entry_is_found(home, sequence):
    entry = LedgerEntry(1, "at", "eve", "deploy.promote", "model", "")
    columns = "at, actor, action, subject, reason, evidence, previous, hash, key"
    sql(
        home,
        (
            f"INSERT INTO mw_ledger (sequence, {columns}) VALUES (?, 'at', 'eve', 'a.b', 'm', '', '{{}}', ?, ?, '')",
            sequence,
            entry.previous,
            entry.computed_hash(),
        ),
    )
    assert not verdict_of(home).verified


def test_deeply_nested_evidence_is_found_and_does_not_stop_the_check(home):
    sql(home, ("UPDATE mw_ledger SET evidence = ? WHERE sequence = 3", "[" * 100_000))
    verdict = verdict_of(home)
    assert (verdict.verified, verdict.first_bad) == (False, 3)


def test_cutting_off_the_end_is_found_though_the_rest_is_a_good_chain(home):
    sql(home, ("DELETE FROM mw_ledger WHERE sequence > 7",))
    verdict = verdict_of(home)
    assert (verdict.verified, verdict.entries, verdict.first_bad) == (False, 7, 8)
    assert "cut off" in verdict.why


def test_cutting_off_the_end_and_the_checkpoints_of_the_database_is_found_by_the_file(home):
    sql(home, ("DELETE FROM mw_ledger WHERE sequence > 7",), ("DELETE FROM mw_checkpoints",))
    assert not verdict_of(home).verified


def test_cutting_off_the_end_and_the_file_is_found_by_the_database(home):
    sql(home, ("DELETE FROM mw_ledger WHERE sequence > 7",))
    (home / "keys" / "checkpoints.jsonl").unlink()
    assert not verdict_of(home).verified


def test_growing_again_after_a_cut_does_not_hide_it(home):
    sql(home, ("DELETE FROM mw_ledger WHERE sequence > 7",))
    with opened(home) as database:
        for _ in range(ENTRIES):
            database.ledger.append("watch.look", "model", act=Act("eve"))
    verdict = verdict_of(home)
    assert not verdict.verified
    assert "rewritten" in verdict.why


def test_a_chain_recomputed_without_the_key_is_found(home):
    rechain(home)
    assert verdict_of(home).verified  # nothing changed, so every hash is the same
    rechain(home, reason="something else")
    verdict = verdict_of(home)
    assert not verdict.verified
    assert "rewritten" in verdict.why


def test_a_checkpoint_signed_with_another_key_is_found(home, tmp_path):
    rechain(home, reason="something else")
    (home / "keys" / "checkpoints.jsonl").unlink()
    forger = CheckpointKey(tmp_path / "forger")
    connection = sqlite3.connect(home / "modelwright.db")
    head = connection.execute("SELECT hash FROM mw_ledger WHERE sequence = 12").fetchone()[0]
    forged = forger.sign(ENTRIES, head, "2026-01-01T00:00:00.000000Z")
    with connection:
        connection.execute("DELETE FROM mw_checkpoints")
        row = (forged.entries, forged.head, forged.at, forged.public_key, forged.signature)
        connection.execute("INSERT INTO mw_checkpoints VALUES (?, ?, ?, ?, ?)", row)
    connection.close()
    verdict = verdict_of(home)
    assert not verdict.verified
    assert "signature" in verdict.why


@settings(max_examples=40, deadline=None)
@given(
    column=st.sampled_from(["entries", "head", "at", "public_key", "signature"]),
    value=st.one_of(st.text(max_size=8), st.integers(-3, 99), st.floats(allow_nan=False), st.binary(max_size=4)),
)
def test_an_edit_of_a_checkpoint_is_found_and_does_not_stop_the_work(tmp_path_factory, written, column, value):
    home = shutil.copytree(written, tmp_path_factory.mktemp("checkpoint") / "home")
    connection = sqlite3.connect(home / "modelwright.db")
    before = connection.execute(f"SELECT {column} FROM mw_checkpoints WHERE entries = {ENTRIES}").fetchone()
    try:
        with connection:
            connection.execute(f"UPDATE mw_checkpoints SET {column} = ? WHERE entries = {ENTRIES}", (value,))
    except (sqlite3.IntegrityError, UnicodeEncodeError):
        return
    finally:
        after = connection.execute(f"SELECT {column} FROM mw_checkpoints").fetchall()
        connection.close()
    if before in after:
        return
    with opened(home) as database:
        database.ledger.append("watch.look", "model", act=Act("ada"))
        assert not database.ledger.verify().verified


def test_nothing_is_added_after_an_entry_that_is_not_ours(home):
    sql(home, (f"UPDATE mw_ledger SET sequence = 'last' WHERE sequence = {ENTRIES}",))
    with opened(home) as database:
        with pytest.raises(CorruptError) as raised:
            database.ledger.append("watch.look", "model", act=Act("ada"))
        assert raised.value.code == "ledger.damaged"


def test_a_damaged_line_of_the_checkpoint_file_is_found(home):
    path = home / "keys" / "checkpoints.jsonl"
    path.write_bytes(b"not a checkpoint\n" + path.read_bytes())
    verdict = verdict_of(home)
    assert (verdict.verified, verdict.why) == (False, "a checkpoint in checkpoints.jsonl was damaged")


def test_half_a_line_that_a_crash_left_is_no_damage_and_is_cut(home):
    path = home / "keys" / "checkpoints.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    with opened(home) as database:
        assert database.ledger.verify().verified
        database.ledger.append("watch.look", "model", act=Act("ada"))
    lines = path.read_bytes().splitlines()
    assert [json.loads(line)["entries"] for line in lines][-1] == ENTRIES + 1
    assert verdict_of(home).verified


def test_a_checkpoint_is_signed_every_thousand_entries_and_every_minute(tmp_path):
    clock = [1_000_000.0]
    with opened(tmp_path, now=lambda: clock[0]) as database:
        kept = database.ledger._key.kept
        database.ledger.append("watch.look", "model", act=Act("ada"))
        assert [line.entries for line in kept()] == [1]
        database.ledger.append("watch.look", "model", act=Act("ada"))
        assert [line.entries for line in kept()] == [1]
        clock[0] += 60.0
        database.ledger.append("watch.look", "model", act=Act("ada"))
        assert [line.entries for line in kept()] == [1, 3]
        with database.ledger.acting() as connection:
            for _ in range(1000):
                database.ledger.record(connection, "watch.look", "model", Act("ada"), None)
        assert [line.entries for line in kept()] == [1, 3, 1003]
        assert [entry.sequence for entry in database.ledger.entries(after=998)] == [999, 1000, 1001, 1002, 1003]
        assert sum(1 for _ in database.ledger.entries(limit=1001)) == 1001
        assert database.ledger.verify().entries == 1003


def test_a_quiet_ledger_is_not_signed_again(home):
    before = (home / "keys" / "checkpoints.jsonl").read_bytes()
    for _ in range(3):
        assert verdict_of(home).verified
    assert (home / "keys" / "checkpoints.jsonl").read_bytes() == before
