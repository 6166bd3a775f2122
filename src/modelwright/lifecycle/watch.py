"""Recorded rows -> report -> alerts, and an order to renew where the policy says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from modelwright.core import package_codec
from modelwright.core.errors import ModelwrightError, NotFoundError
from modelwright.core.finding import WatchReport, Window
from modelwright.core.record_codec import from_json, to_json
from modelwright.core.table import Table
from modelwright.core.version import Version
from modelwright.lifecycle.policies import policy_of
from modelwright.lifecycle.renew import window_of
from modelwright.lifecycle.rollout import CHAMPION, act_of, note
from modelwright.ports.platform import Platform
from modelwright.ports.workflow import Json, Steps
from modelwright.retrain.policy import due
from modelwright.watch.alerts import alert_of
from modelwright.watch.look import look

CLOSING_SECONDS = 1e-3  # a window is half-open: this much later, the last row is inside


def watch(platform: Platform, steps: Steps, arguments: Json) -> Json:
    """Look at one model's recorded rows.

    Args:
        platform: the ports.
        steps: durable steps.
        arguments: ``model``, ``actor``, the event-time window ``since``, ``until`` (Unix seconds, null = open), and
            ``least_rows`` (0 when left out): a look at fewer rows is given back, but not kept; ``follows``: as
            :meth:`~modelwright.ports.store.FindingStore.add_report`; ``settle_seconds``: leave out what is younger, for
            requests that began then may still be under way.

    Returns:
        ``report`` (a WatchReport as JSON), ``report_id``, ``order`` (the order to renew that follows, or null; its
        ``key`` is the key to run ``renew`` under) and ``undelivered`` (names of channels that failed).
    """
    report = steps.do("look", lambda: cast("Json", to_json(observe(platform, arguments))))
    seen = from_json(WatchReport, report, "the report")
    if seen.rows < int(arguments.get("least_rows", 0)):
        return {"report": report, "report_id": None, "order": None, "undelivered": []}

    def keep() -> int:
        act, follows = act_of(steps, arguments, "report"), arguments.get("follows")
        return platform.findings.add_report(seen, act=act, follows=follows)

    report_id = steps.do("keep report", keep)
    if not report_id:  # a round that was taken over after a crash kept it, and told of it
        return {"report": report, "report_id": None, "order": None, "undelivered": []}
    undelivered = steps.do("tell channels", lambda: tell(platform, seen))
    if undelivered:
        why = f"Not delivered: {', '.join(undelivered)}."
        facts: Json = {"undelivered": undelivered}
        note(platform, steps, arguments, action="watch.undelivered", model=seen.model, why=why, evidence=facts)
    order = steps.do("decide", lambda: decide(platform, steps, arguments, seen))
    return {"report": report, "report_id": report_id, "order": order, "undelivered": list(undelivered)}


def observe(platform: Platform, arguments: Json) -> WatchReport:
    """Compare what champion and canary saw with the champion's reference and its checked performance.

    Raises:
        NotFoundError: ``watch.not-deployed``: the model has no champion.
    """
    model = str(arguments["model"])
    number = platform.versions.alias(model, CHAMPION)
    if not number:
        raise NotFoundError(
            "watch.not-deployed", f"Model {model} has no champion to watch.", fix="Release or promote a version first."
        )
    version = platform.versions.version(model, number)
    package = package_codec.load(version.digest, platform.blobs.get)
    window = window_of(arguments, now=platform.clock.now())
    settled = platform.clock.now() - float(arguments.get("settle_seconds", 0.0))
    if arguments.get("settle_seconds"):
        window = Window(min(window.since if window else 0.0, settled), settled)
    rows = platform.log.joined(
        model, signature=package.signature, window=window, roles=("champion", "canary"), status=None
    )
    seen = seen_window(arguments, window, rows)
    if seen is not None and len(rows):
        seen = Window(seen.since, min(seen.until, settled) if arguments.get("settle_seconds") else seen.until)
    return look(package, rows, model=model, version=number, window=seen, expected=expected_of(version))


def seen_window(arguments: Json, window: Window | None, rows: Table) -> Window | None:
    """The window that was looked at: an open side ends where the rows end, not in 1970 or now."""
    if not len(rows):
        return window
    times = rows["event_time"]
    since, until = arguments.get("since"), arguments.get("until")
    first = float(times.min()) if since is None else float(since)
    return Window(first, float(times.max()) + CLOSING_SECONDS if until is None else float(until))


def expected_of(version: Version) -> dict[str, tuple[float, float, float]]:
    """Metric name to (value, low, high) as the version's check measured them."""
    metrics: Any = version.verdict.get("metrics", ())
    return {
        str(metric["name"]): (float(metric["value"]), float(metric["low"]), float(metric["high"])) for metric in metrics
    }


def tell(platform: Platform, report: WatchReport) -> dict[str, Json]:
    """Send what was found to every channel; name to error of those that failed, which never fails the story."""
    alert = alert_of(report, platform.clock.now())
    undelivered: dict[str, Json] = {}
    if alert is None:
        return undelivered
    for channel in platform.channels:
        try:
            channel.send(alert)
        except ModelwrightError as error:
            undelivered[channel.name] = error.to_json()
    return undelivered


def decide(platform: Platform, steps: Steps, arguments: Json, report: WatchReport) -> Json | None:
    """The order that follows from the report, written down; None where the policy asks for none."""
    orders = platform.findings.orders(report.model)
    last = datetime.fromisoformat(orders[0].at).timestamp() if orders else None
    order = due(report, policy_of(platform, report.model), last, platform.clock.now())
    if order is None:
        return None
    platform.findings.add_order(order, act=replace(act_of(steps, arguments, "order"), reason=order.reason))
    return cast("Json", to_json(order))
