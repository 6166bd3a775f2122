"""``modelwright frameworks --matrix``: run the rows, say what becomes of each, write the page."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelwright.demo.matrix.result import Row

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main(argv: list[str]) -> int:
    """Entry point of ``python -m modelwright.demo.matrix.main``; 1 where a row failed."""
    parser = argparse.ArgumentParser(prog="modelwright frameworks --matrix")
    parser.add_argument("--family", action="append", default=[])
    parser.add_argument("--output")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args(argv)
    for name in ONE_THREAD:  # both sides have one thread; the libraries ask when they are imported
        os.environ[name] = "1"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from modelwright.core.errors import ModelwrightError  # lazy: after the threads are counted
    from modelwright.interfaces.cli.output import print_error

    try:
        return run(options.family, options.output, rounds=options.rounds, as_json=options.as_json)
    except ModelwrightError as error:
        return print_error(error, as_json=options.as_json)
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        return 130


def run(families: list[str], output: str | None, *, rounds: int, as_json: bool) -> int:
    """Run the rows of these families (of all where none is named)."""
    from modelwright import wiring  # lazy: after the threads are counted
    from modelwright.demo.matrix import page as pages
    from modelwright.demo.matrix.catalogue import chosen
    from modelwright.demo.matrix.measure import Effort, run_case

    cases, effort = chosen(families), Effort(rounds)
    adapters = frozenset(framework.name for framework in wiring.frameworks())
    rows = []
    for number, case in enumerate(cases, start=1):
        row = run_case(case, effort, adapters)
        rows.append(row)
        told = row.route or row.why
        if row.state == "failed":
            told = f"[{row.code}] {row.message}"
        elif row.ratio is not None:
            told = f"{row.route}, packed in {row.pack_seconds:.2f} s, {row.ratio:.2f} times as fast"
        sys.stderr.write(f"{number}/{len(cases)} {row.state}: {case.key}: {told}\n")
        sys.stderr.flush()
    found = pages.machine()
    if output:
        Path(output).write_text(pages.page(rows, effort, found))
    if as_json:
        sys.stdout.write(json.dumps(pages.as_json(rows, effort, found), indent=2, default=str) + "\n")
    elif not output:
        sys.stdout.write(pages.page(rows, effort, found))
    return status(rows)


def status(rows: Iterable[Row]) -> int:
    """The exit code: 1 where a row failed."""
    return int(any(row.state == "failed" for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
