"""The command that shows a model card."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.interfaces.cli.output import json_option
from modelwright.interfaces.cli.session import current_platform, existing_file

if TYPE_CHECKING:
    from modelwright.core.package import Package
    from modelwright.pack.card_record import Card, Chart

FORMS = click.Choice(["md", "html", "json"])


@click.command(epilog="Example: modelwright card flight-delay:champion --format html -o card.html")
@click.argument("model")
@click.option("--format", "form", type=FORMS, default="md", help="md: Markdown with front matter; html: one page.")
@click.option("--output", "-o", help="File to write; the terminal when left out.")
@click.option(
    "--verdict", help="What `modelwright check --json` printed of this package: its figures go onto the card."
)
@json_option
def card(model: str, form: str, output: str | None, verdict: str | None, as_json: bool) -> None:
    """Show the model card of a package file, or of a registered MODEL[:VERSION or alias].

    A registered version's card also holds its evaluation at register, with intervals and slices, and its lineage. What
    nobody said or measured is shown as missing, with the command that measures it.
    """
    from modelwright.pack import card_forms  # lazy: NumPy

    made = _made(model, verdict)
    if as_json or form == "json":
        text = json.dumps(card_forms.as_json(made), indent=2, ensure_ascii=False) + "\n"
    else:
        text = card_forms.html(made, _drawing(made)) if form == "html" else card_forms.markdown(made)
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


def _drawing(card: Card) -> Callable[[Chart], str] | None:
    """What draws the charts of the card; None without the extra, and then its tables hold the same figures."""
    from modelwright.adapters.charts import altair  # lazy: an extra

    if altair.available():
        return altair.intervals_svg
    if any(section.charts for section in card.sections):
        click.echo(f"Without charts, which need {altair.INSTALL}; the tables hold the same figures.", err=True)
    return None


def _verdict(path: str, package: Package) -> dict[str, Any]:
    """A check of this very package, as `modelwright check --json` printed it.

    Raises:
        BadInputError: ``card.bad-verdict``.
    """
    from modelwright.check import verdict_from_json, verdict_json

    file = existing_file(path, "verdict")
    try:
        verdict = verdict_from_json(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ModelwrightError) as error:
        raise BadInputError(
            "card.bad-verdict",
            f"{path} holds no verdict.",
            why=f"{type(error).__name__}: {str(error)[:200]}.",
            fix="Write it with `modelwright check ... --json > verdict.json`.",
        ) from error
    if verdict.package_digest != package.digest:
        raise BadInputError(
            "card.bad-verdict",
            f"{path} is the verdict on another package.",
            why=f"It judges {verdict.package_digest[:12]}, and this package is {package.digest[:12]}.",
            fix="Check this package, and give what that says.",
        )
    return verdict_json(verdict)


def _made(model: str, verdict: str | None) -> Card:
    from modelwright import wiring  # lazy: adapters
    from modelwright.core.package_codec import load
    from modelwright.lifecycle.cards import version_card
    from modelwright.pack.card import card_of

    if Path(model).exists():
        package = wiring.open_package(Path(model))
        return card_of(package, verdict=_verdict(verdict, package) if verdict else None)
    name, _, reference = model.partition(":")
    with current_platform() as platform:
        version = platform.versions.version(name, reference or "champion")
        package = load(version.digest, platform.blobs.get)
        return version_card(version, package, _verdict(verdict, package) if verdict else None)
