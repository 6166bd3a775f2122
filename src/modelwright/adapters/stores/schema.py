"""The tables of the registry, the same on SQLite and PostgreSQL. The ``mw_`` prefix leaves room for neighbours.

JSON is kept as text, byte for byte, because the ledger's hashes are taken of it.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

REVISION = "0003"
"""The newest migration. Kept here so that opening a current database need not import Alembic."""

VERSION_TABLE = "mw_schema"

metadata = MetaData()

ledger = Table(
    "mw_ledger",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("key", Text, nullable=False),
)
Index("mw_ledger_subject", ledger.c.subject, ledger.c.sequence)
Index(
    "mw_ledger_key",
    ledger.c.key,
    ledger.c.action,
    unique=True,
    sqlite_where=ledger.c.key != "",
    postgresql_where=ledger.c.key != "",
)

checkpoints = Table(
    "mw_checkpoints",
    metadata,
    Column("entries", BigInteger, primary_key=True, autoincrement=False),
    Column("head", String(64), nullable=False),
    Column("at", Text, nullable=False),
    Column("public_key", String(64), nullable=False),
    Column("signature", String(128), nullable=False),
)

versions = Table(
    "mw_versions",
    metadata,
    Column("model", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
    Column("created_at", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("lineage", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("sequence", BigInteger, ForeignKey("mw_ledger.sequence"), nullable=False, unique=True),
)

aliases = Table(
    "mw_aliases",
    metadata,
    Column("model", Text, primary_key=True),
    Column("alias", Text, primary_key=True),
    Column("number", Integer, nullable=False),
    ForeignKeyConstraint(["model", "number"], ["mw_versions.model", "mw_versions.number"]),
)

alias_moves = Table(
    "mw_alias_moves",
    metadata,
    Column("sequence", BigInteger, ForeignKey("mw_ledger.sequence"), primary_key=True, autoincrement=False),
    Column("model", Text, nullable=False),
    Column("alias", Text, nullable=False),
    Column("from_version", Text, nullable=False),
    Column("to_version", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("moved_by", Text, nullable=False),
    Column("why", Text, nullable=False),
)
Index("mw_alias_moves_model", alias_moves.c.model, alias_moves.c.sequence)

routes = Table(
    "mw_routes",
    metadata,
    Column("model", Text, primary_key=True),
    Column("route", Text, nullable=False),
)

epoch = Table(
    "mw_epoch",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
)

tokens = Table(
    "mw_tokens",
    metadata,
    Column("token_sha256", String(64), primary_key=True),
    Column("subject", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("expires_at", Float(53), nullable=False),
    Column("rate", Float(53), nullable=False, server_default="0"),
    Column("issued_at", Text, nullable=False),
    Column("revoked_at", Text, nullable=False),
)
Index("mw_tokens_subject", tokens.c.subject)

reports = Table(
    "mw_reports",
    metadata,
    Column("sequence", BigInteger, ForeignKey("mw_ledger.sequence"), primary_key=True, autoincrement=False),
    Column("model", Text, nullable=False),
    Column("report", Text, nullable=False),
)
Index("mw_reports_model", reports.c.model, reports.c.sequence)

orders = Table(
    "mw_orders",
    metadata,
    Column("key", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("sequence", BigInteger, ForeignKey("mw_ledger.sequence"), nullable=False, unique=True),
)
Index("mw_orders_model", orders.c.model, orders.c.sequence)

trusted_keys = Table(
    "mw_trusted_keys",
    metadata,
    Column("key_id", String(64), primary_key=True),
    Column("public_key", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("models", Text, nullable=False),
    Column("expires_at", Float(53), nullable=False),
    Column("added_at", Text, nullable=False),
    Column("added_by", Text, nullable=False),
    Column("revoked_at", Text, nullable=False),
    Column("revoked_why", Text, nullable=False),
)

signatures = Table(
    "mw_signatures",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("bundle", String(64), primary_key=True),
    Column("sequence", BigInteger, ForeignKey("mw_ledger.sequence"), nullable=False),
)
