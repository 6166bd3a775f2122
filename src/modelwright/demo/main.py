"""``modelwright demo``: prepare, release, live through the year, report."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Any

from modelwright.core.errors import ModelwrightError
from modelwright.demo import report as reporting
from modelwright.demo.display import Display
from modelwright.demo.flights import MODEL, TARGET, read_flights
from modelwright.demo.prepare import lay_out, train
from modelwright.demo.product import Product
from modelwright.demo.year import live_through


def run(folder: Path, *, keep: bool, display: Display) -> dict[str, Any]:
    """The whole demo; the figures of its report. The server is stopped at the end unless ``keep``."""
    lay_out(folder)
    display.say("Reading a year of flights out of New York, with the weather ...")
    flights = read_flights()
    display.say(f"{len(flights):,} flights. Training the first model on January and February ...")
    first = train(flights, folder)
    product = Product(folder)
    product.start()
    try:
        display.say(f"Server started: predictions on http://{product.http}, pages on http://{product.control}")
        released = product.call(
            *("release", str(first.model), "--name", MODEL, "--reason", "the first model"),
            *("--data", str(first.validation), "--target", TARGET),
            *("--reference", str(first.reference)),
        )
        display.say(f"Released version {released['version']}: {released['why']}")
        year = asyncio.run(live_through(flights, product, say=display.say, tick=display.tick))
        display.close()
        display.say("Reading the prediction log ...")
        product.call("record", "export", MODEL, "--to", str(folder / "predictions.parquet"))
        months = reporting.monthly(folder / "predictions.parquet")
        figures = reporting.report(year, months, product.call("ledger", "verify"))
    except BaseException:
        product.stop()
        raise
    reporting.write(figures, folder)
    if not keep:
        product.stop()
    display.finish(figures, product if keep else None, folder)
    return figures


def main(argv: list[str]) -> int:
    """Entry point of ``python -m modelwright.demo.main``; the exit code."""
    parser = argparse.ArgumentParser(prog="modelwright demo")
    parser.add_argument("--folder", default="build/demo")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args(argv)
    began = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends the demo ends its server with it
    display = Display(as_json=options.as_json)
    try:
        figures = run(Path(options.folder), keep=options.keep, display=display)
    except ModelwrightError as error:
        display.close()
        display.fail(error)
        return 1
    except KeyboardInterrupt:
        display.close()
        display.say("Interrupted; the server was stopped.")
        return 130
    good = reporting.succeeded(figures)
    display.verdict(figures, good=good, seconds=time.monotonic() - began)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
