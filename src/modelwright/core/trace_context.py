"""Where a request stands in a distributed trace: W3C Trace Context (https://www.w3.org/TR/trace-context/)."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

_random = random.Random()  # noqa: S311 - ids must differ, not be secret
_FORM = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_MAX_STATE = 512
_SAMPLED = 1


@dataclass(frozen=True, slots=True)
class TraceContext:
    """One request's place; ids are lower-case hexadecimal.

    ``span_id`` is this request's own; ``parent_id`` is empty where the trace begins here; ``sampled`` is what the
    caller decided, or we; ``state`` is the caller's ``tracestate``, as it came.
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    sampled: bool = True
    state: str = ""


def begun() -> TraceContext:
    """A trace that begins here."""
    return TraceContext(f"{_random.getrandbits(128) or 1:032x}", new_span_id())


def continued(traceparent: bytes, tracestate: bytes = b"") -> TraceContext | None:
    """The caller's trace; None where the header is not one, which is then as if it were not there."""
    found = _FORM.fullmatch(traceparent.strip())
    if found is None:
        return None
    version, trace_id, parent_id, flags, more = found.groups()
    if version == b"ff" or (more is not None and version == b"00") or not trace_id.strip(b"0"):
        return None
    if not parent_id.strip(b"0"):
        return None
    state = tracestate.decode("ascii", "replace") if len(tracestate) <= _MAX_STATE else ""
    sampled = bool(int(flags, 16) & _SAMPLED)
    return TraceContext(trace_id.decode(), new_span_id(), parent_id.decode(), sampled, state)


def new_span_id() -> str:
    """A fresh id of a span."""
    return f"{_random.getrandbits(64) or 1:016x}"
