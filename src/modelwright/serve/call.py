"""What goes into the plane and what comes out of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import ModelwrightError
from modelwright.core.signature import Signature
from modelwright.core.version import Role
from modelwright.ports.runner import SequenceMark

MAX_ID_LENGTH = 128
DEFAULT_PRIORITY, MAX_PRIORITY = 5, 10


@dataclass(slots=True)
class PredictCall:
    """One request.

    ``inputs`` map tensor names to arrays of the datatypes the caller stated. ``nulls`` marks, per tensor, the elements
    that the caller left missing (JSON null): the signature decides whether that is allowed. ``version`` empty = by
    the route; ``prediction_id`` empty = one is made; ``event_time`` (Unix seconds) None = ``received_at``.

    ``limit`` is the moment (``time.perf_counter``) at which the caller has given up; ``priority`` orders the waiting
    requests of one caller, 1 first and :data:`MAX_PRIORITY` last; ``retry`` marks a request that was refused or lost
    before: under pressure it is refused first; ``started`` is the moment at which its last byte came, 0 where that is
    not known; ``finite`` tells that no number is infinite, or NaN but where ``nulls`` says so. ``group`` is the id that
    decides the arm where it is not the prediction's own: requests of one group meet the same arm, and no other one
    answers in its place. ``sequence`` is the sequence that it belongs to.
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
    limit: float = math.inf
    priority: int = DEFAULT_PRIORITY
    retry: bool = False
    finite: bool = False
    group: str = ""
    started: float = 0.0
    sequence: SequenceMark | None = None


@dataclass(slots=True)
class Answer:
    """One answer; ``outputs`` hold the tensors asked for, in that order. ``duration`` is seconds in the runner.

    ``warnings`` are what the model's input policy reports (:class:`~modelwright.core.signature.InputPolicy`);
    ``row_errors`` the rows that failed by themselves, where the caller asked for that (:mod:`.each_row`).
    """

    model: str
    version: str
    role: Role
    prediction_id: str
    outputs: dict[str, NDArray[Any]]
    rows: int
    duration: float
    signature: Signature
    warnings: tuple[str, ...] = ()
    row_errors: Mapping[int, ModelwrightError] = field(default_factory=dict)
