"""March to December: replay, look at each month's end, renew, and once offer a candidate that must not get through."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from modelwright.core.errors import UnavailableError
from modelwright.demo.client import Client
from modelwright.demo.flights import MODEL, TARGET, Flights
from modelwright.demo.prepare import train_broken
from modelwright.demo.product import Product
from modelwright.demo.replay import Progress, Replay

FIRST, LAST, BROKEN = 3, 12, 9
CANARY_STEP = "start canary"
STORY_SECONDS = 240.0

Say = Callable[[str], None]


@dataclass(slots=True)
class Month:
    """What happened at one month's end."""

    month: str
    findings: int = 0
    renewals: int = 0
    promotions: int = 0
    refusals: int = 0
    told: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Year:
    """The months so far, the broken candidate's end, and how the replay went."""

    months: list[Month] = field(default_factory=list)
    broken: dict[str, Any] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)


@dataclass(slots=True)
class Renewal:
    """A renewal under way; ``booked`` is the month that ordered it."""

    key: str
    booked: Month

    def poll(self, product: Product) -> dict[str, Any]:
        """Where the story is."""
        state: dict[str, Any] = product.ask("GET", f"/api/stories/{self.key}")
        return state


async def live_through(flights: Flights, product: Product, *, say: Say, tick: Callable[[Year], None]) -> Year:
    """Replay the year; ``say`` gets a sentence for each event, ``tick`` the state after each hour of flights."""
    year = Year()
    host, port = product.http.rsplit(":", 1)
    async with Client(host, int(port), product.token) as client:
        replay = Replay(flights, client, progress=year.progress)
        renewal: Renewal | None = None
        for number in range(FIRST, LAST + 1):
            year.months.append(Month(f"2013-{number:02d}"))
            renewal = await _replay_month(replay, year, renewal, product, number, say=say, tick=tick)
            rows = flights.month == number
            end = float(flights.landed_at[rows].max()) + 1.0
            await replay.land(until=end)
            await asyncio.to_thread(_look, product, year.months[-1], flights, number, say)
            if number == BROKEN:
                await asyncio.to_thread(_offer_broken, product, year, flights, number, say)
            if number < LAST:
                renewal = await asyncio.to_thread(_order, product, year.months[-1], say)
        await replay.land(until=float("inf"))
    return year


async def _replay_month(
    replay: Replay,
    year: Year,
    renewal: Renewal | None,
    product: Product,
    number: int,
    *,
    say: Say,
    tick: Callable[[Year], None],
) -> Renewal | None:
    began = time.perf_counter()
    waiting = renewal
    asked = 0.0

    async def each_hour() -> None:
        nonlocal waiting, asked
        tick(year)
        if waiting is not None and time.perf_counter() - asked > 0.25:
            asked = time.perf_counter()
            state = await asyncio.to_thread(waiting.poll, product)
            if state["status"] != "pending":
                _book(waiting, state, say)
                waiting = None

    await replay.month(number, each_hour=each_hour)
    year.progress.seconds += time.perf_counter() - began
    if waiting is not None:
        _book(waiting, await asyncio.to_thread(_finished, product, waiting), say)
    return None


def _order(product: Product, month: Month, say: Say) -> Renewal:
    """Order a renewal and wait until its candidate needs traffic, or has been refused."""
    month.renewals += 1
    body = {"reason": f"month end {month.month}"}
    key = str(product.ask("POST", f"/api/models/{MODEL}/renew", body)["key"])
    renewal = Renewal(key, month)
    until = time.monotonic() + STORY_SECONDS
    while time.monotonic() < until:
        state = renewal.poll(product)
        if state["status"] != "pending" or CANARY_STEP in state["steps"]:
            last = state["steps"][-1] if state["steps"] else "nothing yet"
            say(f"{month.month}: renewal trained a candidate ({last})")
            return renewal
        time.sleep(0.1)
    raise UnavailableError("demo.story-stuck", f"The renewal {key} did not get to its canary.")


def _finished(product: Product, renewal: Renewal) -> dict[str, Any]:
    until = time.monotonic() + STORY_SECONDS
    while time.monotonic() < until:
        state = renewal.poll(product)
        if state["status"] != "pending":
            return state
        time.sleep(0.2)
    raise UnavailableError("demo.story-stuck", f"The renewal {renewal.key} did not end.")


def _book(renewal: Renewal, state: dict[str, Any], say: Say) -> None:
    result = state.get("result") or state.get("error") or {}
    outcome = str(result.get("outcome", "failed"))
    why = str(result.get("why") or result.get("what") or "")
    if outcome == "promoted":
        renewal.booked.promotions += 1
    else:
        renewal.booked.refusals += 1
    said = f"{renewal.booked.month}: renewal {outcome}"
    said += f" (version {result['version']})" if result.get("version") else ""
    renewal.booked.told.append(f"{outcome}: {why}")
    say(f"{said}: {why}")


def _look(product: Product, month: Month, flights: Flights, number: int, say: Say) -> None:
    times = flights.event_time[flights.month == number]
    window = {"since": float(np.floor(times.min())), "until": float(np.ceil(times.max())) + 1.0}
    found = product.ask("POST", f"/api/models/{MODEL}/watch?wait=true", window)
    report = found.get("result", found)["report"]
    month.findings = len(report["findings"])
    month.told.extend(str(finding["says"]) for finding in report["findings"][:3])
    first = f"; first: {report['findings'][0]['says']}" if report["findings"] else ""
    say(f"{month.month}: {report['rows']} predictions, {report['truths']} truths, {month.findings} findings{first}")


def _offer_broken(product: Product, year: Year, flights: Flights, number: int, say: Say) -> None:
    broken = train_broken(flights, product.folder, before_month=number + 1)
    result = product.call(
        *("release", str(broken.model), "--name", MODEL, "--reason", "new weather feed"),
        *("--data", str(broken.validation), "--target", TARGET, "--reference", str(broken.reference)),
        may_refuse=True,
    )
    year.months[-1].refusals += result["outcome"] != "promoted"
    year.months[-1].promotions += result["outcome"] == "promoted"
    stopped = {"refused": "gate", "rolled-back": "canary", "promoted": "nothing"}[result["outcome"]]
    gates = [gate for gate in result["verdict"]["gates"] if not gate["passed"]]
    year.broken = {
        "stopped_by": f"{stopped} {', '.join(gate['name'] for gate in gates)}".strip(),
        "reason": str(result["why"]),
        "gates": [{"name": gate["name"], "why": gate["why"]} for gate in gates],
    }
    say(f"{year.months[-1].month}: broken candidate stopped by {year.broken['stopped_by']}: {result['why']}")
