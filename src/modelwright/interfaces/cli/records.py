"""Commands over the prediction log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelwright.core.finding import Window
from modelwright.interfaces.cli.output import counted, json_option, print_json, print_table, working
from modelwright.interfaces.cli.session import current_platform

if TYPE_CHECKING:
    from modelwright.core.signature import Signature
    from modelwright.ports.platform import Platform


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
    """Write every recorded row, joined with its ground truth where known.

    NAME is a model, or a node of a graph: flights/small.
    """
    window = Window(since or 0.0, until or float("inf")) if since is not None or until is not None else None
    with working(f"Exporting {name} ...", quiet=as_json), current_platform() as platform:
        signature = _signature(platform, name)
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
    """Ask the recorded rows a question in SQL (DuckDB): the view `predictions` has the columns that export writes.

    NAME is a model, or a node of a graph: flights/small.
    """
    from modelwright.record.query import query as ask  # lazy: DuckDB

    with current_platform() as platform:
        signature = _signature(platform, name)
        names, rows = ask(platform.log.joined(name, signature=signature, status=None), sql)
    if as_json:
        print_json([dict(zip(names, row, strict=True)) for row in rows])
        return
    print_table("", names, rows, empty="No rows.")


def _signature(platform: Platform, name: str) -> Signature:
    """What the newest version of a model, or of a graph's node, gives."""
    from modelwright.core.graph_nodes import node_signature  # lazy: NumPy
    from modelwright.core.package_codec import load

    model, _, node = name.partition("/")
    package = load(platform.versions.versions(model)[-1].digest, platform.blobs.get)
    return node_signature(package, node) if node else package.signature


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
