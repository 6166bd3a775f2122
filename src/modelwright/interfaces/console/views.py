"""What each page shows, read from the ports: plain values for the templates, no HTML."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelwright.core import package_codec
from modelwright.core.errors import ModelwrightError
from modelwright.core.finding import WatchReport
from modelwright.core.package import Package
from modelwright.core.unjailed import unjailed
from modelwright.core.version import Route, Version
from modelwright.interfaces.console import figures
from modelwright.interfaces.console.drawing import drawing, in_words
from modelwright.lifecycle.cards import version_card
from modelwright.lifecycle.signed import signed_state
from modelwright.pack.card_forms import markdown
from modelwright.pack.card_record import Card
from modelwright.ports.platform import Platform
from modelwright.ports.record import ArmCount

LIVE_SECONDS = 15 * 60
LEDGER_PAGE = 100
FAILING_SHARE = 0.01
ROUTED = ("champion", "canary")  # what the route sent; a version that somebody asked for by name says nothing of it
MOST_FINDINGS, MOST_VERSIONS = 6, 12  # shown at once; the rest unfolds
SPARK = (96, 24)  # width and height of a sparkline in pixels


@dataclass(frozen=True, slots=True)
class Health:
    """``tone`` is the chip's colour: ``good``, ``info``, ``warn``, ``bad`` or ``mute``."""

    tone: str
    says: str


def health(route: Route | None, live: Sequence[ArmCount], report: WatchReport | None) -> Health:
    """One word on a deployed model, the worst thing first."""
    if route is None or not route.arms:
        return Health("mute", "not deployed")
    answered = sum(arm.ok + arm.failed for arm in live if arm.role in ROUTED)
    failed = sum(arm.failed for arm in live if arm.role in ROUTED)
    if answered and failed / answered > FAILING_SHARE:
        return Health("bad", "failing")
    severities = {finding.severity for finding in report.findings} if report else set()
    if "critical" in severities:
        return Health("bad", "needs attention")
    if len(route.arms) > 1:
        return Health("info", "rolling out")
    return Health("warn", "look at findings") if "warning" in severities else Health("good", "healthy")


def spark(values: Sequence[float]) -> str:
    """Points of an SVG polyline for a sparkline; empty for fewer than two values."""
    if len(values) < 2:
        return ""
    width, height = SPARK
    low, high = min(values), max(values)
    span, step = (high - low) or 1.0, (width - 4) / (len(values) - 1)
    return " ".join(
        f"{2 + index * step:.1f},{height - 3 - (value - low) / span * (height - 6):.1f}"
        for index, value in enumerate(values)
    )


def primary(reports: Sequence[WatchReport], report: WatchReport | None) -> dict[str, Any] | None:
    """The first metric of the latest report that has one, with its course, whichever version answered."""
    measured = next((one for one in (report, *reports) if one is not None and one.performance), None)
    if measured is None:
        return None
    name = figures.metric_names([measured])[0]
    value, low, high = measured.performance[name]
    course = [one.performance[name][0] for one in reversed(reports) if name in one.performance]
    return {"name": name, "value": value, "low": low, "high": high, "spark": spark(course[-24:])}


def fleet(platform: Platform) -> list[dict[str, Any]]:
    """One row per model: what answers, how well, how much, and the last change."""
    rows = []
    for model in platform.versions.models():
        route = platform.routes.route(model)
        live = platform.log.arms(model, since=platform.clock.now() - LIVE_SECONDS)
        reports = figures.reports_of(platform, model)
        report = figures.latest_report(platform, model, reports)
        history = platform.versions.alias_history(model)
        rows.append(
            {
                "model": model,
                "champion": platform.versions.alias(model, "champion"),
                "arms": route.arms if route else (),
                "shadows": route.shadows if route else (),
                "health": health(route, live, report),
                "live": live_totals(live),
                "metric": primary(reports, report),
                "findings": len(report.findings) if report else None,
                "change": history[-1] if history else None,
            }
        )
    return rows


def live_totals(live: Sequence[ArmCount]) -> dict[str, Any]:
    """Requests and failures, and of the slowest answering version the p95 and mean seconds in the runner."""
    answering = [arm for arm in live if arm.role in ROUTED]
    return {
        "requests": sum(arm.ok + arm.failed for arm in answering),
        "failed": sum(arm.failed for arm in answering),
        "p95": max((arm.p95_duration for arm in answering if arm.p95_duration is not None), default=None),
        "mean": max((arm.mean_duration for arm in answering if arm.ok), default=None),
    }


def traffic(platform: Platform, model: str, route: Route | None) -> list[dict[str, Any]]:
    """Per version and role: weight now, the last minutes, and everything recorded."""
    now = {(arm.version, arm.role): arm for arm in platform.log.arms(model, since=platform.clock.now() - LIVE_SECONDS)}
    total = {(arm.version, arm.role): arm for arm in platform.log.arms(model, since=0.0)}
    arms = (*route.arms, *route.shadows) if route else ()
    placed: dict[tuple[str, str], float] = {(arm.version, arm.role): arm.weight for arm in arms}
    # What is placed first, champion before shadow; then the past, newest version first.
    keys = sorted({*now, *total, *placed}, key=lambda key: (key not in placed, -int(key[0]), key[1]))
    return [
        {"version": key[0], "role": key[1], "weight": placed.get(key), "live": now.get(key), "total": total.get(key)}
        for key in keys
    ]


