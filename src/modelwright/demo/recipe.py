"""How the flight-delay model is trained: the user's own file, named in modelwright.yaml.

``load`` is given the rows that the service recorded and whose truth is known; ``train`` returns a fitted model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

CATEGORIES = ["carrier", "origin", "dest"]
NUMBERS = ["hour", "dow", "distance", "temp", "humid", "wind_speed", "precip", "pressure", "visib"]
FEATURES = CATEGORIES + NUMBERS
SECONDS_PER_DAY = 86_400
HERE = Path(__file__).parent


def load(recorded: Path | None) -> tuple[pd.DataFrame, pd.Series, pd.DataFrame, pd.Series]:
    """All rows so far; one in five of the last 31 days is held out to judge the candidate by."""
    first = _read(HERE / "train.parquet").assign(event_time=0.0)
    rows = first if recorded is None else pd.concat([first, _recorded(recorded)], ignore_index=True)
    recent = rows.event_time >= rows.event_time.max() - 31 * SECONDS_PER_DAY
    held_out = recent & (rows.index % 5 == 0)
    return rows[FEATURES][~held_out], rows.late[~held_out], rows[FEATURES][held_out], rows.late[held_out]


def train(X: pd.DataFrame, y: pd.Series) -> Any:  # noqa: N803 - the field's own name for a feature matrix
    """One-hot categories and histogram gradient boosting: converts to ONNX within 1e-6."""
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False, min_frequency=50), CATEGORIES),
        remainder="passthrough",
    )
    boost = HistGradientBoostingClassifier(
        max_iter=60, learning_rate=0.06, max_leaf_nodes=15, l2_regularization=1.0, random_state=7
    )
    return make_pipeline(encode, boost).fit(X, y)


def _read(path: Path) -> pd.DataFrame:
    """Rows with 32-bit numbers, as the service will see them: 10.357019999999999 and 10.35702 are one value."""
    rows = pd.DataFrame(duckdb.read_parquet(str(path)).fetchnumpy())
    return rows.astype({name: "float32" for name in rows.columns if name.removeprefix("input.") in NUMBERS})


def _recorded(path: Path) -> pd.DataFrame:
    rows = _read(path)
    rows = rows[rows.truth.notna()].rename(columns={f"input.{name}": name for name in FEATURES})
    return rows[[*FEATURES, "event_time"]].assign(late=rows.truth.astype(int))
