"""A recipe with a mistake: somebody changed the weather feed of the training data to metric units, and told nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
from recipe import FEATURES, train  # type: ignore[import-not-found] # recipe.py lies beside it in the demo folder

HERE = Path(__file__).parent
__all__ = ["load", "train"]


def load(recorded: Path | None) -> tuple[Any, ...]:
    """Training rows in metric units; validation rows as the service sees them."""
    del recorded
    rows = pd.DataFrame(duckdb.read_parquet(str(HERE / "broken-train.parquet")).fetchnumpy())
    metric = rows.assign(
        temp=(rows.temp - 32.0) / 1.8,  # Fahrenheit to Celsius
        wind_speed=rows.wind_speed * 0.44704,  # miles per hour to metres per second
        visib=rows.visib * 1.609344,  # miles to kilometres
        precip=rows.precip * 25.4,  # inches to millimetres
    )
    real = pd.DataFrame(duckdb.read_parquet(str(HERE / "broken-rows.parquet")).fetchnumpy())
    return metric[FEATURES], rows.late, real[FEATURES], real.late
