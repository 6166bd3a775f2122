"""What a person or a script sees: tables on a terminal, JSON for ``--json``, errors that say what to do next."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from modelwright.core.errors import ModelwrightError
from modelwright.settings import colourless

F = TypeVar("F", bound=Callable[..., Any])

EXIT_CODES: dict[str, int] = {
    "bad-input": 2,
    "not-found": 2,
    "too-large": 2,
    "conflict": 2,
    "refused": 3,
    "unauthenticated": 4,
    "forbidden": 4,
    "throttled": 5,
    "unavailable": 5,
    "deadline": 5,
    "corrupt": 6,
    "internal": 1,
}
FINDINGS = 3
LATEST_SECONDS = 2.5e11
PIPE_WIDTH = 100_000


def json_option(command: F) -> F:
    """The ``--json`` flag of every command that prints a result."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(command)


def plain(value: Any) -> Any:
    """A value as strict JSON can hold it: NaN and infinity become null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False, default=str))


def print_error(error: ModelwrightError, *, as_json: bool) -> int:
    """The error, on standard error (as JSON on standard output with ``--json``), and the exit code for it."""
    if as_json:
        print_json({"error": error.to_json()})
    else:
        # The context that knows of colours is gone by now.
        colour = False if colourless() else None
        click.echo(f"{click.style('error', fg='red', bold=True)} [{error.code}] {error.what}", err=True, color=colour)
        for label, text in (("why", error.why), ("fix", error.fix)):
            if text:
                click.echo(f"  {click.style(label, bold=True)}: {text}", err=True, color=colour)
    return EXIT_CODES.get(error.kind, 1)


def print_table(title: str, headers: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str = "") -> None:
    """A table that folds to the terminal; on a pipe every row is one line, as wide as its content."""
    from rich.console import Console  # lazy: 40 ms that --help and --json need not pay
    from rich.table import Table

    if not rows:
        click.echo(empty or f"{title}: none.")
        return
    table = Table(box=None, pad_edge=False)
    for index, header in enumerate(headers):
        numeric = all(isinstance(row[index], int | float | None) for row in rows)
        table.add_column(header, justify="right" if numeric else "left", header_style="dim", overflow="fold")
    for row in rows:
        table.add_row(*(shown(cell) for cell in row))
    wide = None if sys.stdout.isatty() else PIPE_WIDTH
    console = Console(width=wide, highlight=False, markup=False, emoji=False)
    with console.capture() as drawn:
        console.print(table)
    if title:
        click.echo(click.style(title, bold=True))
    click.echo("\n".join(line.rstrip() for line in drawn.get().splitlines()))


def shown(cell: object) -> str:
    """A cell as text: whole numbers whole, other floats with four significant digits, a dash for what is missing."""
    if cell is None or cell == "":
        return "-"
    if not isinstance(cell, float):
        return str(cell)
    if not math.isfinite(cell):
        return "-"
    if cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    return f"{cell:.1f}" if 1e3 <= abs(cell) < 1e15 else f"{cell:.4g}"


def moment(seconds: float) -> str:
    """Unix seconds as ``2013-03-01 05:15`` (UTC); a moment beyond every calendar is said to be so."""
    if not LATEST_SECONDS > seconds > -LATEST_SECONDS:
        return "beyond 9999"
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M")


def clock_time(text: str) -> str:
    """``2013-03-01T05:15:09.123456Z`` as ``2013-03-01 05:15:09``: a person needs no microseconds."""
    return text[:19].replace("T", " ")


def counted(number: int, noun: str) -> str:
    """``1 row``, ``2 rows``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


@contextmanager
def working(message: str, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """A spinner while something long runs, on a terminal; one line per change of message elsewhere."""
    if quiet or not sys.stderr.isatty():

        def say(text: str) -> None:
            if not quiet:
                click.echo(text, err=True)

        say(message)
        yield say
        return
    from rich.console import Console  # lazy, as above

    with Console(stderr=True).status(message) as status:
        yield status.update
