"""The command that makes variants of a package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelwright.interfaces.cli.output import json_option, print_json, print_table, working
from modelwright.interfaces.cli.packages import named_numbers
from modelwright.interfaces.cli.session import current_settings, existing, existing_file

if TYPE_CHECKING:
    from modelwright.lifecycle.optimize import Variant


@click.command(
    epilog="Example: modelwright optimize churn.mw --data val.parquet --target churned --min-metric roc_auc=0.8 "
    "-o fast.mw"
)
@click.argument("package")
@click.option("--data", required=True, help="Labelled rows (.parquet, .csv, .jsonl).")
@click.option("--target", required=True, help="Column that holds the truth.")
@click.option("--variant", "kinds", multiple=True, help="Variant to make; may be repeated; all when left out.")
@click.option("--max-latency-ms", type=float, help="Most milliseconds that one row may take here (median).")
@click.option("--max-size-mb", type=float, help="Most megabytes of the model's graph.")
@click.option("--min-metric", "least", multiple=True, help="NAME=VALUE that must be kept (for a loss: the most).")
@click.option("--output", "-o", help="Write the chosen one there.")
@json_option
def optimize(
    package: str,
    data: str,
    target: str,
    kinds: tuple[str, ...],
    max_latency_ms: float | None,
    max_size_mb: float | None,
    least: tuple[str, ...],
    output: str | None,
    as_json: bool,
) -> None:
    """Make variants of a package (optimised, half precision, 8 bits), each with what it costs and gains.

    Every variant is measured against the package on the same labelled rows. Within the budget the fastest one is
    chosen that is faster beyond doubt, else the package itself, else the smallest; -o writes it with its evidence.
    Exit code 3 when none keeps the budget.
    """
    from modelwright import wiring  # lazy: adapters
    from modelwright.lifecycle import optimize as story  # lazy: statistics

    make, known = wiring.variants()
    budget = story.Budget(max_latency_ms, max_size_mb, named_numbers(least))
    with working("Measuring variants ...", quiet=as_json):
        found = story.optimize(
            wiring.workbench(current_settings()),
            wiring.open_package(existing(package, "package")),
            existing_file(data, "data file"),
            target=target,
            make=make,
            kinds=kinds or known,
            budget=budget,
        )
    if not as_json:
        _show(found)
    chosen = story.best(found)
    if output and chosen.package is not None:
        wiring.save_package(chosen.package, Path(output))
    if as_json:
        print_json({"variants": [one.to_json() for one in found], "chosen": chosen.kind, "path": output})
    else:
        click.echo(
            f"\n{click.style(chosen.kind, bold=True)} is chosen: {output or 'not written; -o FILE.mw writes it'}"
        )


def _show(found: list[Variant]) -> None:
    rows: list[list[object]] = []
    notes = []
    for one in found:
        said = one.evidence
        if said is None:
            notes.append(f"{one.kind}: {one.why}")
            continue
        name, metric = next(iter(said.metrics.items()))
        rows.append(
            [
                one.kind,
                f"{said.size / 1e6:.3g}",
                f"{said.size_ratio:.2f}",
                f"{said.latency_ms:.3g}",
                f"{said.latency_ratio:.2f} ({said.latency_low:.2f} to {said.latency_high:.2f})",
                f"{name} {metric.value:.4g}, change {metric.change:+.2g} ({metric.low:+.2g} to {metric.high:+.2g})",
                said.label_flips,
                f"{said.max_difference:.2g}",
            ]
        )
        notes += [f"{one.kind} is over the budget: {why}" for why in one.broken]
    rounds = next(one.evidence for one in found if one.evidence is not None)
    print_table(
        f"On {rounds.rows} labelled rows (95 % intervals); latency over {rounds.rounds} rounds",
        ["variant", "MB", "of base", "ms a row", "of base", "accuracy", "flips", "largest difference"],
        rows,
    )
    for note in notes:
        click.echo(f"  {note}")
