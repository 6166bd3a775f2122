"""What is told of one answered request, in the access log and in traces: never its body, never a token."""

from __future__ import annotations

from typing import NamedTuple

from modelwright.core.trace_context import TraceContext


class StageSeconds(NamedTuple):
    """Seconds of a prediction's stages: to its queue, in it, in the runner, and from there to its answer."""

    decode: float
    queue: float
    infer: float
    encode: float


class RequestEvent(NamedTuple):  # a frozen dataclass takes 4 us longer to make, on the path of the request
    """One answered request.

    ``at`` is when it came (Unix seconds), ``seconds`` how long its answer took. ``route`` is the pattern of its route,
    empty where there is none. ``status`` is the HTTP status, or the one of the same kind; ``error`` the stable code.
    What is known of predictions alone is empty or 0 elsewhere: ``rows`` were asked for, ``batch`` requests ran
    together; with several predictions in one request, ``rows`` is their sum and the rest is told of the first.
    """

    at: float
    protocol: str
    method: str
    route: str
    status: int
    seconds: float
    error: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    actor: str = ""
    model: str = ""
    version: str = ""
    role: str = ""
    rows: int = 0
    batch: int = 0
    prediction_id: str = ""
    stages: StageSeconds | None = None
    trace: TraceContext | None = None
