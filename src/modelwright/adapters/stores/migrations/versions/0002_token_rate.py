"""Tokens have a rate."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Tokens that are there already may be used as often as before."""
    op.add_column("mw_tokens", sa.Column("rate", sa.Float(53), nullable=False, server_default="0"))
