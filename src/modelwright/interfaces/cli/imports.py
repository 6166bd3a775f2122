"""What ``inspect`` says of a file that runs code when it is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from modelwright.interfaces.cli.output import FINDINGS, print_json, print_table

if TYPE_CHECKING:
    from modelwright.adapters.inspection.files import Found


def show_imports(found: Found, where: str, *, as_json: bool) -> int:
    """What opening a file would import, the worst first."""
    order = ("dangerous", "unknown", "known")
    names = sorted(found.names, key=lambda name: (order.index(name.meaning), name))
    if as_json:
        rows = [{"module": n.module, "name": n.attribute, "in": n.where, "meaning": n.meaning} for n in names]
        print_json(
            {"path": where, "kinds": sorted(found.kinds), "dangerous": found.dangerous}
            | {"imports": rows, "doubts": found.doubts}
        )
        return FINDINGS if found.dangerous else 0
    click.echo(f"{click.style(_printable(where), bold=True)}  {', '.join(sorted(found.kinds)) or 'of no known kind'}")
    click.echo(
        "  opened by nobody: this lists what opening it would import, and proves nothing about what is not named"
    )
    click.echo()
    rows_shown = [[n.meaning, _printable(f"{n.module}.{n.attribute}"), _printable(n.where)] for n in names]
    print_table("Imports", ["", "name", "in"], rows_shown, empty="It names nothing to import.")
    for doubt in found.doubts:
        click.echo(f"{click.style('doubt', fg='red', bold=True)} {_printable(doubt)}")
    click.echo(f"\nTo pack it in a jail: modelwright pack {_printable(where)} --name NAME --data FILE --target COLUMN")
    return FINDINGS if found.dangerous else 0


def _printable(text: str) -> str:
    """A stranger's words, fit for a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
