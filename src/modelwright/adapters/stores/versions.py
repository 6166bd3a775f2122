"""Versions and aliases in the database."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, func, insert, select

from modelwright.adapters.stores import schema
from modelwright.adapters.stores.ledger import SqlLedger
from modelwright.adapters.stores.transactions import reading
from modelwright.core.access import Act
from modelwright.core.names import require_model_name
from modelwright.core.package import canonical_json
from modelwright.core.record_codec import to_json
from modelwright.core.registry import require_move, resolve, unknown_model
from modelwright.core.version import AliasMove, Lineage, Version

_VERSIONS, _ALIASES, _MOVES = schema.versions, schema.aliases, schema.alias_moves


class SqlVersions:
    """Implements ``ports.store.VersionStore``."""

    def __init__(self, engine: Engine, ledger: SqlLedger) -> None:
        self._engine = engine
        self._ledger = ledger

    def register(
        self, model: str, digest: str, *, lineage: Lineage, verdict: Mapping[str, object], act: Act
    ) -> Version:
        """Add a version and number it (1, 2, 3, ... per model). The same ``act.key`` gives the same version again.

        Raises:
            BadInputError: ``register.bad-name``.
            ConflictError: ``ledger.key-reused``: the key registered another package.
        """
        require_model_name(model)
        action = "register.add"
        with self._ledger.acting() as connection:
            first = self._ledger.first(connection, action, model, act, {"digest": digest})
            if first is not None:
                query = select(_VERSIONS).where(_VERSIONS.c.sequence == first.sequence)
                return _version(connection.execute(query).one())
            highest = select(func.max(_VERSIONS.c.number)).where(_VERSIONS.c.model == model)
            number = (connection.execute(highest).scalar() or 0) + 1
            held = canonical_json(to_json(verdict))
            evidence = {
                "version": str(number),
                "digest": digest,
                "lineage": asdict(lineage),
                "verdict_sha256": hashlib.sha256(held).hexdigest(),
            }
            entry = self._ledger.record(connection, action, model, act, evidence)
            row = {
                "model": model,
                "number": number,
                "digest": digest,
                "created_at": entry.at,
                "created_by": act.actor,
                "lineage": canonical_json(asdict(lineage)).decode(),
                "verdict": held.decode(),
                "reason": act.reason,
                "sequence": entry.sequence,
            }
            connection.execute(insert(_VERSIONS).values(row))
            return Version(
                model, str(number), digest, entry.at, act.actor, lineage, json.loads(held), reason=act.reason
            )

    def versions(self, model: str) -> Sequence[Version]:
        """All versions, oldest first.

        Raises:
            NotFoundError: ``register.unknown-model``, with a suggestion.
        """
        with reading(self._engine) as connection:
            return self._all(connection, model)

    def version(self, model: str, reference: str) -> Version:
        """By number (``3``), alias (``champion``) or digest prefix of 8 characters or more, in this order.

        Raises:
            NotFoundError: ``register.unknown-model``, ``register.unknown-version``, with a suggestion.
            BadInputError: ``register.ambiguous-version``: the prefix fits several packages.
        """
        with reading(self._engine) as connection:
            versions = self._all(connection, model)
            aliases = _aliases(connection, model)
        return resolve(model, reference, versions, aliases)

    def models(self) -> Sequence[str]:
        """Names of all models, sorted."""
        with reading(self._engine) as connection:
            return _models(connection)

    def set_alias(self, model: str, alias: str, to_version: str, *, act: Act, expected: str | None = None) -> AliasMove:
        """Move (or with an empty version remove) an alias; ``expected`` is the version it must point at now.

        An empty ``expected`` demands that the alias does not exist yet. The same ``act.key`` gives the first move
        again, wherever the alias points by now.

        Raises:
            BadInputError: ``register.bad-alias``.
            NotFoundError: ``register.unknown-model``, ``register.unknown-version``, ``register.unknown-alias``.
            ConflictError: ``register.alias-moved``, ``ledger.key-reused``.
        """
        action = "register.move-alias"
        with self._ledger.acting() as connection:
            first = self._ledger.first(connection, action, model, act, {"alias": alias})
            if first is not None:
                return _move(connection.execute(select(_MOVES).where(_MOVES.c.sequence == first.sequence)).one())
            numbers = _numbers(connection, model)
            now_at = require_move(
                model, alias, to_version, expected=expected, numbers=numbers, aliases=_aliases(connection, model)
            )
            evidence = {"alias": alias, "from_version": now_at, "to_version": to_version}
            entry = self._ledger.record(connection, action, model, act, evidence)
            _point(connection, model, alias, to_version)
            move = AliasMove(model, alias, now_at, to_version, entry.at, act.actor, act.reason)
            row = asdict(move) | {"sequence": entry.sequence, "moved_by": move.by}
            connection.execute(insert(_MOVES).values({name: row[name] for name in _MOVES.c.keys()}))  # noqa: SIM118 - a column collection iterates over columns, not names
            return move

    def alias(self, model: str, alias: str) -> str:
        """Version number the alias points at, or an empty string."""
        return self.aliases(model).get(alias, "")

    def aliases(self, model: str) -> Mapping[str, str]:
        """Alias name to version number."""
        with reading(self._engine) as connection:
            return _aliases(connection, model)

    def alias_history(self, model: str) -> Sequence[AliasMove]:
        """Every move of every alias of the model, oldest first."""
        query = select(_MOVES).where(_MOVES.c.model == model).order_by(_MOVES.c.sequence)
        with reading(self._engine) as connection:
            return [_move(row) for row in connection.execute(query)]

    @staticmethod
    def _all(connection: Connection, model: str) -> list[Version]:
        query = select(_VERSIONS).where(_VERSIONS.c.model == model).order_by(_VERSIONS.c.number)
        versions = [_version(row) for row in connection.execute(query)]
        if not versions:
            raise unknown_model(model, _models(connection))
        return versions


def _models(connection: Connection) -> list[str]:
    return list(connection.execute(select(_VERSIONS.c.model).distinct().order_by(_VERSIONS.c.model)).scalars())


def _aliases(connection: Connection, model: str) -> dict[str, str]:
    query = select(_ALIASES.c.alias, _ALIASES.c.number).where(_ALIASES.c.model == model).order_by(_ALIASES.c.alias)
    return {row.alias: str(row.number) for row in connection.execute(query)}


def _numbers(connection: Connection, model: str) -> list[str]:
    query = select(_VERSIONS.c.number).where(_VERSIONS.c.model == model).order_by(_VERSIONS.c.number)
    numbers = [str(number) for number in connection.execute(query).scalars()]
    if not numbers:
        raise unknown_model(model, _models(connection))
    return numbers


def _point(connection: Connection, model: str, alias: str, to_version: str) -> None:
    connection.execute(delete(_ALIASES).where(_ALIASES.c.model == model, _ALIASES.c.alias == alias))
    if to_version:
        connection.execute(insert(_ALIASES).values(model=model, alias=alias, number=int(to_version)))


def _version(row: Row[Any]) -> Version:
    return Version(
        model=row.model,
        number=str(row.number),
        digest=row.digest,
        created_at=row.created_at,
        created_by=row.created_by,
        lineage=Lineage(**json.loads(row.lineage)),
        verdict=json.loads(row.verdict),
        reason=row.reason,
    )


def _move(row: Row[Any]) -> AliasMove:
    return AliasMove(row.model, row.alias, row.from_version, row.to_version, row.at, row.moved_by, row.why)
