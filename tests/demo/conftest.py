"""Two months of a tiny exported prediction log, and the figures of a tiny year."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from modelwright.demo.replay import Progress
from modelwright.demo.year import Month, Year

Row = tuple[str, str, str, str, float, int | None]
# (prediction id, version, role, New York day, score, truth). In March version 1 is champion; "canary" was answered by
# the canary while it was, so version 1 never saw it. In April version 1 is the shadow of version 2.
ROWS: Sequence[Row] = (
    ("m1", "1", "champion", "2013-03-05", 0.25, 0),
    ("m2", "1", "champion", "2013-03-31", 0.75, 1),
    ("canary", "2", "canary", "2013-03-31", 0.5, 1),
    ("a1", "2", "champion", "2013-04-01", 0.2, 0),
    ("a1", "1", "shadow", "2013-04-01", 0.4, 0),
    ("a2", "2", "champion", "2013-04-02", 0.9, 1),
    ("a2", "1", "shadow", "2013-04-02", 0.3, 1),
    ("a3", "3", "canary", "2013-04-03", 0.6, 1),
    ("a3", "1", "shadow", "2013-04-03", 0.5, 1),
    ("flying", "2", "champion", "2013-04-30", 0.5, None),
    ("flying", "1", "shadow", "2013-04-30", 0.5, None),
)


def export(rows: Sequence[Row], path: Path) -> Path:
    """The rows as ``modelwright record export`` writes them, as far as the report reads them."""
    # 23:30 in New York is the next day, and sometimes the next month, in UTC.
    late_evening = [datetime.fromisoformat(f"{row[3]}T23:30:00-04:00").astimezone(UTC).timestamp() for row in rows]
    frame = pd.DataFrame(
        {
            "prediction_id": [row[0] for row in rows],
            "version": [row[1] for row in rows],
            "role": [row[2] for row in rows],
            "event_time": late_evening,
            "output.probabilities.1": [row[4] for row in rows],
            "truth": pd.Series([row[5] for row in rows], dtype="Int64"),
        }
    )
    duckdb.from_df(frame).write_parquet(str(path))
    return path


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    return export(ROWS, tmp_path / "predictions.parquet")


@pytest.fixture
def year() -> Year:
    march = Month("2013-03", findings=2, renewals=1, promotions=1)
    march.told = ["temp is higher: mean 36 -> 41.", "<b>carrier</b> is new.", "promoted: No evidence against it."]
    april = Month("2013-04", findings=0, refusals=1)
    broken: dict[str, Any] = {
        "stopped_by": "gate within-training",
        "reason": "The package is not registered.",
        "gates": [{"name": "within-training", "why": "temp: 100% of the rows lie outside 1 to 2."}],
    }
    return Year(months=[march, april], broken=broken, progress=Progress(predictions=7, truths=6, seconds=0.5))
