"""What was measured: one body for ``--json`` and the HTML report, and its tables and plot for a terminal."""

from __future__ import annotations

import functools
import operator
import os
import platform
import shlex
import shutil
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from modelwright.bench.answers import Checked
from modelwright.bench.capacity import CONFIRMATIONS, Search
from modelwright.bench.facts import Facts
from modelwright.bench.figures import spread
from modelwright.bench.limits import Limit, limits
from modelwright.bench.session import Point, said
from modelwright.bench.tune import Compared
from modelwright.core.about import __version__
from modelwright.interfaces.cli.bench_figures import TUNED, short, tuned_rows
from modelwright.interfaces.cli.output import print_table

LATENCIES = {"p50": "p50", "p90": "p90", "p99": "p99", "p999": "p99.9", "most": "max"}
PACKAGES = ("numpy", "onnxruntime", "uvloop", "httptools")
BAR = 48
WIDE = 125
NOT_IF_NARROW = frozenset({"rounds", "p90 ms", "p99.9 ms", "generator"})


@dataclass(slots=True)
class Report:
    """Everything known so far; filled while measuring, so that an interrupted run still tells."""

    setup: dict[str, Any]
    points: list[Point] = field(default_factory=list)
    target_ms: float | None = None
    search: Search | None = None
    tuned: list[Compared] = field(default_factory=list)
    chosen: dict[str, Any] | None = None
    workers: int | None = None
    interrupted: bool = False

    @property
    def judged(self) -> Point | None:
        """The load whose figures tell what limits the server: the capacity, else the one with the most answers."""
        measured = [point for point in self.points if point.rounds]
        if self.search is not None and self.search.rate:
            return next((point for point in measured if point.load.rate == self.search.rate), None)
        return max(measured, key=lambda point: _median(point, "rate"), default=None)

    @property
    def checked(self) -> Checked:
        """All sampled answers."""
        return sum((one.checked for point in self.points for one in point.rounds), Checked())

    @property
    def limits(self) -> list[Limit]:
        """What limits it."""
        cores = len(os.sched_getaffinity(0))
        return limits(self.judged.rounds, workers=self.workers, cores=cores) if self.judged else []


