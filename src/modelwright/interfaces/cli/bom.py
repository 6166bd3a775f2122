"""The command that prints a package's bill of materials."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from modelwright.core.errors import NotFoundError
from modelwright.interfaces.cli.output import json_option, print_json
from modelwright.interfaces.cli.session import current_platform, existing

if TYPE_CHECKING:
    from modelwright.core.package import Package


@click.command(epilog="Example: modelwright bom churn.mw > churn.cdx.json   (or: modelwright bom churn 3)")
@click.argument("package")
@click.argument("version", required=False)
@json_option
def bom(package: str, version: str | None, as_json: bool) -> None:
    """Print the bill of materials of a package, or of a registered VERSION of a model: CycloneDX 1.6, always JSON."""
    del as_json  # there is no other form
    from modelwright.core.package_codec import BOM  # lazy: NumPy

    opened = _opened(package, version)
    if BOM not in opened.manifest.files:
        raise NotFoundError(
            "bom.none",
            f"The package of {opened.name} has no bill of materials.",
            why="It was packed by a release that wrote none.",
            fix="Pack the model again.",
        )
    print_json(json.loads(opened.read(BOM)))


def _opened(package: str, reference: str | None) -> Package:
    from modelwright import wiring  # lazy: adapters
    from modelwright.core import package_codec

    if reference is None:
        return wiring.open_package(existing(package, "package"))
    with current_platform() as platform:
        version = platform.versions.version(package, reference)
        return package_codec.load(version.digest, platform.blobs.get)
