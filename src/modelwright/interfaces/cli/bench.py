"""``modelwright bench``: its options; what it does is imported once it is called."""

from __future__ import annotations

from typing import Any

import click

from modelwright.interfaces.cli.output import json_option

CONNECTIONS = "1,4,16,64"


@click.command(epilog="Example: modelwright bench flight-delay --target-p99-ms 20 --seconds 40")
@click.argument("name", required=False)
@click.option("--url", help="A server that runs, as http://HOST:PORT; without it bench starts one of its own.")
@click.option("--token", default="", help="Access token for --url, or @FILE that holds it.")
@click.option("--ca", default="", help="PEM file to trust, for an https:// address.")
@click.option("--package", help="Serve and measure this package file; the registry is not asked.")
@click.option("--data", help="Rows to ask with (.parquet, .csv, .jsonl) instead of the golden rows.")
@click.option("--rows", type=click.IntRange(1, 100_000), default=1, show_default=True, help="Rows in a request.")
@click.option("--binary", is_flag=True, help="Tensors in binary instead of JSON.")
@click.option(
    "--protocol", type=click.Choice(["http", "grpc"]), default="http", show_default=True, help="What to speak."
)
@click.option("--grpc", "grpc_address", default="", help="HOST:PORT of gRPC, for --url with --protocol grpc.")
@click.option("--connections", default=CONNECTIONS, show_default=True, help="Closed loop: how many ask at a time.")
@click.option("--rate", default="", help="Open loop: requests a second, one number or several.")
@click.option(
    "--arrivals",
    type=click.Choice(["poisson", "even"]),
    default="poisson",
    show_default=True,
    help="Open loop: as independent callers come, or evenly.",
)
@click.option("--target-p99-ms", type=click.FloatRange(0.01), help="Find the highest rate whose p99 stays below.")
@click.option("--tune", is_flag=True, help="Try other settings on servers of its own and compare.")
@click.option("--apply", "apply_it", is_flag=True, help="With --tune: write what is better into the project file.")
@click.option("--undo", is_flag=True, help="Take back what --apply wrote last; nothing is measured.")
@click.option("--seconds", type=click.FloatRange(1, 3600), default=30.0, show_default=True, help="Length of it all.")
@click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True, help="Rounds of every load.")
@click.option("--generators", type=click.IntRange(0, 64), default=0, help="Generator processes [as many as it takes].")
@click.option("--pin/--no-pin", default=True, show_default=True, help="Server and generators on cores of their own.")
@click.option("--html", type=click.Path(dir_okay=False), help="Write a report of one file with charts.")
@json_option
def bench(**options: Any) -> int:
    """Load-test a model's server: what it can do, at which latency, and what limits it.

    Without --url it starts the real server on loopback, with your settings, and asks it with the model's golden rows.
    A closed loop (--connections) by default; --rate is an open loop, whose latency counts from when a request was due.
    Exit code 3 when an answer was wrong, or no rate keeps the target.
    """
    from modelwright.interfaces.cli.bench_run import run  # lazy: NumPy, which --help need not pay

    return run(**options)
