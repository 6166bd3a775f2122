"""Serving what the registry's routing table says, and every newer one that is published."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from modelwright.adapters.stores.local_blobs import LocalBlobs
from modelwright.adapters.targets.process import ROUTING_FILE, GatewayPresence
from modelwright.core import package_codec, routing_codec
from modelwright.core.errors import ModelwrightError, UnavailableError
from modelwright.core.package import Package
from modelwright.core.version import RoutingTable
from modelwright.interfaces.http.server import DataPlane
from modelwright.processes.signatures import checked_on_table
from modelwright.serve.plane import Plane
from modelwright.serve.prepare import arms_of

POLL_SECONDS = 0.05
PUBLISH_SECONDS = 1.0

_logger = logging.getLogger("modelwright.gateway")


class TableServing:
    """Follows ``run/routing.json`` and never asks the database.

    Args:
        home: the data directory.
        gateway_id: this gateway's id there.
        server: what serves the table.
        in_thread: runs a function beside the traffic.
        supervised: a supervisor keeps the gateway: what cannot be served now is served by a later table.
        successor: another gateway still serves: nothing less than the whole table is taken.
        trusted_keys: the setting of that name.
    """

    def __init__(
        self,
        home: Path,
        gateway_id: str,
        server: DataPlane,
        in_thread: Callable[..., Awaitable[Any]],
        *,
        supervised: bool,
        successor: bool,
        trusted_keys: str = "",
    ) -> None:
        self._path, self._blobs = home / "run" / ROUTING_FILE, home / "blobs"
        self._gateway_id, self._server, self._plane = gateway_id, server, server.plane
        self._in_thread, self._supervised, self._successor = in_thread, supervised, successor
        self._trusted_keys = trusted_keys
        self._address = ""
        self._seen = (0, 0)

    async def follow(
        self,
        address: str,
        ended: asyncio.Event,
        accept: Callable[[], Awaitable[bool]],
        announce: Callable[[], object],
    ) -> None:
        """Serve until ``ended``; not ready before the first table.

        A table that is there already is loaded before the first connection is accepted: those wait on the socket.

        Args:
            address: where this gateway listens, for its report.
            ended: set when it is over.
            accept: opens the interfaces; False: the gateway is told to stop already.
            announce: called once, when the first table is in force.

        Raises:
            UnavailableError: ``serve.no-table``.
        """
        self._address = address
        presence = GatewayPresence(self._path.parent, self._gateway_id)
        try:
            await self._look(presence)
            if self._successor and self._plane.table is None:
                raise UnavailableError("serve.no-table", "No routing table could be loaded whole.")
            if not await accept():
                return
            announced, published = False, 0.0
            while not ended.is_set():
                await self._look(presence)
                if not announced and self._plane.table is not None:
                    announced = True
                    announce()
                if time.monotonic() - published > PUBLISH_SECONDS:
                    published = time.monotonic()
                    self._server.metrics.publish()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), POLL_SECONDS)
        finally:
            presence.close()

    async def _look(self, presence: GatewayPresence) -> None:
        """Read the table if it was replaced."""
        stamp = _stamp(self._path)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            table = await self._in_thread(_read_table, self._path)
        except (OSError, ModelwrightError) as error:
            _logger.exception("routing table unreadable", exc_info=error)
            return
        if self._plane.table is None or table.epoch > self._plane.table.epoch:
            await self._take(table, presence)

    async def _take(self, table: RoutingTable, presence: GatewayPresence) -> None:
        """Load a table beside the traffic and swap it in; keep the old one and say why when that fails."""
        error: dict[str, object] | None = None
        began = time.monotonic()
        try:
            self._server.commit(await self._in_thread(self._plane.prepare, table, partial(self._open_package, table)))
        except ModelwrightError as failure:
            if failure.code == "serve.over-budget" and self._plane.table is None and not self._supervised:
                raise
            error = {"epoch": table.epoch, "what": str(failure), "code": failure.code}
            _logger.error("table refused", extra=error)  # noqa: TRY400 - the reason is in it; a traceback says no more
        except Exception:
            error = {"epoch": table.epoch, "what": "An unexpected error; see the gateway's log."}
            _logger.exception("table refused", extra={"epoch": table.epoch})
        else:
            seconds = round(time.monotonic() - began, 4)
            _logger.info(
                "table in force", extra={"epoch": table.epoch, "models": sorted(table.routes), "seconds": seconds}
            )
        # where what is pinned does not fit, no part of the table is what was asked for
        salvageable = error is not None and error.get("code") != "serve.over-budget"
        if salvageable and self._plane.table is None and not self._successor:
            await self._salvage(table)
        self._server.metrics.publish()
        body = {
            "pid": os.getpid(),
            "epoch": epoch_of(self._plane),
            "http": self._address,
            "error": error,
            "at": time.time(),
        }
        try:
            await self._in_thread(presence.report, body)
        except OSError as failure:  # a full disk must not stop predictions
            _logger.exception("report not written", exc_info=failure)

    async def _salvage(self, table: RoutingTable) -> None:
        """At the start there is no old table to keep: serve every model that loads, all at once, as epoch 0."""

        def drop(given: RoutingTable, failed: Mapping[str, ModelwrightError]) -> RoutingTable:
            whole = {name: r for name, r in given.routes.items() if all(arm.digest not in failed for arm in arms_of(r))}
            return replace(given, routes=whole)

        good = {name: route for name, route in table.routes.items() if route.arms}
        try:
            prepared = await self._in_thread(
                self._plane.prepare, replace(table, epoch=0, routes=good), partial(self._open_package, table), drop
            )
        except Exception as failure:
            _logger.exception("no model served", exc_info=failure)
            return
        for digest, error in prepared.failed.items():
            _logger.error("not loaded", extra={"digest": digest, **error.to_json()})
        if prepared.routes:
            self._server.commit(prepared)

    def _open_package(self, table: RoutingTable, digest: str) -> Package:
        get = LocalBlobs(self._blobs).get
        return checked_on_table(self._trusted_keys, table, package_codec.load(digest, get), get)


def epoch_of(plane: Plane) -> int:
    """Epoch of the table in force; -1 before the first."""
    return -1 if plane.table is None else plane.table.epoch


def _stamp(path: Path) -> tuple[int, int]:
    """What changes whenever the file is replaced."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_ino, status.st_mtime_ns)


def _read_table(path: Path) -> RoutingTable:
    return routing_codec.decode(path.read_bytes())
