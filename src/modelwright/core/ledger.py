"""The ledger's entry and its hash chain: ``hash = SHA-256(previous hash || canonical JSON of the entry)``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from modelwright.core.access import Act
from modelwright.core.errors import ConflictError
from modelwright.core.package import canonical_json
from modelwright.core.record_codec import to_json

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One act. ``action`` is ``stage.verb`` (``deploy.promote``); ``subject`` is the model or thing."""

    sequence: int
    at: str
    actor: str
    action: str
    subject: str
    reason: str
    evidence: dict[str, object] = field(default_factory=dict)
    previous: str = GENESIS
    hash: str = ""

    def computed_hash(self) -> str:
        """The hash this entry must carry."""
        body = {
            "sequence": self.sequence,
            "at": self.at,
            "actor": self.actor,
            "action": self.action,
            "subject": self.subject,
            "reason": self.reason,
            "evidence": self.evidence,
        }
        return hashlib.sha256(self.previous.encode() + canonical_json(body)).hexdigest()


@dataclass(frozen=True, slots=True)
class LedgerVerdict:
    """Result of verifying a chain; ``first_bad`` is the sequence number of the first entry that does not hold."""

    verified: bool
    entries: int
    head: str
    first_bad: int | None = None
    why: str = ""


def verify_chain(entries: Iterable[LedgerEntry]) -> LedgerVerdict:
    """Recompute every link: sequence numbers 1, 2, 3, ..., the previous hash, the entry's own hash."""
    previous, count = GENESIS, 0
    for entry in entries:
        count += 1
        if entry.sequence != count:
            return LedgerVerdict(False, count, previous, count, f"entry {count} is missing or out of order")
        if entry.previous != previous:
            return LedgerVerdict(False, count, previous, count, "the link to the entry before is broken")
        if entry.hash != entry.computed_hash():
            return LedgerVerdict(False, count, previous, count, "the entry was edited")
        previous = entry.hash
    return LedgerVerdict(True, count, previous)


def moment(seconds: float) -> str:
    """Unix seconds as ISO 8601 in UTC, to the microsecond: ``2026-11-20T23:05:00.000000Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def next_entry(
    head: LedgerEntry | None, *, at: str, action: str, subject: str, act: Act, evidence: Mapping[str, object] | None
) -> LedgerEntry:
    """The entry that follows ``head`` (None at the start of a chain).

    The act's idempotency key, where there is one, goes into the evidence as ``idempotency_key``, so that the chain
    covers it.
    """
    held: dict[str, object] = to_json(evidence or {})
    if act.key:
        held["idempotency_key"] = act.key
    entry = LedgerEntry(
        sequence=head.sequence + 1 if head else 1,
        at=at,
        actor=act.actor,
        action=action,
        subject=subject,
        reason=act.reason,
        evidence=held,
        previous=head.hash if head else GENESIS,
    )
    return replace(entry, hash=entry.computed_hash())


def require_same_act(first: LedgerEntry, subject: str, given: Mapping[str, object] | None = None) -> None:
    """Check that a repeated idempotency key is about the same thing as the first time.

    Args:
        first: the entry of the first time.
        subject: what the act is about now.
        given: evidence that must be equal both times.

    Raises:
        ConflictError: ``ledger.key-reused``.
    """
    differs = any(first.evidence.get(key) != to_json(value) for key, value in (given or {}).items())
    if first.subject != subject or differs:
        raise ConflictError(
            "ledger.key-reused",
            f"The idempotency key of this {first.action} was already used for {first.subject!r}.",
            why="A key names one act; this one is about something else.",
            fix="Use a new key for a new act.",
            details={"sequence": first.sequence},
        )
