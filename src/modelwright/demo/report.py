"""The demo's figures, by month, from the recorded rows; and the report a person reads."""

from __future__ import annotations

import calendar
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.demo.flights import MODEL
from modelwright.demo.year import Year
from modelwright.stats.metrics import log_loss, roc_auc

SCORE = '"output.probabilities.1"'
SERIES = {"maintained": "maintained", "static": "static (never renewed)"}
OUTCOMES = ("promoted", "refused", "rolled-back", "failed")  # how a renewal may end
CHART_WIDTH, CHART_HEIGHT = 300, 170  # about the width it is shown in, so that its text keeps its size
JUDGED_FROM = "2013-04"  # in March the two are the same version

# One row a prediction id: what the service answered, and what version 1 said (as shadow, or as the champion it was).
PAIRED = f"""
    select strftime(to_timestamp(min(event_time)) at time zone 'America/New_York', '%Y-%m') as month,
           max({SCORE}) filter (role in ('champion', 'canary')) as maintained,
           max({SCORE}) filter (version = '1') as static,
           max(truth) as truth
    from read_parquet(?)
    group by prediction_id
"""  # noqa: S608 - constants only


def monthly(predictions: Path) -> list[dict[str, Any]]:
    """Base rate, log loss and AUC of both services for each month (New York time) of an exported prediction log.

    Both are scored on the same flights: those with a truth and an answer of both. ``rows`` counts them, ``unpaired``
    the others.
    """
    import duckdb  # lazy: 100 ms

    rows = duckdb.execute(PAIRED, [str(predictions)]).fetchnumpy()
    columns = {name: np.ma.getdata(column) for name, column in rows.items()}
    known = ~np.any([np.ma.getmaskarray(np.ma.asarray(column)) for column in rows.values()], axis=0)
    table = []
    for month in np.unique(columns["month"][known].astype(str)):
        chosen = known & (columns["month"] == month)
        late = columns["truth"][chosen].astype(np.float64)
        static = columns["static"][chosen].astype(np.float64)
        table.append(
            {
                "month": str(month),
                "rows": int(chosen.sum()),
                "unpaired": int((columns["month"] == month).sum() - chosen.sum()),
                "base_rate": float(late.mean()),
                **_scores("static", late, static),
                **_scores("maintained", late, columns["maintained"][chosen].astype(np.float64)),
            }
        )
    return table


def _scores(name: str, late: NDArray[np.float64], score: NDArray[np.float64]) -> dict[str, float]:
    return {f"log_loss_{name}": float(log_loss(late, score)), f"auc_{name}": float(roc_auc(late, score))}


def report(year: Year, months: Sequence[Mapping[str, Any]], ledger: Mapping[str, Any]) -> dict[str, Any]:
    """Everything the demo claims, as one JSON object."""
    happened = {month.month: month for month in year.months}
    rows = [
        {
            **row,
            "findings": happened[row["month"]].findings,
            "renewals": happened[row["month"]].renewals,
            "promotions": happened[row["month"]].promotions,
            "refusals": happened[row["month"]].refusals,
        }
        for row in months
        if row["month"] in happened
    ]
    judged = [row for row in rows if row["month"] >= JUDGED_FROM]
    seconds = max(year.progress.seconds, 1e-9)
    return {
        "months": rows,
        "mean_log_loss_static": float(np.mean([row["log_loss_static"] for row in judged])),
        "mean_log_loss_maintained": float(np.mean([row["log_loss_maintained"] for row in judged])),
        "months_judged": len(judged),
        "months_better_log_loss": sum(row["log_loss_maintained"] < row["log_loss_static"] for row in judged),
        "months_better_auc": sum(row["auc_maintained"] > row["auc_static"] for row in judged),
        "unpaired": sum(row["unpaired"] for row in rows),
        "broken_candidate": year.broken,
        "ledger_verified": bool(ledger["verified"]),
        "ledger_entries": int(ledger["entries"]),
        "predictions": year.progress.predictions,
        "truths": year.progress.truths,
        "predictions_per_second": round(year.progress.predictions / seconds, 1),
        "told": {month.month: month.told for month in year.months},
    }


