"""The command that says what can be packed, and shows it on real models."""

from __future__ import annotations

from typing import Any

import click

from modelwright.interfaces.cli.output import json_option, print_json, print_table
from modelwright.interfaces.cli.server import become


@click.command(epilog="Example: modelwright frameworks --matrix --family XGBoost --output matrix.md")
@click.option("--matrix", is_flag=True, help="Train, pack and time small models of every framework that is installed.")
@click.option("--family", "families", multiple=True, help="With --matrix: this family only; may be repeated.")
@click.option("--rounds", type=click.IntRange(1, 1000), help="With --matrix: rounds of timing for each model [7].")
@click.option("--output", help="With --matrix: write the table to this file, as Markdown.")
@json_option
def frameworks(matrix: bool, families: tuple[str, ...], rounds: int | None, output: str | None, as_json: bool) -> None:
    """List what can be packed, whether what it needs is installed, and the command that installs it.

    With --matrix, exit code 1 when a model could not be packed, or answers otherwise than its framework.
    """
    if matrix:
        arguments = [part for name in families for part in ("--family", name)]
        arguments += ["--output", output] if output else []
        arguments += ["--rounds", str(rounds)] if rounds else []
        become("modelwright.demo.matrix.main", arguments + (["--json"] if as_json else []))
    if families or rounds or output:
        raise click.UsageError("--family, --rounds and --output go with --matrix.")
    from modelwright import wiring  # lazy: adapters

    found: list[dict[str, Any]] = wiring.listed_frameworks()
    if as_json:
        print_json(found)
        return
    rows = [[f["title"], f["adapter"], f["takes"], _state(f), f["install"]] for f in found]
    print_table("Frameworks", ["framework", "adapter", "takes", "installed", "install"], rows)


def _state(found: dict[str, Any]) -> str:
    return "yes" if found["installed"] else f"no: {found['missing']} is missing"
