"""The ledger in the database: every act one row, chained, in the transaction that changes the state."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, insert, select

from modelwright.adapters.stores import schema
from modelwright.adapters.stores.checkpoints import Checkpoint, CheckpointKey, checkpoint_from
from modelwright.adapters.stores.transactions import reading, writing
from modelwright.core.access import Act
from modelwright.core.errors import CorruptError
from modelwright.core.ledger import (
    GENESIS,
    LedgerEntry,
    LedgerVerdict,
    moment,
    next_entry,
    require_same_act,
    verify_chain,
)
from modelwright.core.package import canonical_json

_CHECKPOINT_ENTRIES = 1_000
_CHECKPOINT_SECONDS = 60.0
_PAGE = 1_000
_TABLE = schema.ledger


class SqlLedger:
    """Implements ``ports.store.Ledger``, and gives the other stores their transactions."""

    def __init__(self, engine: Engine, key: CheckpointKey, now: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._key = key
        self._now = now

    def append(
        self, action: str, subject: str, *, act: Act, evidence: Mapping[str, object] | None = None
    ) -> LedgerEntry:
        """Add an entry; the same ``act.key`` with the same action gives the first entry again.

        Raises:
            ConflictError: ``ledger.key-reused``: the key was used for another subject.
        """
        with self.acting() as connection:
            first = self.first(connection, action, subject, act)
            return first or self.record(connection, action, subject, act, evidence)

    def entries(self, *, subject: str | None = None, after: int = 0, limit: int | None = None) -> Iterator[LedgerEntry]:
        """Entries in order, read page by page, so that a slow reader holds no transaction open."""
        left = limit
        while left is None or left > 0:
            size = _PAGE if left is None else min(_PAGE, left)
            query = select(_TABLE).where(_TABLE.c.sequence > after).order_by(_TABLE.c.sequence).limit(size)
            if subject is not None:
                query = query.where(_TABLE.c.subject == subject)
            with reading(self._engine) as connection:
                page = [_entry(row) for row in connection.execute(query)]
            yield from page
            if len(page) < size:
                return
            after = page[-1].sequence
            left = None if left is None else left - len(page)

    def verify(self) -> LedgerVerdict:
        """Recompute the chain, compare it with every signed checkpoint, and sign where it stands now.

        The checkpoints of the database and of ``checkpoints.jsonl`` are both asked, so cutting off the end is found
        unless both were cut too.
        """
        # The file first: whatever it holds was committed before, so the snapshot below has it.
        kept = self._key.kept()
        with reading(self._engine) as connection:
            stored = [checkpoint_from(dict(row)) for row in connection.execute(select(schema.checkpoints)).mappings()]
            marks = [mark for mark in stored + kept if mark is not None]
            heads = dict.fromkeys((mark.entries for mark in marks), "")
            rows = connection.execution_options(yield_per=_PAGE).execute(select(_TABLE).order_by(_TABLE.c.sequence))
            verdict = verify_chain(_noting(rows, heads))
        verdict = self._against(marks, heads, verdict)
        if verdict.verified and None in stored + kept:
            where = "the database" if None in stored else "checkpoints.jsonl"
            return LedgerVerdict(False, verdict.entries, verdict.head, None, f"a checkpoint in {where} was damaged")
        if verdict.verified:
            self.checkpoint()
        return verdict

    def checkpoint(self) -> None:
        """Sign length and head, if the ledger grew since the last checkpoint."""
        with reading(self._engine) as connection:
            if _length(connection) <= _signed(connection)[0]:
                return
        with writing(self._engine) as connection:
            head = self._head(connection)
            # A ledger shorter than its last checkpoint was cut: verify says so, and nothing is signed over it.
            if head is None or head.sequence <= _signed(connection)[0]:
                return
            checkpoint = self._key.sign(head.sequence, head.hash, moment(self._now()))
            connection.execute(insert(schema.checkpoints).values(asdict(checkpoint)))
        self._key.keep(checkpoint)

    @contextmanager
    def acting(self) -> Iterator[Connection]:
        """A write transaction for one act; afterwards a checkpoint is signed when one is due."""
        with writing(self._engine) as connection:
            yield connection
            due = self._due(connection)
        if due:
            self.checkpoint()

    def first(
        self, connection: Connection, action: str, subject: str, act: Act, given: Mapping[str, object] | None = None
    ) -> LedgerEntry | None:
        """The entry that this act (same key, same action) made the first time, or None when it is new.

        Raises:
            ConflictError: ``ledger.key-reused``: the first time it was about something else.
        """
        if not act.key:
            return None
        query = select(_TABLE).where(_TABLE.c.key == act.key, _TABLE.c.action == action)
        row = connection.execute(query).first()
        if row is None:
            return None
        entry = _entry(row)
        require_same_act(entry, subject, given)
        return entry

    def record(
        self, connection: Connection, action: str, subject: str, act: Act, evidence: Mapping[str, object] | None
    ) -> LedgerEntry:
        """Write the entry of an act inside its transaction."""
        entry = next_entry(
            self._head(connection),
            at=moment(self._now()),
            action=action,
            subject=subject,
            act=act,
            evidence=evidence,
        )
        row = asdict(entry) | {"evidence": canonical_json(entry.evidence).decode(), "key": act.key}
        connection.execute(insert(_TABLE).values(row))
        return entry

    @staticmethod
    def _head(connection: Connection) -> LedgerEntry | None:
        row = connection.execute(select(_TABLE).order_by(_TABLE.c.sequence.desc()).limit(1)).first()
        if row is not None and not isinstance(row.sequence, int):
            raise _damaged()
        return None if row is None else _entry(row)

    def _due(self, connection: Connection) -> bool:
        length = _length(connection)
        entries, at = _signed(connection)
        if length <= entries:
            return False
        return length - entries >= _CHECKPOINT_ENTRIES or self._now() - at >= _CHECKPOINT_SECONDS

    def _against(self, marks: list[Checkpoint], heads: dict[int, str], verdict: LedgerVerdict) -> LedgerVerdict:
        """The chain's own verdict, or what the checkpoints say against it."""
        if not verdict.verified:
            return verdict
        public_key = self._key.public_key if marks else ""
        for mark in sorted(set(marks), key=lambda one: one.entries):
            bad, why = mark.entries, ""
            if not mark.holds(public_key):
                why = f"the signature of the checkpoint at {mark.entries} entries does not hold under ledger.key"
            elif mark.entries > verdict.entries:
                bad = verdict.entries + 1
                why = f"the end was cut off: a signed checkpoint counts {mark.entries} entries"
            elif heads[mark.entries] != mark.head:
                why = f"entries up to {mark.entries} were rewritten: the signed checkpoint has another head"
            if why:
                return LedgerVerdict(False, verdict.entries, verdict.head, bad, why)
        return verdict


