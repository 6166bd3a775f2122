"""The registry in memory: a fake of every port of ``ports.store``, forgotten with the process."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from modelwright.core.access import Act, Actor, require_role
from modelwright.core.finding import Order, WatchReport
from modelwright.core.ledger import LedgerEntry, LedgerVerdict, moment, next_entry, require_same_act, verify_chain
from modelwright.core.names import require_model_name
from modelwright.core.package import canonical_json
from modelwright.core.record_codec import to_json
from modelwright.core.registry import (
    already_issued,
    report_evidence,
    require_grant,
    require_move,
    require_route,
    resolve,
    unknown_model,
)
from modelwright.core.version import AliasMove, Lineage, Route, RoutingTable, TokenGrant, Version
from modelwright.testing.trust import InMemoryTrust


class InMemoryLedger:
    """Implements ``ports.store.Ledger``; ``lock`` makes one act of the other stores whole."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.now = now
        self.lock = threading.RLock()
        self._entries: list[LedgerEntry] = []
        self._first: dict[tuple[str, str], LedgerEntry] = {}

    def append(
        self, action: str, subject: str, *, act: Act, evidence: Mapping[str, object] | None = None
    ) -> LedgerEntry:
        """Add an entry; the same ``act.key`` with the same action gives the first entry again."""
        with self.lock:
            return self.first(action, subject, act) or self.record(action, subject, act, evidence)

    def entries(self, *, subject: str | None = None, after: int = 0, limit: int | None = None) -> Iterator[LedgerEntry]:
        """Entries in order."""
        found = [each for each in self._entries if each.sequence > after and subject in {None, each.subject}]
        return iter(found[:limit])

    def verify(self) -> LedgerVerdict:
        """Recompute the chain; memory has no checkpoints."""
        return verify_chain(list(self._entries))

    def first(
        self, action: str, subject: str, act: Act, given: Mapping[str, object] | None = None
    ) -> LedgerEntry | None:
        """The entry of the first time, or None when the act is new. Raises ConflictError (``ledger.key-reused``)."""
        entry = self._first.get((act.key, action))
        if entry is not None:
            require_same_act(entry, subject, given)
        return entry

    def record(self, action: str, subject: str, act: Act, evidence: Mapping[str, object] | None) -> LedgerEntry:
        """Add the entry of a new act."""
        head = self._entries[-1] if self._entries else None
        at = moment(self.now())
        entry = next_entry(head, at=at, action=action, subject=subject, act=act, evidence=evidence)
        self._entries.append(entry)
        if act.key:
            self._first[act.key, action] = entry
        return entry


