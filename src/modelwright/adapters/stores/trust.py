"""Trusted keys and the signatures of packages, in the database."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, insert, select

from modelwright.adapters.stores import schema
from modelwright.adapters.stores.epoch import next_epoch
from modelwright.adapters.stores.ledger import SqlLedger
from modelwright.adapters.stores.transactions import reading
from modelwright.core.access import Act
from modelwright.core.ledger import moment
from modelwright.core.trust import TrustedKey, find_key, require_trustable, revoked, trust_evidence
from modelwright.core.version import SignatureRef

_KEYS, _SIGNATURES = schema.trusted_keys, schema.signatures


class SqlTrust:
    """Implements ``ports.store.TrustStore``."""

    def __init__(self, engine: Engine, ledger: SqlLedger, now: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._ledger = ledger
        self._now = now

    def trust(self, key: TrustedKey, *, act: Act) -> TrustedKey:
        """Trust a key, or trust a known one for other models or another time; the key as it is kept.

        Raises:
            BadInputError: ``keys.bad-trust``.
            ConflictError: ``keys.revoked``, ``ledger.key-reused``.
        """
        action = "sign.trust-key"
        with self._ledger.acting() as connection:
            known = next((one for one in trusted(connection) if one.key_id == key.key_id), None)
            if self._ledger.first(connection, action, key.key_id, act) is not None and known is not None:
                return known
            require_trustable(key, known)
            entry = self._ledger.record(
                connection, action, key.key_id, act, trust_evidence(key) | {"epoch": next_epoch(connection)}
            )
            held = replace(key, added_at=entry.at, added_by=act.actor, revoked_at="", revoked_why="")
            _keep(connection, held)
            return held

    def revoke(self, reference: str, *, act: Act) -> TrustedKey:
        """Trust a key no more: by id, a prefix of it, or name. Revoking it again changes nothing.

        Raises:
            NotFoundError: ``keys.unknown``.
            BadInputError: ``keys.ambiguous``.
        """
        with self._ledger.acting() as connection:
            key = find_key(trusted(connection), reference)
            if key.revoked_at:
                return key
            evidence = trust_evidence(key) | {"epoch": next_epoch(connection)}
            self._ledger.record(connection, "sign.revoke-key", key.key_id, act, evidence)
            held = revoked(key, moment(self._now()), act.reason)
            _keep(connection, held)
            return held

    def keys(self) -> Sequence[TrustedKey]:
        """Every key that is or was trusted, oldest first."""
        with reading(self._engine) as connection:
            return trusted(connection)

    def attach(self, model: str, digest: str, bundle: str, *, key_id: str, act: Act) -> None:
        """Keep that a blob is a signature of a package; keeping it again changes nothing."""
        with self._ledger.acting() as connection:
            if SignatureRef(digest, bundle) in signatures(connection, digest):
                return
            evidence = {"digest": digest, "bundle": bundle, "key_id": key_id, "epoch": next_epoch(connection)}
            entry = self._ledger.record(connection, "sign.attach", model, act, evidence)
            row = {"digest": digest, "bundle": bundle, "sequence": entry.sequence}
            connection.execute(insert(_SIGNATURES).values(row))

    def bundles(self, digest: str) -> Sequence[str]:
        """Digests of the blobs that are signatures of a package, oldest first."""
        with reading(self._engine) as connection:
            return [one.bundle for one in signatures(connection, digest)]


def trusted(connection: Connection) -> list[TrustedKey]:
    """Every key, oldest first."""
    rows = connection.execute(select(_KEYS).order_by(_KEYS.c.added_at, _KEYS.c.key_id))
    return [_key(row) for row in rows]


def signatures(connection: Connection, digest: str = "") -> list[SignatureRef]:
    """Every signature, or those of one package; oldest first."""
    query = select(_SIGNATURES).order_by(_SIGNATURES.c.sequence)
    rows = connection.execute(query.where(_SIGNATURES.c.digest == digest) if digest else query)
    return [SignatureRef(row.digest, row.bundle) for row in rows]


def _keep(connection: Connection, key: TrustedKey) -> None:
    connection.execute(delete(_KEYS).where(_KEYS.c.key_id == key.key_id))
    connection.execute(insert(_KEYS).values(asdict(key) | {"models": json.dumps(key.models)}))


def _key(row: Row[Any]) -> TrustedKey:
    return TrustedKey(**(dict(row._mapping) | {"models": tuple(json.loads(row.models))}))  # noqa: SLF001 - SQLAlchemy's public name
