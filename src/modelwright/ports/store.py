"""The registry's state: versions and aliases, the ledger, tokens, findings. One database, one transaction per act."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from modelwright.core.access import Act, Actor
from modelwright.core.finding import Order, WatchReport
from modelwright.core.ledger import LedgerEntry, LedgerVerdict
from modelwright.core.trust import TrustedKey
from modelwright.core.version import AliasMove, Lineage, Route, RoutingTable, TokenGrant, Version


class VersionStore(Protocol):
    """Immutable versions and movable aliases. Each change writes its ledger entry in the same transaction."""

    def register(
        self, model: str, digest: str, *, lineage: Lineage, verdict: Mapping[str, object], act: Act
    ) -> Version:
        """Add a version and number it (1, 2, 3, ... per model). The same ``act.key`` gives the same version again.

        Raises BadInputError (``register.bad-name``) unless the name matches ``^[a-z0-9][a-z0-9._-]{0,62}$``.
        """
        ...

    def versions(self, model: str) -> Sequence[Version]:
        """All versions, oldest first. Raises NotFoundError (``register.unknown-model``, with a suggestion)."""
        ...

    def version(self, model: str, reference: str) -> Version:
        """By number (``3``), alias (``champion``) or digest prefix of 8 characters or more.

        Raises NotFoundError (``register.unknown-model``, ``register.unknown-version``, with a suggestion).
        """
        ...

    def models(self) -> Sequence[str]:
        """Names of all models, sorted."""
        ...

    def set_alias(self, model: str, alias: str, to_version: str, *, act: Act, expected: str | None = None) -> AliasMove:
        """Move (or with an empty version remove) an alias; ``expected`` is the version it must point at now.

        Raises ConflictError (``register.alias-moved``) when it does not.
        """
        ...

    def alias(self, model: str, alias: str) -> str:
        """Version number the alias points at, or an empty string."""
        ...

    def aliases(self, model: str) -> Mapping[str, str]:
        """Alias name to version number."""
        ...

    def alias_history(self, model: str) -> Sequence[AliasMove]:
        """Every move of every alias of the model, oldest first."""
        ...


class RouteStore(Protocol):
    """What is deployed, as rows; the routing table is made from them."""

    def set_route(self, route: Route, *, act: Act, expected: Route | None = None) -> int:
        """Replace a model's route, write the ledger entry, and return the new epoch.

        ``expected`` is the route it must have now (one without arms and shadows: none yet); None demands nothing.
        Raises ConflictError (``deploy.route-moved``) when it has another.
        """
        ...

    def route(self, model: str) -> Route | None:
        """The model's route, or None when nothing of it is deployed."""
        ...

    def table(self) -> RoutingTable:
        """Routes and live tokens under the current epoch."""
        ...


class Ledger(Protocol):
    """Append-only, hash-chained."""

    def append(
        self, action: str, subject: str, *, act: Act, evidence: Mapping[str, object] | None = None
    ) -> LedgerEntry:
        """Add an entry; the same ``act.key`` with the same action gives the first entry again."""
        ...

    def entries(self, *, subject: str | None = None, after: int = 0, limit: int | None = None) -> Iterator[LedgerEntry]:
        """Entries in order."""
        ...

    def verify(self) -> LedgerVerdict:
        """Recompute the chain and check the signed checkpoints."""
        ...


class TokenStore(Protocol):
    """Tokens by their hash; the text is seen once."""

    def issue(self, subject: str, role: str, *, act: Act, ttl_seconds: float = 0.0, rate: float = 0.0) -> str:
        """Make a random 256-bit token (prefix ``mw_``) and return its text, which is not kept."""
        ...

    def revoke(self, subject: str, *, act: Act) -> int:
        """Revoke every token of a subject; returns how many."""
        ...

    def grants(self) -> Sequence[TokenGrant]:
        """Live grants."""
        ...

    def actor(self, token: str) -> Actor | None:
        """Whose token it is, or None."""
        ...


class FindingStore(Protocol):
    """Reports of watching and orders to renew."""

    def add_report(self, report: WatchReport, *, act: Act, follows: float | None = None) -> int:
        """Keep a report (and a ledger entry ``watch.report`` naming its findings); returns its id.

        ``follows`` is where the window of the model's newest report must end (:attr:`WatchReport.ends`): where another
        one was kept meanwhile, nothing is, and the id is 0. None demands nothing.
        """
        ...

    def reports(self, model: str, *, limit: int = 100) -> Sequence[WatchReport]:
        """Newest first."""
        ...

    def add_order(self, order: Order, *, act: Act) -> bool:
        """Keep an order; False when its key is already there."""
        ...

    def orders(self, model: str) -> Sequence[Order]:
        """Newest first."""
        ...


class TrustStore(Protocol):
    """Which keys sign for what, and the signatures of packages. Each change counts the routing table's epoch."""

    def trust(self, key: TrustedKey, *, act: Act) -> TrustedKey:
        """Trust a key, or a known one otherwise than before.

        Raises BadInputError (``keys.bad-trust``), ConflictError (``keys.revoked``).
        """
        ...

    def revoke(self, reference: str, *, act: Act) -> TrustedKey:
        """Trust a key no more: by id, a prefix of it, or name. Raises NotFoundError (``keys.unknown``)."""
        ...

    def keys(self) -> Sequence[TrustedKey]:
        """Every key that is or was trusted, oldest first."""
        ...

    def attach(self, model: str, digest: str, bundle: str, *, key_id: str, act: Act) -> None:
        """Keep that a blob is a signature of a package."""
        ...

    def bundles(self, digest: str) -> Sequence[str]:
        """Digests of the blobs that are signatures of a package, oldest first."""
        ...
