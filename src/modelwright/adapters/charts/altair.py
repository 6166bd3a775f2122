"""Specifications with Altair, static SVG and the browser bundle with vl-convert (extra ``console``).

Every ``*_spec`` function is pure: rows in, a Vega-Lite JSON object out. Colours that work on light and dark ground are
set here; axes and text follow the page (``charts.js``) or, in :func:`to_svg`, a light report.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from modelwright.core.errors import UnavailableError

Json = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]

INSTALL = "pip install 'modelwright[console]'"
SERIES = ("#3b73c8", "#d9822b", "#2f9e77", "#a657c9", "#c2454f", "#7d8794")
REFERENCE, CURRENT = "#98a3b3", SERIES[0]
_ROLES = {"champion": SERIES[0], "canary": SERIES[1], "shadow": SERIES[5], "pinned": SERIES[3]}
WIDTH, HEIGHT = 560, 220
_SHAPES, _TONES = {"worse": "triangle-down", "better": "triangle-up"}, {"worse": SERIES[4], "better": SERIES[2]}
_REPORT_CONFIG: Json = {
    "background": "#ffffff",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {"gridColor": "#e6e9ee", "domainColor": "#c5ccd6", "tickColor": "#c5ccd6", "labelColor": "#4a5361"},
}


def available() -> bool:
    """True when the extra ``console`` is installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("altair", "vl_convert"))


def _altair() -> Any:
    try:
        import altair as alt  # lazy: an extra, and pages without charts do not need it
    except ImportError as error:
        raise UnavailableError("charts.not-installed", "Charts need an extra.", fix=f"Run {INSTALL}.") from error
    return alt


def _vl_convert() -> Any:
    try:
        import vl_convert  # lazy: an extra with a JavaScript engine inside
    except ImportError as error:
        raise UnavailableError("charts.not-installed", "Charts need an extra.", fix=f"Run {INSTALL}.") from error
    return vl_convert


def _spec(chart: Any, description: str) -> Json:
    spec: Json = chart.to_dict()
    spec.pop("config", None)
    return spec | {"description": description, "width": "container", "height": HEIGHT, "autosize": {"type": "fit-x"}}


def performance_spec(rows: Rows, *, metric: str, percent: bool = False) -> Json:
    """A metric by window as one line with its interval as a band, and the version that answered beside each turn.

    A service changes its version while its quality goes on, so the line is the service's; a label says where a version
    begins.

    Args:
        rows: ``at`` (ISO 8601, the window's middle), ``since`` and ``until`` (its ends), ``version``, ``value``,
            ``low``, ``high``, in the order of time.
        metric: name on the axis.
        percent: show shares as percentages.
    """
    alt = _altair()
    shape = ".1%" if percent else ".3~g"
    before = [None, *(row["version"] for row in rows)]
    values = [
        {**row, "label": f"v{row['version']}" if row["version"] != last else ""}
        for row, last in zip(rows, before, strict=False)
    ]
    base = alt.Chart(alt.Data(values=values)).encode(x=_when(alt))
    low = alt.Y("low:Q", title=metric, scale=alt.Scale(zero=False), axis=alt.Axis(format=shape))
    band = base.mark_area(opacity=0.16, color=SERIES[0]).encode(y=low, y2="high:Q")
    bars = base.mark_rule(opacity=0.55, color=SERIES[0], strokeWidth=2).encode(y="low:Q", y2="high:Q")
    line = base.mark_line(
        strokeWidth=2, color=SERIES[0], point={"size": 36, "filled": True, "color": SERIES[0]}
    ).encode(
        y="value:Q",
        tooltip=[
            alt.Tooltip("version:N"),
            alt.Tooltip("since:N", title="from"),
            alt.Tooltip("until:N", title="to"),
            alt.Tooltip("value:Q", title=metric, format=shape),
            alt.Tooltip("low:Q", format=shape),
            alt.Tooltip("high:Q", format=shape),
        ],
    )
    names = base.mark_text(dy=-11, fontSize=11, color=SERIES[5], clip=False).encode(y="high:Q", text="label:N")
    return _spec(band + bars + line + names, f"{metric} by window with its 95 % interval; labels name a new version")


def _when(alt: Any, shape: str = "%Y-%m-%d") -> Any:
    # UTC, as every other time of the product: the browser's own zone would move a month's end into the next month.
    axis = alt.Axis(format=shape, labelOverlap=True, tickCount=6, grid=False, labelFlush=False)
    return alt.X("at:T", title=None, scale=alt.Scale(type="utc", padding=14), axis=axis)


