"""Counting requests and truths over files and pieces in memory at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from modelwright.core.table import Column
from modelwright.ports.record import ArmCount
from modelwright.record.chunks import Chunk, Columns

_OBSERVED = ("version", "role", "status", "duration")


def count_arms(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Path], pieces: Sequence[Chunk], since: float
) -> list[ArmCount]:
    """Requests received at ``since`` or later by version and role; mean and 95th percentile are of answered ones."""
    raw: dict[str, Column] = {}
    for name in _OBSERVED:
        empty: Column = np.empty(0, dtype=np.float64 if name == "duration" else object)
        raw[name] = np.concatenate([empty, *(_recent(piece, since)[name] for piece in pieces)])
    stored = ""
    if files:
        stored = (
            "UNION ALL SELECT version, role, status, duration FROM read_parquet(?, union_by_name = true)"
            " WHERE row = 0 AND received_at >= ?"
        )
    rows = _query(
        connection,
        f"WITH requests AS (SELECT version::VARCHAR AS version, role::VARCHAR AS role, status::VARCHAR AS status,"  # noqa: S608 - ours
        f" duration FROM _raw {stored})"
        " SELECT version, role, count(*) FILTER (status = 'ok'), count(*) FILTER (status <> 'ok'),"
        " coalesce(favg(duration) FILTER (status = 'ok'), 0), quantile_cont(duration, 0.95) FILTER (status = 'ok')"
        " FROM requests GROUP BY version, role ORDER BY version, role",
        [[str(path) for path in files], since] if files else [],
        _raw=raw,
    )
    return [ArmCount(*row) for row in rows]


def _recent(piece: Chunk, since: float) -> Columns:
    chosen = (piece.columns["row"] == 0) & (piece.columns["received_at"] >= since)
    return {name: piece.columns[name][chosen] for name in _OBSERVED}


def count_truths(
    connection: duckdb.DuckDBPyConnection, truths: Columns, files: Sequence[Path], raw_ids: Column
) -> dict[str, int]:
    """Truths of one model, those whose id was never predicted, and those beyond the first of their id.

    Args:
        connection: a database.
        truths: the model's truths, all of them.
        files: prediction files of the model.
        raw_ids: prediction ids that are not in these files.
    """
    told = truths["prediction_id"][truths["row"] == 0]
    stored = "UNION ALL SELECT prediction_id FROM read_parquet(?, union_by_name = true) WHERE row = 0" if files else ""
    rows = _query(
        connection,
        f"WITH predicted AS (SELECT prediction_id::VARCHAR AS prediction_id FROM _raw {stored})"  # noqa: S608 - ours
        " SELECT count(*) FILTER (prediction_id NOT IN (SELECT prediction_id FROM predicted)),"
        " count(*) - count(DISTINCT prediction_id) FROM _told",
        [[str(path) for path in files]] if files else [],
        _told={"prediction_id": told},
        _raw={"prediction_id": raw_ids},
    )
    unknown, repeated = rows[0]
    return {"truths": len(told), "unknown_truths": unknown, "repeated_truths": repeated}


def models_with_truth(connection: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> set[str]:
    """Models that truth files speak of."""
    if not files:
        return set()
    rows = _query(connection, "SELECT DISTINCT model FROM read_parquet(?)", [[str(path) for path in files]])
    return {model for (model,) in rows}


def _query(
    connection: duckdb.DuckDBPyConnection, sql: str, values: Sequence[Any], **tables: dict[str, Column]
) -> list[tuple[Any, ...]]:
    for name, table in tables.items():
        connection.register(name, table)
    try:
        return list(connection.execute(sql, values).fetchall())
    finally:
        for name in tables:
            connection.unregister(name)
