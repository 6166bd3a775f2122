"""The first schema: ledger, checkpoints, versions, aliases, routes, tokens, reports, orders."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _ledger() -> None:
    op.create_table(
        "mw_ledger",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("key", sa.Text, nullable=False),
    )
    op.create_index("mw_ledger_subject", "mw_ledger", ["subject", "sequence"])
    op.create_index(
        "mw_ledger_key",
        "mw_ledger",
        ["key", "action"],
        unique=True,
        sqlite_where=sa.text("key != ''"),
        postgresql_where=sa.text("key != ''"),
    )
    op.create_table(
        "mw_checkpoints",
        sa.Column("entries", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("head", sa.String(64), nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("public_key", sa.String(64), nullable=False),
        sa.Column("signature", sa.String(128), nullable=False),
    )


def _versions() -> None:
    op.create_table(
        "mw_versions",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("lineage", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, sa.ForeignKey("mw_ledger.sequence"), nullable=False, unique=True),
    )
    op.create_table(
        "mw_aliases",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("alias", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(["model", "number"], ["mw_versions.model", "mw_versions.number"]),
    )
    op.create_table(
        "mw_alias_moves",
        sa.Column(
            "sequence", sa.BigInteger, sa.ForeignKey("mw_ledger.sequence"), primary_key=True, autoincrement=False
        ),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("alias", sa.Text, nullable=False),
        sa.Column("from_version", sa.Text, nullable=False),
        sa.Column("to_version", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("moved_by", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
    )
    op.create_index("mw_alias_moves_model", "mw_alias_moves", ["model", "sequence"])


def _routing() -> None:
    op.create_table(
        "mw_routes",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("route", sa.Text, nullable=False),
    )
    epoch = op.create_table(
        "mw_epoch",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(epoch, [{"id": 1, "epoch": 0}])
    op.create_table(
        "mw_tokens",
        sa.Column("token_sha256", sa.String(64), primary_key=True),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Float(53), nullable=False),
        sa.Column("issued_at", sa.Text, nullable=False),
        sa.Column("revoked_at", sa.Text, nullable=False),
    )
    op.create_index("mw_tokens_subject", "mw_tokens", ["subject"])


def _findings() -> None:
    op.create_table(
        "mw_reports",
        sa.Column(
            "sequence", sa.BigInteger, sa.ForeignKey("mw_ledger.sequence"), primary_key=True, autoincrement=False
        ),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("report", sa.Text, nullable=False),
    )
    op.create_index("mw_reports_model", "mw_reports", ["model", "sequence"])
    op.create_table(
        "mw_orders",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, sa.ForeignKey("mw_ledger.sequence"), nullable=False, unique=True),
    )
    op.create_index("mw_orders_model", "mw_orders", ["model", "sequence"])


def upgrade() -> None:
    """Make every table."""
    _ledger()
    _versions()
    _routing()
    _findings()