def stopped(figures: Mapping[str, Any]) -> bool:
    """True when a gate or the canary kept the broken candidate from becoming champion."""
    return not str(figures["broken_candidate"].get("stopped_by", "nothing")).startswith("nothing")


def succeeded(figures: Mapping[str, Any]) -> bool:
    """True when the maintained service was better, the broken candidate was stopped and the ledger verifies."""
    better = figures["mean_log_loss_maintained"] < figures["mean_log_loss_static"]
    return bool(better and stopped(figures) and figures["ledger_verified"])


def write(figures: Mapping[str, Any], folder: Path) -> None:
    """``report.json`` and ``report.html`` in the folder."""
    (folder / "report.json").write_text(json.dumps(figures, indent=2) + "\n")
    (folder / "report.html").write_text(html(figures))


def month_name(month: str) -> str:
    """``2013-03`` as ``March``."""
    return calendar.month_name[int(month[-2:])]


def html(figures: Mapping[str, Any]) -> str:
    """The self-contained page: figures, charts as SVG, a table by month, what was told."""
    from jinja2 import Environment, PackageLoader  # lazy: only the report needs it

    environment = Environment(loader=PackageLoader("modelwright.demo", "."), autoescape=True)
    environment.filters["month"] = month_name
    return environment.get_template("report.html.j2").render(
        figures=figures,
        model=MODEL,
        charts=charts(figures["months"]),
        stopped=stopped(figures),
        reasons=reasons(figures["broken_candidate"]),
        told_by_month=[told(row, figures["told"].get(row["month"], [])) for row in figures["months"]],
    )


def reasons(broken: Mapping[str, Any]) -> list[str]:
    """Why the broken candidate was stopped, a sentence each."""
    gates = [f"{gate['name']}: {gate['why']}" for gate in broken.get("gates", ())]
    return gates or [str(broken.get("reason", "It was not offered."))]


def told(row: Mapping[str, Any], lines: Sequence[str]) -> dict[str, Any]:
    """One month's part of the page: its findings in words, and how the renewal ended."""
    ends = [line for line in lines if line.partition(":")[0] in OUTCOMES]
    shown = [line for line in lines if line not in ends]
    return {
        "month": row["month"],
        "findings": row["findings"],
        "refused": row["refusals"],
        "outcome": ", ".join(line.partition(":")[0] for line in ends),
        "shown": len(shown),
        "lines": [line.replace(" -> ", "\N{NO-BREAK SPACE}\N{RIGHTWARDS ARROW} ") for line in [*shown, *ends]],
    }


def charts(months: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Log loss, AUC and base rate by month as SVG; none when the extra is not installed."""
    from modelwright.adapters.charts import altair  # lazy: an extra

    if not altair.available():
        return []
    drawn = []
    for metric, title in (("log_loss", "Log loss by month (smaller is better)"), ("auc", "AUC (greater is better)")):
        rows = [
            {"at": f"{row['month']}-01", "series": name, "value": row[f"{metric}_{who}"]}
            for row in months
            for who, name in SERIES.items()
        ]
        spec = altair.comparison_spec(rows, metric=title, series=tuple(SERIES.values()))
        drawn.append({"title": title, "svg": altair.to_svg(spec, width=CHART_WIDTH, height=CHART_HEIGHT)})
    rates = [{"at": f"{row['month']}-01", "value": row["base_rate"]} for row in months]
    spec = altair.base_rate_spec(rates, title="", months=True)
    svg = altair.to_svg(spec, width=CHART_WIDTH, height=CHART_HEIGHT)
    drawn.append({"title": "Flights more than 15 minutes late", "svg": svg})
    return drawn
