"""The event loop, as the processes of models are watched with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class LoopWatch:
    """An event loop as processes of models are watched with (``ports.runner.Watch``).

    Args:
        after: called after each piece of work.
    """

    def __init__(self, after: Callable[[], None]) -> None:
        self._after = after
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Use the running loop from now on."""
        self._loop = asyncio.get_running_loop()

    def add_reader(self, descriptor: int, ready: Callable[[], None]) -> None:
        """Call ``ready`` whenever the descriptor can be read."""
        self._running.add_reader(descriptor, self._do, ready)

    def remove_reader(self, descriptor: int) -> None:
        """Stop that."""
        self._running.remove_reader(descriptor)

    def call_soon(self, work: Callable[[], None]) -> None:
        """Call ``work`` on the loop's thread."""
        self._running.call_soon_threadsafe(self._do, work)

    @property
    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise RuntimeError("the event loop does not run yet")
        return self._loop

    def _do(self, work: Callable[[], None]) -> None:
        work()
        self._after()
