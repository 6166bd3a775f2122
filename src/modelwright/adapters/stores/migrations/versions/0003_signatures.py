"""Trusted keys, and the signatures of packages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Nobody is trusted yet, and nothing is signed."""
    op.create_table(
        "mw_trusted_keys",
        sa.Column("key_id", sa.String(64), primary_key=True),
        sa.Column("public_key", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("models", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Float(53), nullable=False),
        sa.Column("added_at", sa.Text, nullable=False),
        sa.Column("added_by", sa.Text, nullable=False),
        sa.Column("revoked_at", sa.Text, nullable=False),
        sa.Column("revoked_why", sa.Text, nullable=False),
    )
    op.create_table(
        "mw_signatures",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("bundle", sa.String(64), primary_key=True),
        sa.Column("sequence", sa.BigInteger, sa.ForeignKey("mw_ledger.sequence"), nullable=False),
    )