def comparison_spec(rows: Rows, *, metric: str, series: Sequence[str]) -> Json:
    """A metric by month, one line for each series: the first drawn full, the others dashed.

    Args:
        rows: ``at`` (ISO 8601), ``series`` and ``value``.
        metric: what the figures are, for the description.
        series: the names, in the order of the legend.
    """
    alt = _altair()
    names = list(series)
    colours = alt.Scale(domain=names, range=list(SERIES[: len(names)]))
    dashes = alt.Scale(domain=names, range=[[1, 0], *([[5, 3]] * (len(names) - 1))])
    legend = alt.Legend(orient="top", symbolType="stroke", symbolStrokeWidth=3, labelLimit=240)
    chart = (
        alt.Chart(alt.Data(values=[dict(row) for row in rows]))
        .mark_line(strokeWidth=2, point={"size": 30, "filled": True})
        .encode(
            x=_when(alt, "%b"),
            y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(format=".3~g", tickCount=5)),
            color=alt.Color("series:N", title=None, scale=colours, legend=legend),
            strokeDash=alt.StrokeDash("series:N", title=None, scale=dashes, legend=legend),
            tooltip=["series:N", alt.Tooltip("value:Q", title=metric, format=".4~g")],
        )
    )
    return _spec(chart, f"{metric} by month: {', '.join(names)}")


def base_rate_spec(rows: Rows, *, title: str = "base rate", months: bool = False) -> Json:
    """The share of the positive class by window.

    Args:
        rows: ``at`` (ISO 8601) and ``value`` (a share).
        title: name on the axis; empty for none.
        months: write months on the time axis, not days.
    """
    alt = _altair()
    chart = (
        alt.Chart(alt.Data(values=[dict(row) for row in rows]))
        .mark_line(strokeWidth=2, color=SERIES[5], point={"size": 36, "filled": True, "color": SERIES[5]})
        .encode(
            x=_when(alt, "%b" if months else "%Y-%m-%d"),
            y=alt.Y(
                "value:Q", title=title or None, scale=alt.Scale(zero=False), axis=alt.Axis(format=".0%", tickCount=4)
            ),
            tooltip=[
                alt.Tooltip("at:T", title="window around", format="%Y-%m-%d"),
                alt.Tooltip("value:Q", title=title or "share", format=".1%"),
            ],
        )
    )
    return _spec(chart, f"{title or 'share'} by window") | {"height": 120}


def columns_spec(
    column: str, bins: Sequence[str], reference: Sequence[float], current: Sequence[float], *, title: str = ""
) -> Json:
    """Shares per bin of one column, reference beside window.

    Args:
        column: the column's name.
        bins: names of the bins, in order.
        reference: share per bin in the reference (adds up to 1).
        current: share per bin in the window.
        title: heading inside the chart; empty for none.
    """
    alt = _altair()
    values = [
        {"bin": name, "order": order, "series": series, "share": float(share)}
        for series, shares in (("reference", reference), ("window", current))
        for order, (name, share) in enumerate(zip(bins, shares, strict=True))
    ]
    chart = (
        alt.Chart(alt.Data(values=values))
        .mark_bar()
        .encode(
            x=alt.X(
                "bin:N",
                title=None,
                sort=alt.SortField("order"),
                axis=alt.Axis(labelAngle=-40, labelLimit=110, labelOverlap=True),
            ),
            xOffset=alt.XOffset("series:N"),
            y=alt.Y("share:Q", title=None, axis=alt.Axis(format=".0%", tickCount=4)),
            color=alt.Color(
                "series:N",
                title=None,
                scale=alt.Scale(domain=["reference", "window"], range=[REFERENCE, CURRENT]),
                legend=alt.Legend(orient="top"),
            ),
            tooltip=["bin:N", "series:N", alt.Tooltip("share:Q", format=".1%")],
        )
    )
    spec = _spec(chart, f"Shares per bin of column {column}: reference and window") | {"height": 140}
    return spec | ({"title": title} if title else {})


def traffic_spec(rows: Rows) -> Json:
    """Answered requests by version (newest first) and role.

    Args:
        rows: ``version``, ``role``, ``requests`` (count).
    """
    alt = _altair()
    present = {row["role"] for row in rows}
    versions = sorted({str(row["version"]) for row in rows}, key=lambda name: (len(name), name), reverse=True)
    roles = {role: colour for role, colour in _ROLES.items() if role in present}
    chart = (
        alt.Chart(alt.Data(values=[dict(row) for row in rows]))
        .mark_bar()
        .encode(
            y=alt.Y("version:N", title="version", sort=versions, axis=alt.Axis(labelAngle=0)),
            x=alt.X("requests:Q", title="requests", axis=alt.Axis(format=",d", tickCount=4), stack="zero"),
            color=alt.Color(
                "role:N",
                title=None,
                scale=alt.Scale(domain=list(roles), range=list(roles.values())),
                legend=alt.Legend(orient="top"),
            ),
            tooltip=["version:N", "role:N", alt.Tooltip("requests:Q", format=",")],
        )
    )
    return _spec(chart, "Requests by version and role") | {"height": 24 * len(versions)}


