"""Where alerts go."""

from __future__ import annotations

from typing import Protocol

from modelwright.core.finding import Alert


class Channel(Protocol):
    """One way to tell somebody."""

    name: str

    def send(self, alert: Alert) -> None:
        """Deliver, or raise UnavailableError (``channel.undelivered``)."""
        ...
