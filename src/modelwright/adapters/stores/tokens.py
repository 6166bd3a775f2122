"""Access tokens in the database, as hashes."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Sequence

from sqlalchemy import ColumnElement, Connection, Engine, and_, insert, or_, select, update

from modelwright.adapters.stores import schema
from modelwright.adapters.stores.epoch import next_epoch
from modelwright.adapters.stores.ledger import SqlLedger
from modelwright.adapters.stores.transactions import reading
from modelwright.core.access import Act, Actor, require_role
from modelwright.core.ledger import moment
from modelwright.core.registry import already_issued, require_grant
from modelwright.core.version import TokenGrant

_TOKENS = schema.tokens


class SqlTokens:
    """Implements ``ports.store.TokenStore``."""

    def __init__(self, engine: Engine, ledger: SqlLedger, now: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._ledger = ledger
        self._now = now

    def issue(self, subject: str, role: str, *, act: Act, ttl_seconds: float = 0.0, rate: float = 0.0) -> str:
        """Make a random 256-bit token (prefix ``mw_``) and return its text, which is not kept.

        Args:
            subject: whose token it is.
            role: one of ``core.access.ROLES``.
            act: who issues it and why.
            ttl_seconds: seconds it is good for; 0 = until it is revoked.
            rate: requests per second it is good for on the data plane; 0 = any number.

        Raises:
            BadInputError: ``tokens.unknown-role``, ``tokens.bad-subject``, ``tokens.bad-ttl``,
                ``tokens.bad-rate``.
            ConflictError: ``tokens.already-issued``: the key issued a token whose text cannot be given again.
        """
        require_role(role)
        require_grant(subject, ttl_seconds, rate)
        action = "govern.issue-token"
        text = f"mw_{secrets.token_urlsafe(32)}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        with self._ledger.acting() as connection:
            if self._ledger.first(connection, action, subject, act) is not None:
                raise already_issued(subject)
            expires_at = self._now() + ttl_seconds if ttl_seconds else 0.0
            evidence = {
                "role": role,
                "expires_at": expires_at,
                "rate": rate,
                "token_sha256": digest,
                "epoch": next_epoch(connection),
            }
            entry = self._ledger.record(connection, action, subject, act, evidence)
            row = {
                "token_sha256": digest,
                "subject": subject,
                "role": role,
                "expires_at": expires_at,
                "rate": rate,
                "issued_at": entry.at,
                "revoked_at": "",
            }
            connection.execute(insert(_TOKENS).values(row))
        return text

    def revoke(self, subject: str, *, act: Act) -> int:
        """Revoke every token of a subject; returns how many were live. None live changes and writes nothing."""
        action = "govern.revoke-tokens"
        with self._ledger.acting() as connection:
            first = self._ledger.first(connection, action, subject, act)
            if first is not None:
                return int(str(first.evidence["revoked"]))
            change = (
                update(_TOKENS)
                .where(_TOKENS.c.subject == subject, _live(self._now()))
                .values(revoked_at=moment(self._now()))
            )
            revoked = connection.execute(change).rowcount
            if revoked:
                evidence = {"revoked": revoked, "epoch": next_epoch(connection)}
                self._ledger.record(connection, action, subject, act, evidence)
            return revoked

    def grants(self) -> Sequence[TokenGrant]:
        """Live grants: not revoked, not expired."""
        with reading(self._engine) as connection:
            return live_grants(connection, self._now())

    def actor(self, token: str) -> Actor | None:
        """Whose token it is, or None."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        query = select(_TOKENS).where(_TOKENS.c.token_sha256 == digest, _live(self._now()))
        with reading(self._engine) as connection:
            row = connection.execute(query).first()
        return None if row is None else Actor(row.subject, row.role)


def live_grants(connection: Connection, now: float) -> tuple[TokenGrant, ...]:
    """Grants that are neither revoked nor expired at ``now`` (Unix seconds), oldest first."""
    query = select(_TOKENS).where(_live(now)).order_by(_TOKENS.c.issued_at, _TOKENS.c.token_sha256)
    return tuple(
        TokenGrant(row.token_sha256, row.subject, row.role, row.expires_at, row.rate)
        for row in connection.execute(query)
    )


def _live(now: float) -> ColumnElement[bool]:
    return and_(_TOKENS.c.revoked_at == "", or_(_TOKENS.c.expires_at == 0, _TOKENS.c.expires_at > now))
