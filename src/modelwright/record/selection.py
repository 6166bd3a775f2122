"""Which predicted rows are asked for: the same condition as SQL over files and as a mask over columns in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from modelwright.core.finding import Window
from modelwright.record.chunks import Chunk


@dataclass(frozen=True, slots=True)
class Selection:
    """Predicted rows in an event-time window, of a version, of some roles (empty: any), with a status (None: any)."""

    window: Window | None = None
    version: str | None = None
    roles: tuple[str, ...] = ()
    status: str | None = "ok"

    def overlaps(self, first: float, last: float) -> bool:
        """True when event times from ``first`` to ``last`` reach into the window."""
        return self.window is None or (last >= self.window.since and first < self.window.until)

    def sql(self) -> tuple[str, list[Any]]:
        """A condition with ``?`` for the values."""
        parts: list[str] = ["row < rows"]
        values: list[Any] = []
        if self.window is not None:
            parts.append("event_time >= ? AND event_time < ?")
            values += [self.window.since, self.window.until]
        if self.version is not None:
            parts.append("version = ?")
            values.append(self.version)
        if self.roles:
            parts.append(f"role IN ({', '.join('?' for _ in self.roles)})")
            values += self.roles
        if self.status is not None:
            parts.append("status = ?")
            values.append(self.status)
        return " AND ".join(parts), values

    def of(self, chunk: Chunk) -> Chunk:
        """The selected rows of a chunk."""
        columns = chunk.columns
        mask = columns["row"] < columns["rows"]
        if self.window is not None:
            mask &= (columns["event_time"] >= self.window.since) & (columns["event_time"] < self.window.until)
        for name, wanted in (("version", self.version), ("status", self.status)):
            if wanted is not None:
                mask &= columns[name] == wanted
        if self.roles:
            mask &= np.isin(columns["role"].astype(str), self.roles)
        return Chunk(chunk.model, chunk.layout, {name: column[mask] for name, column in columns.items()})
