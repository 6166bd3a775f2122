"""An event sink that keeps what it is given."""

from __future__ import annotations

from modelwright.core.request_event import RequestEvent


class InMemoryEvents:
    """An :class:`~modelwright.ports.events.EventSink`; ``events`` are those put before the close."""

    def __init__(self, bound: int = 10_000) -> None:
        self.events: list[RequestEvent] = []
        self.dropped = 0
        self._bound, self._closed = bound, False

    def put(self, event: RequestEvent) -> None:
        """Keep it."""
        if self._closed or len(self.events) >= self._bound:
            self.dropped += 1
        else:
            self.events.append(event)

    def close(self) -> None:
        """Take no more."""
        self._closed = True
