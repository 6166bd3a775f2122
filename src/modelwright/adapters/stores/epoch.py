"""The routing table's epoch: one number that grows with every change a gateway must hear of."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from modelwright.adapters.stores import schema


def current_epoch(connection: Connection) -> int:
    """The epoch now; 0 in a new database."""
    return int(connection.execute(select(schema.epoch.c.epoch).where(schema.epoch.c.id == 1)).scalar_one())


def next_epoch(connection: Connection) -> int:
    """Count a change, inside its transaction, and return the new epoch."""
    epoch = current_epoch(connection) + 1
    connection.execute(update(schema.epoch).where(schema.epoch.c.id == 1).values(epoch=epoch))
    return epoch
