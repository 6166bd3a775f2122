"""Trusted keys in memory: a fake of ``ports.store.TrustStore``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from modelwright.core.access import Act
from modelwright.core.ledger import LedgerEntry, moment
from modelwright.core.registry import on_routes
from modelwright.core.trust import TrustedKey, find_key, require_trustable, revoked, trust_evidence
from modelwright.core.version import RoutingTable, SignatureRef


class ActLedger(Protocol):
    """What this store needs of the ledger in memory."""

    lock: threading.RLock
    now: Callable[[], float]

    def first(
        self, action: str, subject: str, act: Act, given: Mapping[str, object] | None = None
    ) -> LedgerEntry | None:
        """The entry of the first time."""
        ...

    def record(self, action: str, subject: str, act: Act, evidence: Mapping[str, object] | None) -> LedgerEntry:
        """Add an entry."""
        ...


class InMemoryTrust:
    """Implements ``ports.store.TrustStore``; ``next_epoch`` counts a change of the routing table."""

    def __init__(self, ledger: ActLedger, next_epoch: Callable[[], int]) -> None:
        self._ledger = ledger
        self._next_epoch = next_epoch
        self._keys: dict[str, TrustedKey] = {}
        self.signatures: list[SignatureRef] = []

    def trust(self, key: TrustedKey, *, act: Act) -> TrustedKey:
        """Trust a key, or a known one otherwise than before."""
        with self._ledger.lock:
            known = self._keys.get(key.key_id)
            if self._ledger.first("sign.trust-key", key.key_id, act) is not None and known is not None:
                return known
            require_trustable(key, known)
            evidence = trust_evidence(key) | {"epoch": self._next_epoch()}
            at = self._ledger.record("sign.trust-key", key.key_id, act, evidence).at
            self._keys[key.key_id] = replace(key, added_at=at, added_by=act.actor, revoked_at="", revoked_why="")
            return self._keys[key.key_id]

    def revoke(self, reference: str, *, act: Act) -> TrustedKey:
        """Trust a key no more."""
        with self._ledger.lock:
            key = find_key(list(self._keys.values()), reference)
            if not key.revoked_at:
                evidence = trust_evidence(key) | {"epoch": self._next_epoch()}
                self._ledger.record("sign.revoke-key", key.key_id, act, evidence)
                self._keys[key.key_id] = revoked(key, moment(self._ledger.now()), act.reason)
            return self._keys[key.key_id]

    def keys(self) -> Sequence[TrustedKey]:
        """Every key that is or was trusted."""
        return sorted(self._keys.values(), key=lambda key: (key.added_at, key.key_id))

    def attach(self, model: str, digest: str, bundle: str, *, key_id: str, act: Act) -> None:
        """Keep that a blob is a signature of a package."""
        with self._ledger.lock:
            if SignatureRef(digest, bundle) not in self.signatures:
                evidence = {"digest": digest, "bundle": bundle, "key_id": key_id, "epoch": self._next_epoch()}
                self._ledger.record("sign.attach", model, act, evidence)
                self.signatures.append(SignatureRef(digest, bundle))

    def on_table(self, table: RoutingTable) -> RoutingTable:
        """The table with the keys, and the signatures of what is on its routes."""
        signatures = on_routes(table.routes.values(), self.signatures)
        return replace(table, trusted=tuple(self.keys()), signatures=signatures)

    def bundles(self, digest: str) -> Sequence[str]:
        """Digests of the blobs that are signatures of a package."""
        return [one.bundle for one in self.signatures if one.digest == digest]