class InMemoryVersions:
    """Implements ``ports.store.VersionStore``."""

    def __init__(self, ledger: InMemoryLedger) -> None:
        self._ledger = ledger
        self._versions: dict[str, list[Version]] = {}
        self._aliases: dict[str, dict[str, str]] = {}
        self._moves: dict[int, AliasMove] = {}

    def register(
        self, model: str, digest: str, *, lineage: Lineage, verdict: Mapping[str, object], act: Act
    ) -> Version:
        """Add a version and number it; the same ``act.key`` gives the same version again."""
        require_model_name(model)
        with self._ledger.lock:
            first = self._ledger.first("register.add", model, act, {"digest": digest})
            if first is not None:
                return self.version(model, str(first.evidence["version"]))
            number = str(len(self._versions.get(model, [])) + 1)
            held = canonical_json(to_json(verdict))
            sha256 = hashlib.sha256(held).hexdigest()
            evidence = {
                "version": number,
                "digest": digest,
                "lineage": to_json(lineage),
                "verdict_sha256": sha256,
            }
            at = self._ledger.record("register.add", model, act, evidence).at
            version = Version(model, number, digest, at, act.actor, lineage, json.loads(held), act.reason)
            self._versions.setdefault(model, []).append(version)
            return version

    def versions(self, model: str) -> Sequence[Version]:
        """All versions, oldest first. Raises NotFoundError (``register.unknown-model``)."""
        if model not in self._versions:
            raise unknown_model(model, self._versions)
        return list(self._versions[model])

    def version(self, model: str, reference: str) -> Version:
        """By number, alias or digest prefix of 8 characters or more."""
        return resolve(model, reference, self.versions(model), self.aliases(model))

    def models(self) -> Sequence[str]:
        """Names of all models, sorted."""
        return sorted(self._versions)

    def set_alias(self, model: str, alias: str, to_version: str, *, act: Act, expected: str | None = None) -> AliasMove:
        """Move (or with an empty version remove) an alias, if it points at ``expected``."""
        with self._ledger.lock:
            first = self._ledger.first("register.move-alias", model, act, {"alias": alias})
            if first is not None:
                return self._moves[first.sequence]
            numbers = [version.number for version in self.versions(model)]
            aliases = self._aliases.setdefault(model, {})
            now_at = require_move(model, alias, to_version, expected=expected, numbers=numbers, aliases=aliases)
            evidence = {"alias": alias, "from_version": now_at, "to_version": to_version}
            entry = self._ledger.record("register.move-alias", model, act, evidence)
            aliases.pop(alias, None)
            aliases.update({alias: to_version} if to_version else {})
            move = AliasMove(model, alias, now_at, to_version, entry.at, act.actor, act.reason)
            self._moves[entry.sequence] = move
            return move

    def alias(self, model: str, alias: str) -> str:
        """Version number the alias points at, or an empty string."""
        return self.aliases(model).get(alias, "")

    def aliases(self, model: str) -> Mapping[str, str]:
        """Alias name to version number."""
        return dict(sorted(self._aliases.get(model, {}).items()))

    def alias_history(self, model: str) -> Sequence[AliasMove]:
        """Every move of every alias of the model, oldest first."""
        return [move for move in self._moves.values() if move.model == model]


class InMemoryRoutes:
    """Implements ``ports.store.RouteStore``; counts the epoch for the tokens too."""

    def __init__(self, ledger: InMemoryLedger) -> None:
        self._ledger = ledger
        self._routes: dict[str, Route] = {}
        self._epoch = 0
        self.tokens = InMemoryTokens(ledger, self.next_epoch)
        self.trust = InMemoryTrust(ledger, self.next_epoch)

    def next_epoch(self) -> int:
        """Count a change."""
        self._epoch += 1
        return self._epoch

    def set_route(self, route: Route, *, act: Act, expected: Route | None = None) -> int:
        """Replace a model's route and return the new epoch; the same ``act.key`` gives the first epoch again."""
        require_model_name(route.model)
        with self._ledger.lock:
            first = self._ledger.first("deploy.set-route", route.model, act)
            if first is not None:
                return int(str(first.evidence["epoch"]))
            require_route(self._routes.get(route.model), expected, route.model)
            epoch = self.next_epoch()
            self._ledger.record("deploy.set-route", route.model, act, {"route": to_json(route), "epoch": epoch})
            self._routes[route.model] = route
            return epoch

    def route(self, model: str) -> Route | None:
        """The model's route, or None."""
        return self._routes.get(model)

    def table(self) -> RoutingTable:
        """Routes and live tokens under the current epoch."""
        with self._ledger.lock:
            table = RoutingTable(self._epoch, dict(sorted(self._routes.items())), tuple(self.tokens.grants()))
            return self.trust.on_table(table)


