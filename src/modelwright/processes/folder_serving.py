"""Serving a folder of packages without a registry: what is added, removed or replaced there is followed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from modelwright.core.errors import ModelwrightError
from modelwright.interfaces.http.server import DataPlane
from modelwright.processes.folder import Change, PackageFolder

LOOK_SECONDS = 0.5

_logger = logging.getLogger(__name__)


class FolderServing:
    """Puts a folder into force, and every change of it.

    Args:
        folder: what is there.
        server: what serves it.
        in_thread: runs a function beside the traffic.
        woken: set when somebody asked for a change.
    """

    def __init__(
        self,
        folder: PackageFolder,
        server: DataPlane,
        in_thread: Callable[..., Awaitable[Any]],
        woken: asyncio.Event,
    ) -> None:
        self._folder, self._server, self._in_thread, self._woken = folder, server, in_thread, woken
        self._unreadable = False

    async def start(self) -> None:
        """Serve what is there now.

        Raises:
            ModelwrightError: the folder cannot be read, or what is pinned does not fit into memory.
        """
        await self._in_thread(self._folder.look)
        await self._put_in_force()
        self._server.turn.repository.source = self._folder

    async def follow(self, ended: asyncio.Event) -> None:
        """Serve what is there from now on."""
        ending = asyncio.create_task(ended.wait())
        try:
            while not ended.is_set():
                waking = asyncio.create_task(self._woken.wait())
                await asyncio.wait([ending, waking], timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                waking.cancel()
                self._woken.clear()
                await self._look(self._folder.take_changes())
        finally:
            ending.cancel()

    async def _look(self, changes: list[Change]) -> None:
        try:
            new = await self._in_thread(self._folder.look, frozenset(change.model for change in changes if change.load))
            self._unreadable = False
            if new or changes:
                await self._put_in_force()
        except ModelwrightError as error:
            if changes or not self._unreadable:
                _logger.warning("folder not followed", extra=error.to_json())
            self._unreadable = True
            for change in changes:
                change.done(error)
            return
        for change in changes:
            self._answer(change)

    async def _put_in_force(self) -> None:
        folder, plane = self._folder, self._server.plane
        table = folder.table()
        self._server.commit(await self._in_thread(plane.prepare, table, folder.package, folder.without))
        folder.settle()
        _logger.info("folder in force", extra={"models": len(plane.routes)})
        self._server.turn.schedule()

    def _answer(self, change: Change) -> None:
        """Tell who asked: of a load when the newest version is in memory, or why it is not."""
        plane = self._server.plane
        failure = self._folder.failure(change.model) if change.load else None
        with contextlib.suppress(ModelwrightError):  # unloaded by a later change: nothing is left to be said of it
            if change.load and failure is None:
                plane.residence.warm(plane.route(change.model).champion, change.done)
                self._server.turn.schedule()
                return
        change.done(failure)