def setup(argv: Sequence[str]) -> dict[str, Any]:
    """The machine, the versions, and the command that repeats it (without the token)."""
    words, hidden = [], False
    for word in argv:
        words.append("@TOKEN_FILE" if hidden and not word.startswith("@") else word)
        hidden = word == "--token"
        if word.startswith("--token=") and not word.startswith("--token=@"):
            words[-1] = "--token=@TOKEN_FILE"
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), platform.machine())
    return {
        "command": shlex.join(["modelwright", *words]),
        "machine": f"{model}, {len(os.sched_getaffinity(0))} cores, {platform.system()} {platform.release()}",
        "load_average": round(os.getloadavg()[0], 2),
        "versions": {
            "modelwright": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
    }


def body_of(report: Report) -> dict[str, Any]:
    """The report as JSON."""
    found = report.search
    capacity = None
    if found is not None:
        capacity = {
            "target_p99_ms": report.target_ms,
            "rate": found.rate,
            "confirmed": found.settled,
            "rounds": found.confirmed,
            "rounds_within": found.holding,
            "p99_ms": found.confirmed_p99,
            "failed_at": found.failed,
            "trials": [asdict(trial) for trial in found.trials],
        }
    return {
        **report.setup,
        "loads": [_load(point) for point in report.points if point.rounds],
        "answers": asdict(report.checked),
        "limits": [asdict(limit) for limit in report.limits],
        "capacity": capacity,
        "tuned": [
            {
                "settings": dict(one.candidate.changes),
                "rate": statistics.median(one.candidate.rates),
                "p99_ms": statistics.median(one.candidate.p99s),
                "rate_ratio": one.rate_ratio,
                "p99_ratio": one.p99_ratio,
                "better": one.better,
            }
            for one in report.tuned
        ],
        "chosen": report.chosen,
        "interrupted": report.interrupted,
    }


def _load(point: Point) -> dict[str, Any]:
    figures = [one.measured.figures for one in point.rounds]
    errors: Counter[str] = Counter()
    shed: Counter[str] = Counter()
    for one in point.rounds:
        errors.update(one.measured.errors)
        shed.update(one.facts.shed)
    read = {name: operator.attrgetter(name) for name in ("rate", *LATENCIES)}
    return {
        "load": said(point.load),
        "connections": point.load.connections,
        "asked_rate": point.load.rate or None,
        "latency_from": "due" if point.load.rate else "sent",
        "rounds": len(figures),
        "seconds": point.load.seconds,
        **{name: asdict(spread(figures, get)) for name, get in read.items()},
        "answers": sum(one.answers for one in figures),
        "errors": dict(errors),
        "unanswered": sum(one.measured.unanswered for one in point.rounds),
        "shed": dict(shed),
        "requests_per_run": _fact(point, lambda facts: facts.batch),
        "queue_ms": _milliseconds(_fact(point, lambda facts: facts.queue_seconds)),
        "run_ms": _milliseconds(_fact(point, lambda facts: facts.run_seconds)),
        "server_cores": _fact(point, lambda facts: facts.server_share),
        "runner_cores": _fact(point, lambda facts: facts.runner_share),
        "others_cores": _fact(point, lambda facts: facts.others_share),
        "generator_core": statistics.median(one.measured.generator_share for one in point.rounds),
        "generator_late_ms": statistics.median(one.late_p99 for one in figures),
    }


def show(report: Report) -> None:
    """The tables, the plot where there is a terminal, and what limits it."""
    body = body_of(report)
    if report.interrupted:
        click.echo("Interrupted; this is what is known so far.\n")
    facts = report.setup
    click.echo(f"{click.style(facts['model'], bold=True)}  {facts['asked']}, {facts['server']}")
    if body["loads"]:
        _show_loads(body["loads"])
    if body["capacity"] is not None:
        _show_capacity(body["capacity"])
    if body["tuned"]:
        _show_tuned(body)
    _show_judgement(body)


def _show_loads(loads: Sequence[Mapping[str, Any]]) -> None:
    narrow = sys.stdout.isatty() and shutil.get_terminal_size().columns < WIDE
    left_out = NOT_IF_NARROW if narrow else frozenset()
    rows = [{name: cell for name, cell in _cells(one).items() if name not in left_out} for one in loads]
    click.echo()
    print_table("", list(rows[0]), [list(row.values()) for row in rows])
    start = {"due": "when it was due", "sent": "when it was sent"}[loads[0]["latency_from"]]
    click.echo(
        f"Medians of rounds of {loads[0]['seconds']:.2g} s; rounds: how many, the slowest and the fastest. "
        f"Latency counts from {start}. server, generator: cores used."
    )
    for one in loads:
        for error, count in one["errors"].items():
            click.echo(f"  {one['load']}: {count:,} x {error}")
        if one["unanswered"]:
            click.echo(f"  {one['load']}: {one['unanswered']:,} unanswered")
    if sys.stdout.isatty() and len(loads) > 1:
        click.echo()
        click.echo(plot(loads))


def _cells(one: Mapping[str, Any]) -> dict[str, str]:
    failed = sum(one["errors"].values()) + one["unanswered"]
    return {
        "load": one["load"],
        "answers/s": f"{one['rate']['median']:,.0f}",
        "rounds": f"{one['rounds']}: {one['rate']['low']:,.0f} - {one['rate']['high']:,.0f}",
        **{f"{shown} ms": short(one[name]["median"]) for name, shown in LATENCIES.items()},
        "failed": f"{failed:,}" if failed else "-",
        "per run": short(one["requests_per_run"]),
        "server": short(one["server_cores"]),
        "generator": short(one["generator_core"]),
    }


def plot(loads: Sequence[Mapping[str, Any]]) -> str:
    """Answers per second against latency: a full bar up to p50, a light one on to p99, on a scale of tenfold steps."""
    import math  # lazy with the plot: only a terminal gets one

    ordered = sorted(loads, key=lambda one: one["rate"]["median"])
    usable = [one for one in ordered if one["p50"]["median"] > 0 and math.isfinite(one["p99"]["median"])]
    if not usable:
        return ""
    low = math.log10(min(one["p50"]["median"] for one in usable) / 2)
    high = math.log10(max(one["p99"]["median"] for one in usable))
    scale = BAR / max(high - low, 1e-9)
    lines = []
    for one in usable:
        p50, p99 = one["p50"]["median"], one["p99"]["median"]
        full, light = (round((math.log10(figure) - low) * scale) for figure in (p50, p99))
        bar = "█" * full + "░" * (light - full)
        lines.append(f"{one['rate']['median']:>10,.0f}/s {bar:<{BAR}} p50 {short(p50)} ms, p99 {short(p99)} ms")
    return "\n".join(lines)


def _show_capacity(found: Mapping[str, Any]) -> None:
    click.echo()
    target = f"p99 <= {found['target_p99_ms']:g} ms"
    if not found["rate"]:
        click.echo(f"{click.style('capacity', bold=True)}  no rate that was tried keeps {target}")
        return
    how = f"{found['rounds_within']} of {found['rounds']} rounds of its own kept it, p99 {short(found['p99_ms'])} ms"
    if not found["confirmed"]:
        how = "not confirmed: there was no time" if found["rounds"] < CONFIRMATIONS else f"not confirmed: {how}"
    above = f"; {found['failed_at']:,.0f} did not" if found["failed_at"] < 1e9 else "; nothing above was tried"
    click.echo(f"{click.style('capacity', bold=True)}  {found['rate']:,.0f} requests/s keep {target} ({how}{above})")


def _show_tuned(body: Mapping[str, Any]) -> None:
    click.echo()
    print_table("Settings", TUNED, tuned_rows(body["tuned"], no_better="-"))
    click.echo(
        "Ratios to the settings as they are, medians of the same rounds; better: beyond the spread of the rounds."
    )
    chosen = body["chosen"]
    if chosen:
        words = " ".join(f"{name}={value}" for name, value in chosen.items())
        click.echo(
            f"{click.style('choose', fg='green', bold=True)}  {words}  (--apply writes it into the project file)"
        )
    else:
        click.echo("Leave the settings as they are: no other was better beyond the spread.")


def _show_judgement(body: Mapping[str, Any]) -> None:
    checked = body["answers"]
    click.echo()
    if checked["wrong"]:
        word = click.style("WRONG", fg="red", bold=True)
        click.echo(f"{word}  {checked['wrong']} of {checked['compared']} compared answers: {checked['first_wrong']}")
    elif checked["compared"]:
        click.echo(f"answers   {checked['compared']} compared with what is right: all agree")
    else:
        click.echo("answers   none could be compared: the right ones are not known")
    for limit in body["limits"]:
        word = click.style("doubt", fg="yellow") + "    " if limit["doubt"] else "limit    "
        click.echo(f"{word} {limit['says']}")


def _fact(point: Point, read: Callable[[Facts], float | None]) -> float | None:
    values = [value for one in point.rounds if (value := read(one.facts)) is not None]
    return statistics.median(values) if values else None


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


@functools.cache
def _reader(name: str) -> Callable[[Any], float]:
    return operator.attrgetter(name)


def _median(point: Point, name: str) -> float:
    return spread([one.measured.figures for one in point.rounds], _reader(name)).median
