"""What this process holds in memory, and giving back what it no longer needs."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

_STATM = Path("/proc/self/statm")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_ARENA_MAX = -8  # M_ARENA_MAX of malloc.h
_FIELDS = (
    "arena",
    "ordblks",
    "smblks",
    "hblks",
    "hblkhd",
    "usmblks",
    "fsmblks",
    "uordblks",
    "fordblks",
    "keepcost",
)


class _Mallinfo2(ctypes.Structure):
    """``struct mallinfo2`` of the GNU C library."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in _FIELDS)


def _find(name: str) -> Any:
    with contextlib.suppress(OSError, AttributeError):
        return getattr(ctypes.CDLL(None), name)
    return None


_trim: Callable[[int], int] | None = _find("malloc_trim")
_mallopt: Callable[[int, int], int] | None = _find("mallopt")
_mallinfo2 = _find("mallinfo2")
if _mallinfo2 is not None:
    _mallinfo2.restype = _Mallinfo2


def resident_bytes() -> int:
    """The pages of this process that are in memory; 0 where the system does not say."""
    try:
        return int(_STATM.read_text().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def allocated_bytes() -> int:
    """What is allocated and not freed, where the C library says; else :func:`resident_bytes`.

    Tells a load's cost better than resident pages: those also count what was freed and is about to be used again.
    """
    if _mallinfo2 is None:
        return resident_bytes()
    told = _mallinfo2()
    return int(told.uordblks + told.hblkhd)


def keep_one_heap() -> None:
    """Have all threads allocate from one heap; to be called before there are others.

    Of the heap of another thread the GNU C library never gives back the end, which can be as large as a model.
    """
    if _mallopt is not None:
        _mallopt(_ARENA_MAX, 1)


def give_back() -> None:
    """Return freed pages to the system, where the C library can: of its own accord it keeps most of them."""
    if _trim is not None:
        _trim(0)