def _length(connection: Connection) -> int:
    """Sequence number of the last entry; 0 when there is none, or when what is there is no number of ours."""
    length = connection.execute(select(func.max(_TABLE.c.sequence))).scalar()
    return length if isinstance(length, int) else 0


def _signed(connection: Connection) -> tuple[int, float]:
    """Length, and time in Unix seconds, of the newest checkpoint; (0, -inf) when there is none."""
    table = schema.checkpoints
    row = connection.execute(select(table.c.entries, table.c.at).order_by(table.c.entries.desc()).limit(1)).first()
    if row is None:
        return 0, -math.inf
    try:
        return int(row.entries), datetime.fromisoformat(row.at).timestamp()
    except (TypeError, ValueError):
        return sys.maxsize, 0.0  # damaged: verify says so, and nothing is signed over it


def _damaged() -> CorruptError:
    return CorruptError(
        "ledger.damaged",
        "The ledger was changed behind modelwright's back; nothing is added to it.",
        why="The number of its last entry is no number of ours.",
        fix="Run `modelwright ledger verify`, and restore the database from a backup.",
    )


def _noting(rows: Iterable[Row[Any]], heads: dict[int, str]) -> Iterator[LedgerEntry]:
    """Entries of the rows; the hash at each length that ``heads`` asks for is noted there."""
    heads.update({0: GENESIS} if 0 in heads else {})
    for row in rows:
        entry = _entry(row)
        if entry.sequence in heads:
            heads[entry.sequence] = entry.hash
        yield entry


def _entry(row: Row[Any]) -> LedgerEntry:
    """The entry of a row. A row that we cannot have written becomes an entry whose hash does not hold."""
    texts = [row.at, row.actor, row.action, row.subject, row.reason, row.previous, row.hash]
    try:
        evidence = json.loads(row.evidence)
        ours = (
            all(isinstance(text, str) for text in texts)
            and isinstance(evidence, dict)
            and canonical_json(evidence).decode() == row.evidence
            and evidence.get("idempotency_key", "") == row.key
        )
    except (TypeError, ValueError, RecursionError):
        ours = False
    if not ours:
        evidence = {"unreadable": repr(row.evidence)}
        texts = [text if isinstance(text, str) else repr(text) for text in texts]
    at, actor, action, subject, reason, previous, digest = texts
    return LedgerEntry(row.sequence, at, actor, action, subject, reason, evidence, previous, digest)
