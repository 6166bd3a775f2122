"""The data directory, made and kept private, and the project file, changed and put back."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from modelwright.core.errors import BadInputError

if TYPE_CHECKING:
    from modelwright.core.package import Package


def make_home(home: Path, *names: str) -> None:
    """Make the data directory (0700), and these folders in it.

    Raises:
        BadInputError: ``settings.home-unusable``.
    """
    try:
        for folder in (home, *(home / name for name in names)):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BadInputError(
            "settings.home-unusable",
            f"The data directory {home} cannot be used: {error.strerror}.",
            fix="Set MODELWRIGHT_HOME (or --home) to a directory that you may write to.",
        ) from error


def private_home(home: Path) -> Path:
    """Make the data directory (0700) with its folders.

    Raises:
        BadInputError: ``settings.home-unusable`` when it cannot be made or others may write to it.
    """
    make_home(home, "blobs", "log", "run", "keys", "work")
    if not os.access(home, os.W_OK | os.X_OK):
        raise BadInputError(
            "settings.home-unusable",
            f"The data directory {home} is read-only for you.",
            why="Even a look at the registry keeps its ledger signed, and so must write.",
            fix="Set MODELWRIGHT_HOME (or --home) to a directory that you may write to.",
        )
    if home.stat().st_mode & 0o022:
        raise BadInputError(
            "settings.home-unusable",
            f"Others may write to the data directory {home}.",
            why="Whoever can write there can replace a model.",
            fix=f"chmod go-w {home}",
        )
    return home


def serve_alone(package: Package, home: Path) -> str:
    """Make ``home`` a data directory whose gateways serve that package alone; the token they ask for."""
    # lazy: see wiring
    from modelwright.adapters.stores.local_blobs import LocalBlobs
    from modelwright.adapters.targets.process import ProcessTarget
    from modelwright.core import package_codec
    from modelwright.core.version import Arm, Route, RoutingTable, TokenGrant

    private_home(home)
    token = f"mw_{secrets.token_urlsafe(32)}"
    digest = package_codec.store(package, LocalBlobs(home / "blobs").put)
    route = Route(package.name, (Arm("1", digest, 1.0, "champion"),))
    grant = TokenGrant(hashlib.sha256(token.encode()).hexdigest(), "bench", "admin")
    ProcessTarget(home / "run").publish(RoutingTable(1, {package.name: route}, (grant,)))
    return token


def change_settings(project: Path, values: Mapping[str, object]) -> dict[str, object]:
    """Set these settings in the project file; their former values there (None: not there)."""
    from modelwright.adapters.sources.project_settings import change  # lazy: see wiring

    return change(project, values)


def restore_settings(project: Path) -> None:
    """Make the project file what it was before :func:`change_settings`."""
    from modelwright.adapters.sources.project_settings import restore  # lazy: see wiring

    restore(project)
