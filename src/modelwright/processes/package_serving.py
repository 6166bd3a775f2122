"""Serving without a registry: the packages, or the folder of packages, that the command line names."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelwright.adapters.stores.package_files import open_path
from modelwright.core.errors import BadInputError
from modelwright.core.package import Package
from modelwright.core.version import Arm, Route, RoutingTable, TokenGrant
from modelwright.interfaces.http.server import DataPlane
from modelwright.processes.gateway_options import GatewayOptions
from modelwright.processes.signatures import checked

if TYPE_CHECKING:
    from modelwright.processes.folder_serving import FolderServing

STANDALONE_VERSION = "1"


class PackageServing:
    """Puts packages into force, once.

    Args:
        paths: the packages.
        token: what callers must show; empty: nothing.
        server: what serves them.
        in_thread: runs a function beside the traffic.
        trusted_keys: the setting of that name.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        token: str,
        server: DataPlane,
        in_thread: Callable[..., Awaitable[Any]],
        trusted_keys: str,
    ) -> None:
        self._paths, self._token, self._server, self._in_thread = paths, token, server, in_thread
        self._trusted_keys = trusted_keys

    async def start(self) -> None:
        """Serve them.

        Raises:
            ModelwrightError: one of them cannot be served.
        """
        packages = [checked(self._trusted_keys, open_path(path)) for path in self._paths]
        table = standalone_table(packages, self._token)
        by_digest = {package.digest: package for package in packages}
        self._server.commit(await self._in_thread(self._server.plane.prepare, table, by_digest.__getitem__))

    async def follow(self, ended: asyncio.Event) -> None:
        """Nothing changes any more."""
        await ended.wait()


def serving_of(
    options: GatewayOptions,
    token: str,
    server: DataPlane,
    in_thread: Callable[..., Awaitable[Any]],
    trusted_keys: str,
) -> PackageServing | FolderServing:
    """What serves the folder of the options, or else their packages; the others as those of :class:`PackageServing`."""
    if options.models is None:
        return PackageServing(options.packages, token, server, in_thread, trusted_keys)
    # lazy: packages alone need no more
    from modelwright.processes.folder import PackageFolder
    from modelwright.processes.folder_serving import FolderServing

    woken = asyncio.Event()
    check = partial(checked, trusted_keys) if trusted_keys else None
    return FolderServing(PackageFolder(options.models, grants_of(token), woken.set, check), server, in_thread, woken)


def standalone_table(packages: Sequence[Package], token: str) -> RoutingTable:
    """Every package as version 1 and champion of its model; an empty token means that none is asked for.

    Raises:
        BadInputError: ``serve.duplicate-model``.
    """
    routes: dict[str, Route] = {}
    for package in packages:
        if package.name in routes:
            raise BadInputError(
                "serve.duplicate-model", f"Two packages hold a model named {package.name!r}.", fix="Give one of them."
            )
        arm = Arm(STANDALONE_VERSION, package.digest, 1.0, "champion")
        routes[package.name] = Route(package.name, (arm,))
    return RoutingTable(1, routes, grants_of(token), authenticate=bool(token))


def grants_of(token: str) -> tuple[TokenGrant, ...]:
    """Everything is granted to who has the token; an empty one means that none is asked for."""
    return (TokenGrant(hashlib.sha256(token.encode()).hexdigest(), "operator", "admin"),) if token else ()
