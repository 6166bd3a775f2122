"""Commands over the prediction log."""

from __future__ import annotations

from pathlib import Path

import click

from modelwright.core.finding import Window
from modelwright.interfaces.cli.output import counted, json_option, print_json, print_table, working
from modelwright.interfaces.cli.session import current_platform


@click.group(epilog="Example: modelwright record export flight-delay --to predictions.parquet")
def record() -> None:
    """Read what was predicted, and the ground truth that came later."""


@record.command("export", epilog="Example: modelwright record export flight-delay --to x.parquet --since 1362096000")
@click.argument("name")
@click.option("--to", "to_path", required=True, help="File to write: .parquet, .csv or .jsonl.")
@click.option("--since", type=float, help="From this event time on (Unix seconds, UTC).")
@click.option("--until", type=float, help="Before this event time (Unix seconds, UTC).")
@json_option
def export(name: str, to_path: str, since: float | None, until: float | None, as_json: bool) -> None:
    """Write every recorded row, joined with its ground truth where known."""
    from modelwright.core.package_codec import load  # lazy: NumPy

    window = Window(since or 0.0, until or float("inf")) if since is not None or until is not None else None
    with working(f"Exporting {name} ...", quiet=as_json), current_platform() as platform:
        newest = platform.versions.versions(name)[-1]
        signature = load(newest.digest, platform.blobs.get).signature
        rows = platform.log.export(name, Path(to_path).absolute(), signature=signature, window=window)
    if as_json:
        print_json({"rows": rows, "to": to_path})
        return
    click.echo(f"{counted(rows, 'row')} written to {to_path}")


@record.command(
    "query",
    epilog="""Example: modelwright record query flight-delay 'select version, count(*) from predictions group by 1'""",
)
@click.argument("name")
@click.argument("sql")
@json_option
def query(name: str, sql: str, as_json: bool) -> None:
    """Ask the recorded rows a question in SQL (DuckDB): the view `predictions` has the columns that export writes."""
    from modelwright.core.package_codec import load  # lazy: NumPy
    from modelwright.record.query import query as ask

    with current_platform() as platform:
        newest = platform.versions.versions(name)[-1]
        signature = load(newest.digest, platform.blobs.get).signature
        names, rows = ask(platform.log.joined(name, signature=signature, status=None), sql)
    if as_json:
        print_json([dict(zip(names, row, strict=True)) for row in rows])
        return
    print_table("", names, rows, empty="No rows.")


@record.command("counts", epilog="Example: modelwright record counts")
@json_option
def counts(as_json: bool) -> None:
    """Count what is recorded: predictions, truths, unknown and repeated truths, unlogged answers."""
    with current_platform() as platform:
        found = platform.log.counts()
    if as_json:
        print_json(found)
        return
    rows = [[name.replace("_", " "), number] for name, number in sorted(found.items())]
    print_table("Recorded", ["what", "how many"], rows)
