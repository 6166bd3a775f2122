"""What a person sees while the demo runs: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import calendar
import json
import re
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from modelwright.core.errors import ModelwrightError
from modelwright.demo.product import Product
from modelwright.demo.year import FIRST, LAST, Year

HEADERS = (
    *("\n2013", "flights\nscored", "\nlate", "log loss\nstatic", "\nmaint.", "AUC\nstatic", "\nmaint."),
    *("find-\nings", "pro-\nmoted", "re-\nfused"),
)
PIPE_COLUMNS = 80
MARGIN = 10  # columns of the time before each line
MOST_LINES = 2  # of one sentence on a terminal
MONTH = re.compile(r"^\d{4}-(\d\d): ")


def month_abbreviation(month: str) -> str:
    """``2013-03`` as ``Mar``."""
    return calendar.month_abbr[int(month[-2:])]


def lines_of(text: str, columns: int) -> list[str]:
    """A sentence in at most two lines of a terminal, cut between words; ``2013-03:`` in front becomes ``Mar``."""
    named = MONTH.sub(lambda found: f"{calendar.month_abbr[int(found[1])]}  ", text)
    wrapped = textwrap.wrap(
        named,
        max(columns, 20),
        max_lines=MOST_LINES,
        placeholder=" ...",
        subsequent_indent="     ",
        break_on_hyphens=False,
    )
    return wrapped or [""]


class Display:
    """Progress on standard error; the report's table (or JSON) on standard output."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._err = Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())
        self._began = time.monotonic()
        self._progress: Progress | None = None
        self._task: Any = None

    def say(self, text: str) -> None:
        """A sentence with the seconds since the start: cut to the terminal's width, whole on a pipe."""
        console = self._progress.console if self._progress else self._err
        columns = console.width - MARGIN - 1 if console.is_terminal else len(text) + MARGIN
        seconds = f"{time.monotonic() - self._began:6.1f} s"
        for index, line in enumerate(lines_of(text, columns)):
            # One print a line: the live line below would take away what was printed without a line's end.
            front = (seconds if index == 0 else "").ljust(MARGIN)
            console.print(Text.assemble((front, "dim"), line), soft_wrap=True)

    def tick(self, year: Year) -> None:
        """Move the live line (on a terminal only)."""
        if not self._err.is_terminal:
            return
        if self._progress is None:
            bar = BarColumn(bar_width=16)
            columns = (TextColumn("{task.description}"), bar, MofNCompleteColumn(), TimeElapsedColumn())
            self._progress = Progress(*columns, console=self._err, transient=True)
            self._task = self._progress.add_task("", total=LAST - FIRST + 1)
            self._progress.start()
        seconds = max(year.progress.seconds, 1e-9)
        speed = f"{year.progress.predictions / seconds:,.0f}/s" if year.progress.seconds else ""
        month = month_abbreviation(year.months[-1].month)
        description = f"{month}  {year.progress.predictions:,} predictions {speed}"
        self._progress.update(self._task, description=description, completed=len(year.months))

    def close(self) -> None:
        """Take the live line away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def fail(self, error: ModelwrightError) -> None:
        """Say what went wrong."""
        self._err.print(f"[bold red]error[/bold red] \\[{error.code}] ", end="")
        self._err.print(str(error), markup=False)

    def finish(self, figures: Mapping[str, Any], product: Product | None, folder: Path) -> None:
        """The table by month, where the report lies, and the addresses when the server stays."""
        if self._as_json:
            sys.stdout.write(json.dumps(figures, indent=2) + "\n")
        else:
            self._table(figures)
        self._print(f"\nReport: {folder / 'report.html'} (and report.json beside it)")
        if product is not None and product.server is not None:
            self._print(f"The server stays up; stop it with: kill {product.server.pid}")
            self._print(f"  pages        http://{product.control}")
            self._print(f"  token        {product.token}")
            self._print(f"  predictions  http://{product.http}")

    def _print(self, line: str) -> None:
        # Not wrapped: paths, addresses and tokens are there to be copied.
        self._err.print(line, markup=False, soft_wrap=True)

    def _table(self, figures: Mapping[str, Any]) -> None:
        table = Table(box=None, pad_edge=False)
        for index, header in enumerate(HEADERS):
            table.add_column(header, justify="right" if index else "left", no_wrap=True)
        for row in figures["months"]:
            losses = _compared(row["log_loss_static"], row["log_loss_maintained"], "{:.4f}", smaller=True)
            areas = _compared(row["auc_static"], row["auc_maintained"], "{:.3f}", smaller=False)
            table.add_row(
                *(month_abbreviation(row["month"]), f"{row['rows']:,}", f"{row['base_rate']:.1%}", *losses, *areas),
                *(str(row[name]) for name in ("findings", "promotions", "refusals")),
            )
        # On a pipe the width of a plain terminal, and nothing but text.
        Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_COLUMNS).print(table)

    def verdict(self, figures: Mapping[str, Any], *, good: bool, seconds: float) -> None:
        """The last lines, the outcome first."""
        maintained, static = figures["mean_log_loss_maintained"], figures["mean_log_loss_static"]
        word = "beat" if maintained < static else "did not beat"
        stopped_by = figures["broken_candidate"].get("stopped_by", "nothing")
        ledger = "verified" if figures["ledger_verified"] else "BROKEN"
        self._print("")
        lines = (
            f"{'Done' if good else 'FAILED'} in {seconds:.0f} s: the maintained service {word} the static one.",
            f"  log loss {maintained:.4f} against {static:.4f} (mean April-December; smaller is better)",
            f"  broken candidate stopped by {stopped_by}",
            f"  {figures['predictions']:,} predictions, {figures['predictions_per_second']:,.0f} a second",
            f"  ledger {ledger}, {figures['ledger_entries']} entries",
        )
        for line in lines:
            columns = self._err.width if self._err.is_terminal else len(line) + 1
            self._print(textwrap.fill(line, columns, subsequent_indent="    ", break_on_hyphens=False))


def _compared(static: float, maintained: float, shape: str, *, smaller: bool) -> tuple[str, str]:
    """Both figures in their order, the better one green."""
    shown = [shape.format(static), shape.format(maintained)]
    if static != maintained:
        better = int((maintained < static) == smaller)
        shown[better] = f"[green]{shown[better]}[/green]"
    return shown[0], shown[1]