class InMemoryTokens:
    """Implements ``ports.store.TokenStore``; ``next_epoch`` counts a change of the routing table."""

    def __init__(self, ledger: InMemoryLedger, next_epoch: Callable[[], int]) -> None:
        self._ledger = ledger
        self._next_epoch = next_epoch
        self._grants: dict[str, TokenGrant] = {}

    def issue(self, subject: str, role: str, *, act: Act, ttl_seconds: float = 0.0, rate: float = 0.0) -> str:
        """Make a random token and return its text, which is not kept."""
        require_role(role)
        require_grant(subject, ttl_seconds, rate)
        text = f"mw_{secrets.token_urlsafe(32)}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        with self._ledger.lock:
            if self._ledger.first("govern.issue-token", subject, act) is not None:
                raise already_issued(subject)
            expires_at = self._ledger.now() + ttl_seconds if ttl_seconds else 0.0
            evidence = {
                "role": role,
                "expires_at": expires_at,
                "rate": rate,
                "token_sha256": digest,
                "epoch": self._next_epoch(),
            }
            self._ledger.record("govern.issue-token", subject, act, evidence)
            self._grants[digest] = TokenGrant(digest, subject, role, expires_at, rate)
        return text

    def revoke(self, subject: str, *, act: Act) -> int:
        """Revoke every live token of a subject; returns how many."""
        with self._ledger.lock:
            first = self._ledger.first("govern.revoke-tokens", subject, act)
            if first is not None:
                return int(str(first.evidence["revoked"]))
            live = [grant.token_sha256 for grant in self.grants() if grant.subject == subject]
            if live:
                evidence = {"revoked": len(live), "epoch": self._next_epoch()}
                self._ledger.record("govern.revoke-tokens", subject, act, evidence)
            for digest in live:
                del self._grants[digest]
            return len(live)

    def grants(self) -> Sequence[TokenGrant]:
        """Live grants."""
        now = self._ledger.now()
        return [grant for grant in self._grants.values() if not grant.expires_at or grant.expires_at > now]

    def actor(self, token: str) -> Actor | None:
        """Whose token it is, or None."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        found = [grant for grant in self.grants() if grant.token_sha256 == digest]
        return Actor(found[0].subject, found[0].role) if found else None


class InMemoryFindings:
    """Implements ``ports.store.FindingStore``."""

    def __init__(self, ledger: InMemoryLedger) -> None:
        self._ledger = ledger
        self._reports: dict[int, WatchReport] = {}
        self._orders: dict[str, Order] = {}

    def add_report(self, report: WatchReport, *, act: Act, follows: float | None = None) -> int:
        """Keep a report and its ledger entry; returns its id, 0 where it does not follow the newest one."""
        with self._ledger.lock:
            first = self._ledger.first("watch.report", report.model, act)
            if first is not None:
                return first.sequence
            newest = next(iter(self.reports(report.model, limit=1)), None)
            if follows is not None and follows != (newest.ends if newest else 0.0):
                return 0
            sequence = self._ledger.record("watch.report", report.model, act, report_evidence(report)).sequence
            self._reports[sequence] = report
            return sequence

    def reports(self, model: str, *, limit: int = 100) -> Sequence[WatchReport]:
        """Newest first."""
        return [report for report in reversed(self._reports.values()) if report.model == model][:limit]

    def add_order(self, order: Order, *, act: Act) -> bool:
        """Keep an order; False when its key is already there, unless this very act put it there."""
        with self._ledger.lock:
            if self._ledger.first("retrain.order", order.model, act, {"order": order.key}) is not None:
                return True
            if order.key in self._orders:
                return False
            evidence = {"order": order.key, "cause": order.cause, "why": order.reason, "at": order.at}
            self._ledger.record("retrain.order", order.model, act, evidence)
            self._orders[order.key] = order
            return True

    def orders(self, model: str) -> Sequence[Order]:
        """Newest first."""
        return [order for order in reversed(self._orders.values()) if order.model == model]


class InMemoryStores:
    """All six over one ledger: what ``open_database`` gives, without the database."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.ledger = InMemoryLedger(now)
        self.versions = InMemoryVersions(self.ledger)
        self.routes = InMemoryRoutes(self.ledger)
        self.tokens = self.routes.tokens
        self.trust = self.routes.trust
        self.findings = InMemoryFindings(self.ledger)

    def close(self) -> None:
        """Nothing to give back."""
