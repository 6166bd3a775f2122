"""A timer of microseconds for an event loop, whose own has milliseconds: too coarse to send requests when due."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable

_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC = 1, os.O_NONBLOCK | os.O_CLOEXEC
_PR_SET_TIMERSLACK = 29


class _Times(ctypes.Structure):
    _fields_ = (
        ("again_seconds", ctypes.c_long),
        ("again_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class Timer:
    """Calls ``fire`` once after each :meth:`wake`. On systems without timerfd it is as coarse as the loop's own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fire: Callable[[], None]) -> None:
        self._loop, self._fire, self._descriptor = loop, fire, -1
        self._handle: asyncio.TimerHandle | None = None
        if sys.platform.startswith("linux"):
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._descriptor = self._libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self._descriptor >= 0:
            self._libc.prctl(_PR_SET_TIMERSLACK, 1000, 0, 0, 0)  # the kernel's own is 50 microseconds
            loop.add_reader(self._descriptor, self._rung)

    def wake(self, seconds: float) -> None:
        """Fire after so many seconds (at once where they are not positive)."""
        if self._descriptor < 0:
            self._handle = self._loop.call_later(max(seconds, 0.0), self._fire)
            return
        nanoseconds = max(1, int(seconds * 1e9))
        times = _Times(0, 0, nanoseconds // 10**9, nanoseconds % 10**9)
        self._libc.timerfd_settime(self._descriptor, 0, ctypes.byref(times), None)

    def close(self) -> None:
        """Fire no more."""
        if self._handle is not None:
            self._handle.cancel()
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _rung(self) -> None:
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:  # set anew meanwhile
            return
        self._fire()
