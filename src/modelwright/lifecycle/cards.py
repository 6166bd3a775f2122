"""The model card of a registered version: its package's, with its verdict and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelwright.core.package import Package
from modelwright.core.record_codec import to_json
from modelwright.core.version import Version
from modelwright.pack.card import card_of
from modelwright.pack.card_record import Card


def version_card(version: Version, package: Package, verdict: Mapping[str, Any] | None = None) -> Card:
    """The card; ``verdict`` is another check of the package, in place of the one at register."""
    lineage = {key.replace("_", " ").capitalize(): str(said) for key, said in to_json(version.lineage).items()}
    said = {"Version": version.number, "Registered": f"{version.created_at} by {version.created_by}"}
    return card_of(package, verdict=verdict or version.verdict, lineage=said | lineage)
