"""Calls into the kernel that the standard library has no name for."""

from __future__ import annotations

import ctypes
import os


def libc() -> ctypes.CDLL:
    """The C library of this process."""
    return ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int = 0, third: int = 0) -> int:
    """``prctl(2)``; -1 where the kernel refuses."""
    return int(libc().prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(third), 0, 0))


def syscall(number: int, *arguments: object) -> int:
    """``syscall(2)``; -1 where the kernel refuses, with :func:`reason` for why."""
    return int(libc().syscall(ctypes.c_long(number), *arguments))


def reason() -> str:
    """Why the last call was refused."""
    return os.strerror(ctypes.get_errno())
