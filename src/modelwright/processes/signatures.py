"""What a gateway asks of a package before it loads it: a signature, where the table or a setting says so."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from modelwright.core.content import Content
from modelwright.core.package import Package
from modelwright.core.trust import require_trusted
from modelwright.core.version import RoutingTable
from modelwright.signing.check import best, held_in
from modelwright.signing.keys import read_trusted


def require_on_table(table: RoutingTable, package: Package, get: Callable[[str], Content]) -> None:
    """Check the signature of a package in a role that must be signed, under the keys on the table.

    Only the statement's signature is checked and compared with the manifest: the files are checked against the
    manifest as they are read.

    Raises:
        RefusedError, CorruptError: as :func:`modelwright.core.trust.refusal`.
    """
    asked = any(
        arm.digest == package.digest and arm.role in route.signed
        for route in table.routes.values()
        for arm in (*route.arms, *route.shadows)
    )
    if asked:
        bundles = _bundles(table, package, get)
        require_trusted(best(package.manifest, bundles, table.trusted, time.time()), f"Package {package.name}")


def require_by_setting(trusted_keys: str, package: Package, bundles: list[bytes]) -> None:
    """Check that one of the keys of the setting ``trusted_keys`` signed a package; no such setting asks for nothing.

    Raises:
        RefusedError, CorruptError: as :func:`modelwright.core.trust.refusal`.
        NotFoundError, BadInputError: a key's file cannot be read.
    """
    if trusted_keys:
        keys = read_trusted(Path(trusted_keys).expanduser())
        require_trusted(best(package.manifest, bundles, keys, time.time()), f"Package {package.name}")


def checked(trusted_keys: str, package: Package) -> Package:
    """A package from a file or a folder, if the setting allows it.

    Raises:
        RefusedError, CorruptError, NotFoundError, BadInputError: as :func:`require_by_setting`.
    """
    require_by_setting(trusted_keys, package, [package.bundle] if package.bundle is not None else [])
    return package


def checked_on_table(
    trusted_keys: str, table: RoutingTable, package: Package, get: Callable[[str], Content]
) -> Package:
    """A package of a registry, if the table and the setting allow it.

    Raises:
        RefusedError, CorruptError, NotFoundError, BadInputError: as :func:`require_by_setting`.
    """
    require_on_table(table, package, get)
    if trusted_keys:
        require_by_setting(trusted_keys, package, _bundles(table, package, get))
    return package


def _bundles(table: RoutingTable, package: Package, get: Callable[[str], Content]) -> list[bytes]:
    return held_in([one.bundle for one in table.signatures if one.digest == package.digest], get)
