"""The kernel's file rules: what this process and the threads it starts may open from now on."""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path

from modelwright.jail import kernel

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL_DEVICE = 1 << 13, 1 << 14, 1 << 15
_BIND_AND_CONNECT, _ABSTRACT_SOCKETS_AND_SIGNALS = 3, 3
READS = _READ_FILE | _READ_DIR
_WRITES = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))
# What stays allowed in scratch: writing, removing, moving, plain files and directories; no links, pipes, sockets or
# devices.
_PLAIN = _WRITE_FILE | (1 << 4) | (1 << 5) | (1 << 7) | (1 << 8) | _REFER | _TRUNCATE
TRUNCATION_SINCE = 3
"""The version of the rules that first covers truncation."""


def version() -> int:
    """The version of the rules that this kernel has; 0 where it has none."""
    return max(kernel.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION)), 0)


class Ruleset:
    """Rules that are written while everything is still in reach, and put in force later.

    Nothing may be written but below ``scratch`` and to /dev/null, nothing be executed, and nothing be read but below
    ``readable``; from version 4 on no TCP, from 6 on no signals and no abstract sockets to processes outside.
    """

    def __init__(self, version: int, scratch: Path, readable: Iterable[Path]) -> None:
        self._rights = _handled(version)
        attributes = struct.pack("<QQQ", self._rights, _BIND_AND_CONNECT, _ABSTRACT_SOCKETS_AND_SIGNALS)
        size = 8 if version < 4 else 16 if version < 6 else 24
        self._descriptor = kernel.syscall(_CREATE, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), kernel.reason())
        for path in readable:
            with contextlib.suppress(OSError):  # gone, or a mount that does not answer: not allowed then
                self._allow(path, READS)
        self._allow(scratch, _PLAIN | READS)
        self._allow(Path(os.devnull), _WRITE_FILE | _READ_FILE)

    def _allow(self, path: Path, rights: int) -> None:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISDIR(os.fstat(beneath).st_mode):
                rights &= _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
            rule = struct.pack("<Qi", rights & self._rights, beneath)
            if kernel.syscall(_ADD, self._descriptor, _PATH_BENEATH, rule, ctypes.c_uint32(0)) != 0:
                raise OSError(ctypes.get_errno(), kernel.reason(), str(path))
        finally:
            os.close(beneath)

    def restrict(self) -> None:
        """Put the rules in force for the calling thread and all that it starts.

        Raises:
            OSError: the kernel refused; whoever kept a right that the rules were to bound must not go on.
        """
        if kernel.syscall(_RESTRICT, self._descriptor, ctypes.c_uint32(0)) != 0:
            raise OSError(ctypes.get_errno(), kernel.reason())
        os.close(self._descriptor)


def _handled(version: int) -> int:
    later = {2: _REFER, TRUNCATION_SINCE: _TRUNCATE, 5: _IOCTL_DEVICE}
    return _EXECUTE | READS | _WRITES | sum(right for since, right in later.items() if version >= since)
