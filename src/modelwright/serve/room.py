"""Which versions make room for another one: pure decisions over what each of them holds."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from modelwright.core.errors import UnavailableError
from modelwright.serve.load import Loaded


def estimate(loaded: Loaded) -> int:
    """Bytes that a version will hold: what it held before, else the size of its files."""
    return loaded.memory_bytes or sum(entry.size for entry in loaded.package.manifest.files.values())


def held(versions: Iterable[Loaded]) -> int:
    """Bytes of those in memory."""
    return sum(version.memory_bytes for version in versions if version.runner is not None)


def make_room(
    need: int, budget: int, versions: Collection[Loaded], keep: Collection[Loaded], loading: int
) -> list[Loaded] | None:
    """Who goes so that ``need`` bytes fit, the least recently used first; None while too many of them are in use.

    Args:
        need: bytes wanted.
        budget: bytes that all of them may hold together.
        versions: everything that may be in memory.
        keep: those that stay.
        loading: bytes that loads under way have been promised.

    Raises:
        UnavailableError: ``serve.over-budget``: it would not fit even if all others went.
    """
    stays = held(version for version in versions if version in keep)
    if need > budget - stays:
        raise over_budget(f"It needs {need:,} bytes", stays, budget)
    missing = held(versions) + loading + need - budget
    victims: list[Loaded] = []
    for version in sorted(versions, key=lambda version: version.used):
        if missing <= 0:
            break
        if version.runner is not None and not version.in_flight and version not in keep:
            victims.append(version)
            missing -= version.memory_bytes
    return victims if missing <= 0 else None


def over_budget(need: str, stays: int, budget: int) -> UnavailableError:
    """The error for what cannot fit, whoever else goes."""
    return UnavailableError(
        "serve.over-budget",
        "The memory budget is too small.",
        why=f"{need}; of {budget:,} bytes, {stays:,} are held by versions that must stay.",
        fix="Raise MODELWRIGHT_MEMORY_BUDGET, or pin fewer models.",
        details={"budget": budget, "stays": stays},
    )
