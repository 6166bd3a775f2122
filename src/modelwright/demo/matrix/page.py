"""The matrix as a page of Markdown and as JSON."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from modelwright.demo.matrix.measure import Effort
from modelwright.demo.matrix.result import Agreement, Latency, Row, State

MADE = "<!-- made by `modelwright frameworks --matrix`; run it (or `make matrix`) again instead of editing -->\n\n"
LIBRARIES = (
    *("onnxruntime", "numpy", "scikit-learn", "skl2onnx", "xgboost-cpu", "lightgbm", "catboost"),
    *("torch", "tensorflow", "statsmodels", "river", "mlflow"),
)
EXPLAINED = """\
Each row is a real model: trained on 300 rows, packed with 60 others as examples, written to a file, opened again and
loaded. *Parity* is the package's certificate on the examples; *new rows* compares the packed model's answers to 100
rows that packing has not seen with the framework's own. Both say the largest difference (of a probability, or of a
value relative to max(1, |value|)) and the rows whose label differs (of values: that differ by more than 0.001; ties
of probabilities do not count).

*Pack* is the time to convert, prove and write a package. *Packed* and *own* are the times of one row, in the same
process: the package through our runner (a graph in this process, code in its jailed one) and the call of the
framework that gives the same answer, both with the row prepared before and one thread each. They run in turn; a
figure is the median of the rounds' medians, with the fastest and the slowest round. *Times* is the median of own /
packed in the same round: above 1 the package is faster. What loses says why.
"""


def as_json(rows: Sequence[Row], effort: Effort, found: Mapping[str, Any]) -> dict[str, Any]:
    """Everything, with what it ran on. Times in seconds."""
    return {**found, "rounds": effort.rounds, "rows": [asdict(row) for row in rows]}


def machine() -> dict[str, Any]:
    """What it runs on, and the day (UTC)."""
    place = Path("/proc/cpuinfo")
    lines = place.read_text().splitlines() if place.exists() else []
    processor = next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), platform.machine())
    return {
        "when": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def page(rows: Sequence[Row], effort: Effort, found: Mapping[str, Any]) -> str:
    """The page; ``found`` is what :func:`machine` says of where the rows ran, with the day (``when``)."""
    libraries = ", ".join(f"{name} {held}" for name, held in found["libraries"].items())
    states = Counter(row.state for row in rows)
    parts = [
        MADE + "# What packs how\n",
        EXPLAINED,
        (
            f"{found['when']}; {found['processor']}, {found['cores']} cores, load {found['load']:.1f} at the end; "
            f"{effort.rounds} rounds; Python {found['python']}, {libraries}.\n"
        ),
        f"{len(rows)} combinations: {_counted(states)}. {_races(rows)}\n",
    ]
    for family in dict.fromkeys(row.family for row in rows):
        parts += [f"## {family}\n", *_table([row for row in rows if row.family == family])]
    return "\n".join(parts)


def _counted(states: Mapping[State, int]) -> str:
    words: dict[State, str] = {
        "packed": "packed",
        "refused": "refused as they should be",
        "skipped": "skipped",
        "failed": "failed",
    }
    return ", ".join(f"{states[state]} {says}" for state, says in words.items() if states.get(state))


def _races(rows: Sequence[Row]) -> str:
    graphs = [row for row in rows if row.route == "ONNX" and row.ratio is not None]
    code = [row for row in rows if row.route == "native" and row.ratio is not None]
    won, won_code = (sum((row.ratio or 0) >= 1 for row in each) for each in (graphs, code))
    return (
        f"Of {len(graphs)} models on the route ONNX {won} answer one row sooner than their framework, of {len(code)} "
        f"that run as code {won_code}."
    )


def _table(rows: Sequence[Row]) -> list[str]:
    head = ("model", "data", "route", "parity", "new rows", "pack, s", "bytes", "packed, us", "own, us", "times")
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    told: dict[str, list[str]] = {}
    for row in rows:
        lines.append(f"| {' | '.join(_cells(row))} |")
        for says in _told(row):
            told.setdefault(says, []).append(f"{row.model} on {row.data}")
    lines.append("")
    for says, whose in told.items():
        named = "" if says.startswith("ONNX.") else f"{'; '.join(whose)}: "  # the column says which they are
        lines.append(f"- {named}{_safe(says)}")
    return [*lines, ""]


def _cells(row: Row) -> list[str]:
    if row.state in {"skipped", "refused"} or row.packed is None or row.own is None:
        state = row.state + (f": `{row.code}`" if row.code else "")
        return [row.model, row.data, state, *["-"] * 7]
    route = row.route if row.state == "packed" else f"failed: `{row.code}`"
    cells = [row.model, row.data, route, _agreement(row.certificate), _agreement(row.new), f"{row.pack_seconds:.2f}"]
    return [*cells, f"{row.package_bytes:,}", _latency(row.packed), _latency(row.own), _times(row.ratio)]


def _told(row: Row) -> list[str]:
    """What the table has no room for."""
    if row.state == "skipped":
        return [f"skipped. {row.why}"]
    if row.state in {"refused", "failed"}:
        return [f"{row.state}, `{row.code}`. {row.message} {row.why}".strip()]
    slower = [f"slower than its framework. {row.slower}"] if row.slower else []
    return [*([f"{row.route}. {row.why}"] if row.why else []), *slower]


def _agreement(found: Agreement | None) -> str:
    return f"{found.difference:.1e}, {found.flips} of {found.rows}" if found else "no other model"


def _latency(found: Latency) -> str:
    return f"{_micro(found.median)} ({_micro(found.low)} - {_micro(found.high)})"


def _micro(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f}" if seconds >= 1e-5 else f"{seconds * 1e6:.1f}"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2f}"


def _safe(text: str) -> str:
    """One line that Markdown leaves as it is."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
