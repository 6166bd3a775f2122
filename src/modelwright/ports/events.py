"""Where request events go: an access log, a collector of traces."""

from __future__ import annotations

from typing import Protocol

from modelwright.core.request_event import RequestEvent


class EventSink(Protocol):
    """Takes events on the thread that answers requests, and delivers them from one of its own."""

    @property
    def dropped(self) -> int:
        """Events that were not delivered: too many waited, or they could not be written."""
        ...

    def put(self, event: RequestEvent) -> None:
        """Take an event; never blocks, never raises. What comes while too many wait, or after the close, is dropped."""
        ...

    def close(self) -> None:
        """Deliver what waits, as far as that takes no longer than a few seconds."""
        ...
