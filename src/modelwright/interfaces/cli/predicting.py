"""``modelwright predict``: rows to answers, from a package in this process or from a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelwright.interfaces.cli.output import counted, json_option, print_json, print_table
from modelwright.interfaces.cli.rows import Rows, read_rows
from modelwright.interfaces.cli.session import current_settings, existing

if TYPE_CHECKING:
    from modelwright.core.table import Column
    from modelwright.ports.source import Source

SHOWN = 50


@click.command(
    epilog="""Example: modelwright predict flight-delay.mw @rows.csv --output answers.csv
Example: modelwright predict flight-delay @rows.parquet --url http://127.0.0.1:8080 -o answers.parquet"""
)
@click.argument("name")
@click.argument("rows")
@click.option("--output", "-o", help="Write rows and answers here (.csv, .parquet, .json, .jsonl) instead of printing.")
@click.option("--url", help="Ask this server [MODELWRIGHT_URL, else the address of MODELWRIGHT_HTTP].")
@click.option("--token", help="Access token for the server [MODELWRIGHT_TOKEN].")
@click.option("--ca", help="PEM file of the authority that signed the server's certificate [MODELWRIGHT_CA].")
@click.option("--version", default="", help="Ask this version of the served model, not the one in its route.")
@click.option("--batch", type=click.IntRange(1), default=1000, show_default=True, help="Rows in one request.")
@click.option("--concurrency", type=click.IntRange(1, 256), default=4, show_default=True, help="Requests at once.")
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds for a request with its retries.")
@json_option
def predict(
    name: str,
    rows: str,
    output: str | None,
    url: str | None,
    token: str | None,
    ca: str | None,
    version: str,
    batch: int,
    concurrency: int,
    timeout: float,
    as_json: bool,
) -> None:
    """Predict rows with a package, in this process, or with a model that a server serves.

    NAME is a package (a path) or, where there is no such file, the name of a served model; with --url it is always a
    served model. ROWS is a file (.csv, .parquet, .json, .jsonl; with or without @ before it), - for standard input, or
    a JSON object of one row. A model without columns takes a JSON object of tensors: '{"x": [1, 2, 3]}'.

    From a server the answers come with prediction_id and prediction_row, by which ground truth is joined later.
    """
    from modelwright import wiring  # lazy: adapters
    from modelwright.core.table import Table

    source = wiring.file_source()
    local = url is None and (Path(name).exists() or name.endswith(".mw") or "/" in name)
    if local:
        given, answers = _from_package(name, rows, source)
    else:
        from modelwright.interfaces.cli.asking import Asked, ask  # lazy: the client

        settings = current_settings(url=url, token=token, ca=ca)
        given = read_rows(rows, source)
        asked = Asked(name, version, batch, concurrency, timeout)
        answers = ask(settings, asked, given, quiet=as_json)
    if output:
        written = Table({**given.table.columns, **answers})
        source.write(written, Path(output))
        if as_json:
            print_json({"rows": len(written), "path": output})
            return
        click.echo(f"{counted(len(written), 'row')} written to {output}", err=True)
    elif as_json:
        print_json({column: values.tolist() for column, values in answers.items()})
    else:
        _print(answers)


def _from_package(name: str, rows: str, source: Source) -> tuple[Rows, dict[str, Column]]:
    from modelwright import wiring  # lazy: adapters
    from modelwright.core.table import Table
    from modelwright.lifecycle import local  # lazy: statistics

    bench = wiring.workbench()
    opened = wiring.open_package(existing(name, "package"))
    if opened.signature.features:
        given = read_rows(rows, source)
        return given, local.predict(bench, opened, given.table)
    # A graph packed as it came has tensors and no columns.
    given = Rows(Table({}), read_rows(rows, None).tensors)
    return given, local.predict_tensors(bench, opened, given.tensors)


def _print(answers: dict[str, Column]) -> None:
    count = len(next(iter(answers.values()), ()))
    shown = min(count, SHOWN)
    columns = [column[:shown].tolist() for column in answers.values()]
    print_table("", ["row", *answers], list(zip(range(shown), *columns, strict=True)))
    if shown < count:
        click.echo(f"... and {count - shown} more; --output FILE keeps them all.", err=True)
