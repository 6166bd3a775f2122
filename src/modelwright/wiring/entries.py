"""What entry points name: built-in adapters and a user's own, through the same doorway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from modelwright.core.errors import BadInputError
from modelwright.ports.channel import Channel


def plugin(group: str, name: str) -> EntryPoint:
    """The entry point of that name.

    Raises:
        BadInputError: ``plugins.unknown`` naming what there is.
    """
    found = {point.name: point for point in entry_points(group=group)}
    if name not in found:
        raise BadInputError(
            "plugins.unknown", f"There is no {name!r} in {group}.", fix=f"Known: {', '.join(sorted(found)) or 'none'}."
        )
    return found[name]


def plugins() -> list[dict[str, str]]:
    """Every entry point of our groups: ``group``, ``name``, ``distribution``, ``error`` (empty when it loads)."""
    found = []
    for group in ("modelwright.frameworks", "modelwright.loaders", "modelwright.channels"):
        for point in entry_points(group=group):
            try:
                point.load()
                error = ""
            except ImportError as failure:
                error = str(failure)
            source = point.dist.name if point.dist else ""
            found.append({"group": group, "name": point.name, "distribution": source, "error": error})
    return found


def listed_frameworks() -> list[dict[str, Any]]:
    """Every kind of model that can be packed; see :func:`modelwright.adapters.frameworks.listing.listed`."""
    from modelwright.adapters.frameworks.listing import listed  # lazy: see wiring

    return listed(entry_points(group="modelwright.frameworks"))


def channels(configured: Sequence[Mapping[str, Any]]) -> tuple[Channel, ...]:
    """The log channel and those of the project file."""
    wanted: list[Mapping[str, Any]] = [{"channel": "log"}, *configured]
    return tuple(
        plugin("modelwright.channels", str(row["channel"])).load()(
            **{key: value for key, value in row.items() if key != "channel"}
        )
        for row in wanted
    )
