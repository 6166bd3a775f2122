"""What goes into the plane and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.signature import Signature
from modelwright.core.version import Role

MAX_ID_LENGTH = 128


@dataclass(slots=True)
class PredictCall:
    """One request.

    ``inputs`` map tensor names to arrays of the datatypes the caller stated. ``nulls`` marks, per tensor, the elements
    that the caller left missing (JSON null): the signature decides whether that is allowed. ``version`` empty = by
    the route; ``prediction_id`` empty = one is made; ``event_time`` (Unix seconds) None = ``received_at``.
    """

    model: str
    inputs: dict[str, NDArray[Any]]
    actor: str
    received_at: float
    version: str = ""
    prediction_id: str = ""
    outputs: Sequence[str] | None = None
    event_time: float | None = None
    nulls: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)


@dataclass(slots=True)
class Answer:
    """One answer; ``outputs`` hold the tensors asked for, in that order. ``duration`` is seconds in the runner."""

    model: str
    version: str
    role: Role
    prediction_id: str
    outputs: dict[str, NDArray[Any]]
    rows: int
    duration: float
    signature: Signature
