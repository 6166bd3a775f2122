"""Versions, aliases and what is deployed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from modelwright.core.trust import TrustedKey

Role = Literal["champion", "canary", "shadow", "pinned", "node"]
"""In what part a version answered; ``node`` is a part of a graph, on record beside the graph's own answer."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a version came from: digests and names, never paths that only one machine knows."""

    data_digest: str = ""
    code_revision: str = ""
    environment_digest: str = ""
    parent_version: str = ""
    order: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """An immutable version of a model. ``number`` is a decimal string, the wire's ``model_version``."""

    model: str
    number: str
    digest: str
    created_at: str
    created_by: str
    lineage: Lineage
    verdict: dict[str, object]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AliasMove:
    """One line of an alias's history; ``to_version`` empty means removed."""

    model: str
    alias: str
    from_version: str
    to_version: str
    at: str
    by: str
    why: str


@dataclass(frozen=True, slots=True)
class Arm:
    """A version that gets requests. Weights of the arms of a route add up to 1; a shadow's weight is 0."""

    version: str
    digest: str
    weight: float
    role: Role


@dataclass(frozen=True, slots=True)
class Route:
    """Where a model's requests go: ``arms`` answer, ``shadows`` see the same rows and are only recorded.

    ``signed`` are the roles whose versions a gateway loads only with a signature by a trusted key.
    """

    model: str
    arms: tuple[Arm, ...]
    shadows: tuple[Arm, ...] = ()
    signed: tuple[Role, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """A token the gateway accepts, by the hex SHA-256 of its text.

    ``expires_at`` is Unix seconds, 0 = never; ``rate`` the requests per second it is good for, 0 = any number.
    """

    token_sha256: str
    subject: str
    role: str
    expires_at: float = 0.0
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class SignatureRef:
    """Digest of a package, and digest of the blob that holds a signature of it."""

    digest: str
    bundle: str


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """Everything a gateway needs to know, published atomically; a larger ``epoch`` replaces a smaller one.

    ``trusted`` are all keys known, revoked ones too; ``signatures`` those of the packages on the routes.
    """

    epoch: int
    routes: dict[str, Route] = field(default_factory=dict)
    tokens: tuple[TokenGrant, ...] = ()
    authenticate: bool = True
    trusted: tuple[TrustedKey, ...] = ()
    signatures: tuple[SignatureRef, ...] = ()
