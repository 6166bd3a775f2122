"""Replaying flights through the HTTP interface in event-time order; each truth is sent once its flight has landed."""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from modelwright.core.errors import UnavailableError
from modelwright.demo.client import Client
from modelwright.demo.flights import CATEGORIES, FEATURES, MODEL, Flights

HOUR = 3600.0


@dataclass(slots=True)
class Progress:
    """What has been answered so far."""

    predictions: int = 0
    truths: int = 0
    failed: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Replay:
    """The state of the replay: which flights are in the air, and how many answers came."""

    flights: Flights
    client: Client
    progress: Progress = field(default_factory=Progress)
    airborne: list[tuple[float, int]] = field(default_factory=list)

    async def month(self, month: int, *, each_hour: Callable[[], Awaitable[None]]) -> None:
        """Ask about every flight of the month, hour by hour; ``each_hour`` is awaited between two hours."""
        rows = np.flatnonzero(self.flights.month == month)
        hours = np.floor(self.flights.event_time[rows] / HOUR)
        for chunk in np.split(rows, np.flatnonzero(np.diff(hours)) + 1):
            await self.land(until=float(self.flights.event_time[chunk[0]]))
            await self._depart(chunk.tolist())
            await each_hour()

    async def land(self, *, until: float) -> None:
        """Send the truth of every flight that has landed by then."""
        landed: list[int] = []
        while self.airborne and self.airborne[0][0] <= until:
            landed.append(heapq.heappop(self.airborne)[1])
        if not landed:
            return
        truths = [
            {
                "prediction_id": self.flights.ids[row],
                "value": int(self.flights.late[row]),
                "event_time": float(self.flights.landed_at[row]),
            }
            for row in landed
        ]
        body = json.dumps({"model": MODEL, "truths": truths}).encode()
        self._count(await self.client.post_all("/record/truth", [body]))
        self.progress.truths += len(landed)

    async def _depart(self, rows: list[int]) -> None:
        bodies = [request_body(self.flights, row) for row in rows]
        self._count(await self.client.post_all(f"/v2/models/{MODEL}/infer", bodies))
        self.progress.predictions += len(rows)
        for row in rows:
            heapq.heappush(self.airborne, (float(self.flights.landed_at[row]), row))

    def _count(self, answers: list[tuple[int, bytes]]) -> None:
        refused = [(status, body) for status, body in answers if status != 200]
        self.progress.failed += len(refused)
        if refused:
            status, body = refused[0]
            raise UnavailableError(
                "demo.request-failed",
                f"The server answered {status}: {body[:300].decode(errors='replace')}",
                fix="Read build/demo/server.log.",
            )


def request_body(flights: Flights, row: int) -> bytes:
    """One Open Inference Protocol request: one flight, its id, and its event time."""
    inputs: list[dict[str, Any]] = []
    for name in FEATURES:
        value = flights.features[name][row]
        text = name in CATEGORIES
        absent = not text and math.isnan(value)
        inputs.append(
            {
                "name": name,
                "shape": [1, 1],
                "datatype": "BYTES" if text else "FP32",
                "data": [None if absent else value],
            }
        )
    request = {
        "id": flights.ids[row],
        "parameters": {"event_time": float(flights.event_time[row])},
        "inputs": inputs,
    }
    return json.dumps(request, separators=(",", ":")).encode()
