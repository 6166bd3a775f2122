"""What is recorded: predictions, ground truth, and gaps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from modelwright.core.version import Role

ROWS_OF_REQUEST = "#row"
"""The output of a graph's node (INT64 [rows]) that says which rows of the request it answered, where not all."""


def node_model(model: str, node: str) -> str:
    """Under what name the answers of a graph's node are on record."""
    return f"{model}/{node}"


def graph_of(model: str) -> str:
    """The model whose ground truth counts for a recorded name: of a node, its graph."""
    return model.partition("/")[0]


@dataclass(slots=True)  # not frozen: one is made for each request, and a frozen one takes six times as long
class PredictionRecord:
    """One answered (or failed) request by one version.

    A node of a graph has one beside its graph's, in the role ``node``, without inputs (:func:`node_model`).
    Times are Unix seconds (UTC); ``duration`` is seconds in the runner. ``status`` is ``ok`` or an error code.
    ``inputs``/``outputs`` map tensor names to arrays whose first axis has ``rows`` entries.
    """

    model: str
    version: str
    role: Role
    prediction_id: str
    event_time: float
    received_at: float
    duration: float
    actor: str
    status: str
    rows: int
    inputs: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    outputs: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TruthRecord:
    """Ground truth of one prediction id: one value per row of that prediction, in row order."""

    model: str
    prediction_id: str
    values: tuple[float | int | str | bool | None, ...]
    event_time: float
    received_at: float
    actor: str


@dataclass(frozen=True, slots=True)
class GapRecord:
    """Predictions that were answered while the log could not be written (promise D3)."""

    unlogged: int
    since: float
    until: float


Record = PredictionRecord | TruthRecord | GapRecord