def latency_spec(rows: Rows) -> Json:
    """Latency by answers per second, one line for each percentile; both axes in tenfold steps.

    Args:
        rows: ``rate`` (answers per second), ``percentile`` (name of the line), ``milliseconds``.
    """
    alt = _altair()
    names = sorted({str(row["percentile"]) for row in rows})
    scale = alt.Scale(type="log", nice=False, padding=14)
    chart = (
        alt.Chart(alt.Data(values=[dict(row) for row in rows]))
        .mark_line(strokeWidth=2, point={"size": 36, "filled": True})
        .encode(
            x=alt.X("rate:Q", title="answers per second", scale=scale, axis=alt.Axis(format="~s")),
            y=alt.Y("milliseconds:Q", title="ms", scale=scale, axis=alt.Axis(format="~g", tickCount=5)),
            color=alt.Color(
                "percentile:N",
                title=None,
                scale=alt.Scale(domain=names, range=list(SERIES[: len(names)])),
                legend=alt.Legend(orient="top", symbolType="stroke", symbolStrokeWidth=3),
            ),
            tooltip=[
                "percentile:N",
                alt.Tooltip("rate:Q", format=",.0f"),
                alt.Tooltip("milliseconds:Q", format=".3~g"),
            ],
        )
    )
    return _spec(chart, f"Latency by answers per second: {', '.join(names)}")


def intervals_spec(chart: Mapping[str, Any]) -> Json:
    """Figures with their intervals, one under the other, and a dashed line to compare them with.

    What a mark says is in its shape as well as in its colour.

    Args:
        chart: ``title``; ``axis`` (its name); ``marks``, each with ``name``, ``value``, ``low``, ``high`` and ``says``
            (a few words that marks share, or empty); ``line`` (a figure, or None), of which the title speaks;
            ``from_zero`` (whether the axis begins at 0).
    """
    alt = _altair()
    values = [dict(mark) for mark in chart["marks"]]
    kinds = list(dict.fromkeys(mark["says"] for mark in values))
    names = alt.Y("name:N", title=None, sort=[mark["name"] for mark in values], axis=alt.Axis(labelLimit=220))
    base = alt.Chart(alt.Data(values=values)).encode(y=names)
    scale = alt.Scale(zero=True) if chart["from_zero"] else alt.Scale(zero=False, padding=8)
    low = alt.X("low:Q", title=chart["axis"], scale=scale, axis=alt.Axis(tickCount=6))
    legend = alt.Legend(orient="top", title=None, labelLimit=320, columns=1) if any(kinds) else None
    shapes = alt.Scale(domain=kinds, range=[_SHAPES.get(kind.split(" ")[0], "circle") for kind in kinds])
    colours = alt.Scale(domain=kinds, range=[_TONES.get(kind.split(" ")[0], SERIES[0]) for kind in kinds])
    bars = base.mark_rule(strokeWidth=2, color=SERIES[5]).encode(x=low, x2="high:Q")
    points = base.mark_point(filled=True, size=80, opacity=1).encode(
        x="value:Q",
        shape=alt.Shape("says:N", scale=shapes, legend=legend),
        color=alt.Color("says:N", scale=colours, legend=legend),
    )
    layers = bars + points
    if chart["line"] is not None:
        at = alt.Chart(alt.Data(values=[{"line": chart["line"]}])).encode(x="line:Q")
        layers += at.mark_rule(strokeDash=[4, 3], color=SERIES[5])
    # Fonts differ: names may be wider where they are shown than where they were measured.
    return _spec(layers, chart["title"]) | {
        "height": 26 * len(values),
        "padding": {"left": 36, "right": 8, "bottom": 12},
    }


def intervals_svg(chart: Any) -> str:
    """A chart record with the fields that :func:`intervals_spec` takes, as a static SVG."""
    return to_svg(intervals_spec(asdict(chart)))


def to_svg(spec: Mapping[str, Any], *, width: int = WIDTH, height: int | None = None) -> str:
    """The chart as a static SVG for a report on a light ground (about 30 ms).

    Args:
        spec: what a ``*_spec`` function gave.
        width: pixels, where the specification leaves the width to its container.
        height: pixels of the drawing itself; left out, the specification's own.
    """
    fixed = {key: value for key, value in spec.items() if key != "autosize"}
    if fixed.get("width") == "container":
        fixed["width"] = width
    if height is not None:
        fixed["height"] = height
    svg: str = _vl_convert().vegalite_to_svg(fixed, config=_REPORT_CONFIG, allowed_base_urls=[])
    return svg


@functools.cache
def javascript_bundle() -> bytes:
    """Vega, Vega-Lite and vega-embed as one script that sets ``window.vegaEmbed`` (0.9 MB, made once, about 1 s)."""
    bundle: str = _vl_convert().javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle.encode()
