"""The command that shows a model card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelwright.core.errors import BadInputError
from modelwright.interfaces.cli.output import json_option
from modelwright.interfaces.cli.session import current_platform

if TYPE_CHECKING:
    from modelwright.pack.card_record import Card

FORMS = click.Choice(["md", "html", "json"])


@click.command(epilog="Example: modelwright card flight-delay:champion --format html -o card.html")
@click.argument("model")
@click.option("--format", "form", type=FORMS, default="md", help="md: Markdown with front matter; html: one page.")
@click.option("--output", "-o", help="File to write; the terminal when left out.")
@json_option
def card(model: str, form: str, output: str | None, as_json: bool) -> None:
    """Show the model card of a package file, or of a registered MODEL[:VERSION or alias].

    A registered version's card also holds its evaluation at register, with intervals, and its lineage. What nobody
    said or measured is shown as not provided.
    """
    from modelwright.pack import card_forms  # lazy: NumPy

    made = _made(model)
    if as_json or form == "json":
        text = json.dumps(card_forms.as_json(made), indent=2, ensure_ascii=False) + "\n"
    else:
        text = card_forms.html(made) if form == "html" else card_forms.markdown(made)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInputError(
            "cli.unwritable",
            f"{output} cannot be written.",
            why=f"{error.strerror or error}.",
            fix="Give a path in a directory that exists and is writable.",
        ) from error


def _made(model: str) -> Card:
    from modelwright import wiring  # lazy: adapters
    from modelwright.core.package_codec import load
    from modelwright.core.record_codec import to_json
    from modelwright.pack.card import card_of

    if Path(model).exists():
        return card_of(wiring.open_package(Path(model)))
    name, _, reference = model.partition(":")
    with current_platform() as platform:
        version = platform.versions.version(name, reference or "champion")
        lineage = {key.replace("_", " ").capitalize(): str(said) for key, said in to_json(version.lineage).items()}
        said = {"Version": version.number, "Registered": f"{version.created_at} by {version.created_by}"}
        package = load(version.digest, platform.blobs.get)
        return card_of(package, verdict=version.verdict, lineage=said | lineage)
