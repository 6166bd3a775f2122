"""The report as one HTML file: tables, static charts, and the command that repeats it."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from modelwright.interfaces.cli.bench_figures import TUNED, short, tuned_rows

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c232d}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:.25rem .6rem;border-bottom:1px solid #e6e9ee}
th:first-child,td:first-child{text-align:left}
th{color:#4a5361;font-weight:500}pre{background:#f4f6f9;padding:.8rem;overflow-x:auto}svg{max-width:100%;height:auto}
.doubt{color:#9a5b00}.wrong{color:#b3261e;font-weight:600}p.small{color:#4a5361;font-size:.9em}"""


def page(body: Mapping[str, Any]) -> str:
    """The file; ``body`` is what ``--json`` prints.

    Raises:
        UnavailableError: ``charts.not-installed``.
    """
    from modelwright.adapters.charts import altair  # lazy: an extra

    loads = [one for one in body["loads"] if one["p50"]["median"] == one["p50"]["median"]]
    charts = ""
    if len(loads) > 1:
        rows = [
            {"rate": one["rate"]["median"], "percentile": shown, "milliseconds": one[name]["median"]}
            for one in loads
            for name, shown in (("p50", "p50"), ("p99", "p99"))
        ]
        charts = altair.to_svg(altair.latency_spec(rows))
    parts = [
        f"<h1>{html.escape(body['model'])} under load</h1>",
        f"<p>{html.escape(body['asked'])}; {html.escape(body['server'])}.</p>",
        _capacity(body["capacity"]),
        charts,
        _loads(body["loads"]),
        _judgement(body),
        _tuned(body["tuned"]),
        _repeat(body),
    ]
    head = f"<meta charset=utf-8><title>{html.escape(body['model'])} under load</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def _capacity(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    word = "confirmed" if found["confirmed"] else "not confirmed"
    rounds = f"{found['rounds_within']} of {found['rounds']} rounds of its own kept it"
    says = f"<strong>{found['rate']:,.0f} requests/s</strong> keep p99 &le; {found['target_p99_ms']:g} ms"
    return f"<p>{says} ({word}: {rounds}).</p>" if found["rate"] else "<p>No rate that was tried keeps the target.</p>"


def _loads(loads: Sequence[Mapping[str, Any]]) -> str:
    if not loads:
        return ""
    heads = ["load", "answers/s", "rounds", "p50 ms", "p90", "p99", "p99.9", "max", "failed", "per run", "server cores"]
    rows = [
        [
            one["load"],
            f"{one['rate']['median']:,.0f}",
            f"{one['rate']['low']:,.0f} - {one['rate']['high']:,.0f}",
            *(short(one[name]["median"]) for name in ("p50", "p90", "p99", "p999", "most")),
            f"{sum(one['errors'].values()) + one['unanswered']:,}",
            short(one["requests_per_run"]),
            short(one["server_cores"]),
        ]
        for one in loads
    ]
    begin = {"due": "a request was due (open loop)", "sent": "it was sent (closed loop)"}[loads[0]["latency_from"]]
    note = f"Medians of {loads[0]['rounds']} rounds of {loads[0]['seconds']:.2g} s. Latency counts from when {begin}."
    return f"<h2>Loads</h2>{_table(heads, rows)}<p class=small>{note}</p>"


def _judgement(body: Mapping[str, Any]) -> str:
    checked = body["answers"]
    words = f"{checked['compared']} answers were compared with what is right, {checked['wrong']} of them were wrong."
    lines = [f"<p{' class=wrong' if checked['wrong'] else ''}>{words}</p>"]
    lines += [
        f"<p{' class=doubt' if limit['doubt'] else ''}>{html.escape(limit['says'])}</p>" for limit in body["limits"]
    ]
    return f"<h2>What limits it</h2>{''.join(lines)}"


def _tuned(tuned: Sequence[Mapping[str, Any]]) -> str:
    if not tuned:
        return ""
    return f"<h2>Settings</h2>{_table(TUNED, tuned_rows(tuned, no_better=''))}"


def _repeat(body: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in body["versions"].items())
    settings = ", ".join(f"{name}={value}" for name, value in body.get("settings", {}).items())
    where = f"{body['machine']}, load {body['load_average']} at the start. {versions}. {settings}"
    data = json.dumps(body, default=str).replace("<", "\\u003c")
    return (
        f"<h2>Repeat it</h2><pre>{html.escape(body['command'])}</pre><p class=small>{html.escape(where)}</p>"
        f"<script type=application/json id=figures>{data}</script>"
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{html.escape(head)}</th>" for head in heads)
    lines = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows)
    return f"<table><tr>{top}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