def timeline(platform: Platform, versions: Sequence[Version], model: str) -> list[dict[str, Any]]:
    """One entry per version, newest first: its registration, and every span in which an alias named it, with why."""
    spans: dict[str, list[dict[str, Any]]] = {version.number: [] for version in versions}
    open_spans: dict[str, dict[str, Any]] = {}
    for move in platform.versions.alias_history(model):
        ended = open_spans.pop(move.alias, None)
        if ended is not None:
            ended["until"] = move.at
        if move.to_version:
            tone = {"champion": "good", "challenger": "info"}.get(move.alias, "mute")
            span = {"alias": move.alias, "since": move.at, "until": None, "by": move.by, "why": move.why, "tone": tone}
            spans.setdefault(move.to_version, []).append(span)
            open_spans[move.alias] = span
    return [
        {
            "version": version,
            "passed": version.verdict.get("passed"),
            "spans": spans[version.number],
            "now": [span["alias"] for span in spans[version.number] if span["until"] is None],
        }
        for version in reversed(versions)
    ]


def model_page(platform: Platform, model: str, *, metric: str = "") -> dict[str, Any]:
    """Everything on a model's page. Raises NotFoundError for an unknown model."""
    versions = platform.versions.versions(model)
    route = platform.routes.route(model)
    reports = figures.reports_of(platform, model)
    report = figures.latest_report(platform, model, reports)
    metrics = figures.metric_names(reports)
    chosen = metric if metric in metrics else next(iter(metrics), "")
    champion = platform.versions.alias(model, "champion")
    live = platform.log.arms(model, since=platform.clock.now() - LIVE_SECONDS)
    columns = figures.ranked_columns(report) if report else []
    drawn = [figures.column(one) for one in columns if one.bins][: figures.MOST_COLUMN_CHARTS]
    return {
        "model": model,
        "champion": next((version for version in versions if version.number == champion), None),
        "versions": versions[::-1],
        "unjailed": without_jail(platform, champion, versions),
        "graph": drawn_graph(platform, next((v for v in versions if v.number == champion), versions[-1])),
        "aliases": dict(platform.versions.aliases(model)),
        "health": health(route, live, report),
        "live": live_totals(live),
        "traffic": traffic(platform, model, route),
        "report": report,
        "findings": sorted(report.findings, key=lambda finding: finding.rank or 999) if report else [],
        "reports": reports[:20],
        "primary": primary(reports, report),
        "metrics": metrics,
        "metric": chosen,
        "performance": figures.performance(reports, chosen) if chosen else None,
        "base_rate": figures.base_rate(reports),
        "traffic_chart": figures.traffic(platform, model),
        "columns": columns,
        "column_charts": drawn,
        "timeline": timeline(platform, versions, model),
        "history": platform.versions.alias_history(model)[::-1],
        "ledger": newest(platform, subject=model, limit=12),
        "live_minutes": LIVE_SECONDS // 60,
        "most_findings": MOST_FINDINGS,
        "most_versions": MOST_VERSIONS,
    }


def without_jail(platform: Platform, champion: str, versions: Sequence[Version]) -> tuple[str, ...]:
    """Names of the models in the champion that run as code without a jail; none where it cannot be read."""
    try:
        held = [version for version in versions if version.number == champion]
        return tuple(name for v in held for name in unjailed(package_codec.load(v.digest, platform.blobs.get)))
    except ModelwrightError:
        return ()


def drawn_graph(platform: Platform, version: Version) -> dict[str, Any] | None:
    """Drawing and words of a version that is a graph; None of any other, and of one that cannot be read."""
    try:
        graph = package_codec.load(version.digest, platform.blobs.get).graph
    except ModelwrightError:
        return None
    if graph is None:
        return None
    title = f"The graph of {version.model} version {version.number}"
    return {"svg": drawing(graph, title=title), "words": in_words(graph), "answer": graph.answer, "version": version}


def card_of_version(platform: Platform, model: str, reference: str) -> tuple[str, Card]:
    """The version's number and its model card.

    Raises:
        NotFoundError, CorruptError: the package's bytes are gone or damaged.
    """
    version = platform.versions.version(model, reference)
    return version.number, version_card(version, package_codec.load(version.digest, platform.blobs.get))


def version_page(platform: Platform, model: str, reference: str) -> dict[str, Any]:
    """Card, signature, verdict, certificate and lineage of one version.

    A package that cannot be read (damaged, gone) is shown as such; the registry's own record still is.
    """
    version = platform.versions.version(model, reference)
    package: Package | None = None
    broken: ModelwrightError | None = None
    card, names = "", tuple[str, ...]()
    try:
        package = package_codec.load(version.digest, platform.blobs.get)
        names = unjailed(package)
        card = markdown(version_card(version, package))
    except ModelwrightError as error:
        broken = error
    aliases = platform.versions.aliases(model)
    return {
        "model": model,
        "version": version,
        "package": package,
        "graph": drawn_graph(platform, version),
        "unjailed": names,
        "broken": broken,
        "card": card,
        "aliases": sorted(name for name, number in aliases.items() if number == version.number),
        "signed": signed_state(platform, version.digest),
        "lineage": {
            "data": version.lineage.data_digest,
            "code": version.lineage.code_revision,
            "environment": version.lineage.environment_digest,
            "parent version": version.lineage.parent_version,
            "order": version.lineage.order,
        },
    }


def newest(platform: Platform, *, subject: str | None = None, before: int = 0, limit: int = LEDGER_PAGE) -> list[Any]:
    """The last entries (before a sequence number, if given), newest first."""
    entries = platform.ledger.entries(subject=subject)
    kept = deque((entry for entry in entries if not before or entry.sequence < before), maxlen=limit)
    return list(reversed(kept))
