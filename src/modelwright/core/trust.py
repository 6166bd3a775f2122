"""Who may sign: trusted public keys, and what is known of the signature of a package."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

from modelwright.core.errors import (
    BadInputError,
    ConflictError,
    CorruptError,
    ModelwrightError,
    NotFoundError,
    RefusedError,
)
from modelwright.core.names import suggest

SigningState = Literal[
    "trusted", "unsigned", "unknown-key", "expired-key", "revoked-key", "other-model", "invalid", "unchecked"
]
"""``unchecked``: the signature fits the package, and nobody said which keys are trusted."""


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key that may sign packages.

    ``key_id`` is the hex SHA-256 of ``public_key`` (PEM); ``models`` are the names, or patterns with ``*``, that it
    signs for; ``expires_at`` is Unix seconds, 0 = never; ``revoked_at`` is empty while it is trusted.
    """

    key_id: str
    public_key: str
    name: str
    models: tuple[str, ...] = ("*",)
    expires_at: float = 0.0
    added_at: str = ""
    added_by: str = ""
    revoked_at: str = ""
    revoked_why: str = ""

    def signs_for(self, model: str) -> bool:
        """True when the key may sign packages of that model."""
        return any(fnmatchcase(model, pattern) for pattern in self.models)

    def state(self, model: str, now: float) -> SigningState:
        """What a signature by this key is worth for a model at ``now`` (Unix seconds)."""
        if self.revoked_at:
            return "revoked-key"
        if self.expires_at and self.expires_at <= now:
            return "expired-key"
        return "trusted" if self.signs_for(model) else "other-model"


@dataclass(frozen=True, slots=True)
class Signed:
    """What is known of a package's signature; ``key_id`` is the one that the signature names, ``signer`` its name."""

    state: SigningState
    key_id: str = ""
    signer: str = ""
    why: str = ""

    @property
    def trusted(self) -> bool:
        """True when a trusted key signed this package."""
        return self.state == "trusted"

    @property
    def words(self) -> str:
        """For a person, in a line."""
        who = self.signer or (f"key {self.key_id[:16]}" if self.key_id else "")
        return {
            "trusted": f"signed by {who}",
            "unchecked": f"signed by {who}, which nothing here says to trust",
            "unsigned": "not signed",
            "unknown-key": f"signed by {who}, which is not trusted here",
            "expired-key": f"signed by {who}, whose trust has expired",
            "revoked-key": f"signed by {who}, whose trust was revoked",
            "other-model": f"signed by {who}, who does not sign for this model",
            "invalid": "the signature does not hold",
        }[self.state]


def require_trusted(signed: Signed, what: str) -> None:
    """Say nothing when a trusted key signed.

    Args:
        signed: what is known of the signature.
        what: whose it is, as the subject of a sentence.

    Raises:
        CorruptError: ``sign.invalid``.
        RefusedError: ``sign.unsigned``, ``sign.unknown-key``, ``sign.expired-key``, ``sign.revoked-key``,
            ``sign.other-model``.
    """
    if not signed.trusted:
        raise refusal(signed, what)


def refusal(signed: Signed, what: str) -> ModelwrightError:
    """The error of a package that is not signed by a trusted key."""
    details = {"state": signed.state, "key_id": signed.key_id, "signer": signed.signer}
    who = signed.signer or f"Key {signed.key_id[:16]}"
    if signed.state == "invalid":
        return invalid(what, signed.why)
    if signed.state == "expired-key":
        return RefusedError(
            "sign.expired-key",
            f"{what} is signed by a key whose trust has expired.",
            why=f"{who} was trusted until a date that is past.",
            fix="Sign it with a key that is trusted now, or trust this one anew: modelwright keys trust FILE.",
            details=details,
        )
    if signed.state == "revoked-key":
        return RefusedError(
            "sign.revoked-key",
            f"{what} is signed by a key that was revoked.",
            why=signed.why or f"{who} is trusted no more.",
            fix="Check the package, and sign it with a key that is trusted: modelwright sign.",
            details=details,
        )
    if signed.state == "other-model":
        return RefusedError(
            "sign.other-model",
            f"{what} is signed by a key that does not sign for this model.",
            why=signed.why or f"{who} is trusted for other models.",
            fix="Sign it with a key of this model, or trust this one for it: modelwright keys trust FILE --model NAME.",
            details=details,
        )
    if signed.state == "unsigned":
        return RefusedError(
            "sign.unsigned",
            f"{what} is not signed.",
            why="The policy asks for a signature by a trusted key.",
            fix="modelwright sign PACKAGE --key FILE; a registered version: modelwright sign MODEL VERSION --key FILE.",
            details=details,
        )
    return RefusedError(
        "sign.unknown-key",
        f"{what} is signed by a key that is not trusted here.",
        why=f"No trusted key has the id {signed.key_id[:16] or '(none)'}.",
        fix="If you know the signer: modelwright keys trust FILE --name WHO. Whom you trust: modelwright keys list.",
        details=details,
    )


def invalid(what: str, why: str) -> CorruptError:
    """The error of a signature that does not hold."""
    return CorruptError(
        "sign.invalid",
        f"{what} carries a signature that does not hold.",
        why=why,
        fix="Do not use it. Get the package again from whoever signed it.",
    )


def require_trustable(key: TrustedKey, known: TrustedKey | None) -> None:
    """Check that a key may be trusted, or trusted otherwise than it is (``known``).

    Raises:
        BadInputError: ``keys.bad-trust``.
        ConflictError: ``keys.revoked``.
    """
    if not key.name or len(key.name) > 200 or not key.name.isprintable():
        raise BadInputError("keys.bad-trust", "A trusted key needs a name.", fix="Say whose it is: --name.")
    if not key.models or not all(pattern and len(pattern) <= 64 for pattern in key.models):
        raise BadInputError("keys.bad-trust", "A key is trusted for models: names, or patterns with *.")
    if known is not None and known.revoked_at:
        raise ConflictError(
            "keys.revoked",
            f"The key of {known.name} was revoked and stays so.",
            why="What it signed after it was lost cannot be told from what it signed before.",
            fix="Make a new key: modelwright keys new.",
        )


def find_key(keys: list[TrustedKey], reference: str) -> TrustedKey:
    """The key of that id, of a prefix of it of 8 characters or more, or of that name.

    Raises:
        NotFoundError: ``keys.unknown``.
        BadInputError: ``keys.ambiguous``.
    """
    found = [key for key in keys if key.name == reference and not key.revoked_at]
    if not found:
        by_id = len(reference) >= 8
        found = [key for key in keys if by_id and key.key_id.startswith(reference)]
    if len(found) > 1:
        raise BadInputError("keys.ambiguous", f"{reference!r} fits several keys.", fix="Give the key id.")
    if not found:
        raise NotFoundError(
            "keys.unknown", f"No key {reference[:80]!r} is known here.", fix=suggest(reference, [k.name for k in keys])
        )
    return found[0]


def trust_evidence(key: TrustedKey) -> dict[str, object]:
    """What the ledger says of a key that is trusted or revoked."""
    return {"name": key.name, "models": list(key.models), "expires_at": key.expires_at}


def revoked(key: TrustedKey, at: str, why: str) -> TrustedKey:
    """The key, trusted no more."""
    return replace(key, revoked_at=at, revoked_why=why)
