"""The command ``top``: a running server, second by second, from its own metrics."""

from __future__ import annotations

import http.client
import ssl
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from modelwright.core.errors import (
    BadInputError,
    ForbiddenError,
    ModelwrightError,
    UnauthenticatedError,
    UnavailableError,
)
from modelwright.interfaces.cli.figures import ModelFigures, Scrape, ServerFigures, between, parse
from modelwright.interfaces.cli.output import json_option, print_json, print_table
from modelwright.interfaces.cli.session import current_settings
from modelwright.interfaces.cli.state import running_server
from modelwright.settings import token as token_given

if TYPE_CHECKING:
    from rich.table import Table

PATIENCE_SECONDS = 10.0
HEADERS = (
    "model", "req/s", "p50 ms", "p99 ms", "errors/s", "shed/s", "rows/run", "busy", "waiting", "wait ms", "versions",
)  # fmt: skip


@click.command(epilog="Example: MODELWRIGHT_TOKEN=mw_... modelwright top")
@click.option("--url", help="Address of the data plane, as http://HOST:PORT [that of the running server].")
@click.option("--token", help="Access token that may read metrics [MODELWRIGHT_TOKEN].")
@click.option("--interval", type=click.FloatRange(0.1, 60), default=1.0, show_default=True, help="Seconds of a look.")
@click.option("--once", is_flag=True, help="Look once and end; so it is without a terminal, too.")
@json_option
def top(url: str | None, token: str | None, interval: float, once: bool, as_json: bool) -> None:
    """Show what a running server does: requests, latency, errors, batches and versions of each model.

    Ctrl-C ends it.
    """
    scrape = scraper(url, token or token_given())
    if once or as_json or not sys.stdout.isatty():
        before = scrape()
        time.sleep(interval)
        _print(between(before, scrape()), as_json=as_json)
        return
    _follow(scrape, interval)


def scraper(url: str | None, token: str) -> Callable[[], Scrape]:
    """What asks the server for its metrics.

    Raises:
        BadInputError: ``cli.bad-url``.
    """
    settings = current_settings()
    if url is None:
        server = running_server(settings.home / "run" / "server.json")
        scheme = "https" if settings.tls_certificate else "http"
        url = f"{scheme}://{server['http'] if server else settings.http}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host is None or parts.scheme not in ("http", "https"):
        raise BadInputError("cli.bad-url", f"{url!r} is no address.", fix="Write http://HOST:PORT.")
    tls = ssl.create_default_context(cafile=settings.tls_certificate or None) if parts.scheme == "https" else None

    def scrape() -> Scrape:
        connection = (
            http.client.HTTPConnection(host, port, timeout=PATIENCE_SECONDS)
            if tls is None
            else http.client.HTTPSConnection(host, port, timeout=PATIENCE_SECONDS, context=tls)
        )
        try:
            connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}"} if token else {})
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise _silent(url, f"{error or type(error).__name__}.") from error
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise _refused(url, answer.status)
        try:
            return parse(body.decode(), time.monotonic())
        except ValueError as error:
            raise _silent(url, "It answers, but not with metrics.") from error

    return scrape


def _silent(url: str, why: str) -> ModelwrightError:
    return UnavailableError(
        "cli.no-data-plane",
        f"The data plane at {url} gave no metrics.",
        why=why,
        fix="Start it with `modelwright serve`, or name it with --url.",
    )


def _refused(url: str, status: int) -> ModelwrightError:
    if status == http.client.UNAUTHORIZED:
        return UnauthenticatedError(
            "cli.token-needed",
            f"The data plane at {url} takes no such token.",
            fix="Set MODELWRIGHT_TOKEN to a token of `modelwright token issue --role viewer`.",
        )
    if status == http.client.FORBIDDEN:
        return ForbiddenError(
            "cli.token-forbidden", "The token may not read metrics.", fix="Use one with the role viewer."
        )
    return _silent(url, f"It answered with status {status}.")


def _follow(scrape: Callable[[], Scrape], interval: float) -> None:
    """Until Ctrl-C; a server that does not answer for a while is waited for."""
    from rich.console import Console, Group  # lazy: other commands need no terminal
    from rich.live import Live
    from rich.text import Text

    before = scrape()
    try:
        with Live(Text("..."), console=Console(), screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(interval)
                try:
                    after = scrape()
                except UnavailableError as error:
                    live.update(Text(f"{error.what} {error.why}"), refresh=True)
                    continue
                figures = between(before, after)
                live.update(Group(Text(_headline(figures), style="bold"), _table(figures)), refresh=True)
                before = after
    except KeyboardInterrupt:
        return


def _print(figures: ServerFigures, *, as_json: bool) -> None:
    if as_json:
        print_json(figures.as_json())
        return
    click.echo(_headline(figures))
    print_table("Models", HEADERS, [_row(model) for model in figures.models])


def _headline(figures: ServerFigures) -> str:
    lost = f", {figures.unlogged:.1f} predictions/s NOT LOGGED" if figures.unlogged else ""
    return (
        f"gateways {figures.gateways}, connections {figures.connections}, routing epoch {figures.epoch}"
        f", over {figures.seconds:.1f} s{lost}"
    )


def _table(figures: ServerFigures) -> Table:
    from rich.table import Table  # lazy, as above
    from rich.text import Text

    table = Table()
    for name in HEADERS:
        table.add_column(name, justify="left" if name in ("model", "versions") else "right")
    for model in figures.models:
        style = "red" if model.errors or model.shed else ""
        table.add_row(*(Text(cell) for cell in _row(model)), style=style)
    return table


def _row(model: ModelFigures) -> list[str]:
    versions = ", ".join(
        f"{one.version} {one.role}" + (f" {one.share:.0%}" if one.role != "shadow" else "") for one in model.versions
    )
    return [
        model.model,
        f"{model.requests:.1f}",
        _milliseconds(model.p50),
        _milliseconds(model.p99),
        f"{model.errors:.1f}",
        f"{model.shed:.1f}",
        "-" if model.batch_rows is None else f"{model.batch_rows:.1f}",
        f"{model.busy:.0%}",
        f"{model.waiting:.0f}",
        _milliseconds(model.wait),
        versions or "-",
    ]


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.2f}"
