"""Commands that look at data: compare two files, look at a deployed model, read the reports."""

from __future__ import annotations

from typing import Any

import click

from modelwright.core.record_codec import to_json
from modelwright.interfaces.cli.output import FINDINGS, json_option, moment, print_json, print_table, working
from modelwright.interfaces.cli.session import current_platform, existing_file, tell


@click.group(epilog="Example: modelwright watch compare --reference january.parquet --current july.parquet")
def watch() -> None:
    """Find what moved: data quality, drift, predictions, performance."""


@watch.command(
    "compare", epilog="Example: modelwright watch compare --reference january.parquet --current july.parquet"
)
@click.option("--reference", required=True, help="Rows as they were (.parquet, .csv, .jsonl).")
@click.option("--current", required=True, help="Rows as they are.")
@click.option(
    "--alarm-rate",
    default=0.01,
    show_default=True,
    type=click.FloatRange(0.0, 0.5, min_open=True),
    help="Share of comparisons of unchanged data that may raise any finding.",
)
@json_option
def compare(reference: str, current: str, alarm_rate: float, as_json: bool) -> int:
    """Compare two files column by column; no model and no server needed.

    Exit code 0: no finding; 3: findings; 2: bad input.
    """
    from modelwright import wiring  # lazy: adapters
    from modelwright.lifecycle import local  # lazy: statistics

    files = existing_file(reference, "data file"), existing_file(current, "data file")
    with working("Comparing ...", quiet=as_json):
        report = local.compare_files(wiring.workbench(), *files, alarm_rate=alarm_rate)
    show_report(report, as_json=as_json)
    return FINDINGS if report["findings"] else 0


@watch.command("run", epilog="Example: modelwright watch run flight-delay")
@click.argument("name")
@click.option("--since", type=float, help="From this event time on (Unix seconds, UTC).")
@click.option("--until", type=float, help="Before this event time (Unix seconds, UTC).")
@json_option
def run(name: str, since: float | None, until: float | None, as_json: bool) -> int:
    """Look at a deployed model's recorded rows now. Exit code 3 when there are findings."""
    arguments = {"model": name, "since": since, "until": until}
    result = tell("watch", arguments, message=f"watch: {name} ...", quiet=as_json)
    report: dict[str, Any] = result["report"]
    if as_json:
        print_json(result)
    else:
        show_report(report, as_json=False)
    return FINDINGS if report["findings"] else 0


@watch.command("reports", epilog="Example: modelwright watch reports flight-delay --limit 3")
@click.argument("name")
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1, 1000), help="How many, newest first.")
@json_option
def reports(name: str, limit: int, as_json: bool) -> None:
    """List the latest looks at a model."""
    with current_platform() as platform:
        platform.versions.versions(name)  # raises for an unknown name, with a suggestion
        found = platform.findings.reports(name, limit=limit)
    if as_json:
        print_json([to_json(report) for report in found])
        return
    rows = [
        [
            f"{moment(r.window.since)} .. {moment(r.window.until)}" if r.window else "",
            r.version,
            r.rows,
            r.truths,
            len(r.findings),
            r.findings[0].says if r.findings else "",
        ]
        for r in found
    ]
    print_table(name, ["window (event time, UTC)", "version", "rows", "truths", "findings", "first"], rows)


def show_report(report: dict[str, Any], *, as_json: bool) -> None:
    """A report for a person: what it says, findings ranked, then every column."""
    if as_json:
        print_json(report)
        return
    click.echo(click.style(report["says"], bold=True))
    click.echo()
    rows = [[f["rank"], f["severity"], f["kind"], f["subject"], f["says"]] for f in report["findings"]]
    print_table("Findings", ["#", "severity", "kind", "column", "what moved"], rows, empty="No findings.")
    click.echo()
    columns = [[c["column"], c["verdict"], c["psi"], c["q_value"], c["says"]] for c in report["columns"]]
    print_table("Columns", ["column", "verdict", "PSI", "q", "in words"], columns)
