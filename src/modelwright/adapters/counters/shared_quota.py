"""One allowance for every gateway of a data directory: a memory-mapped table of when each caller is due.

A slot is 16 bytes: the first 8 bytes of the key, and when its next use is due (8-byte float). Slots are found by open
addressing; where every slot is taken, the one that is due first makes room.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from pathlib import Path

from modelwright.ports.quota import take_turn

FILE = "quota"  # under run/
SLOTS = 4096
_SLOT = struct.Struct("=Qd")
_ATTEMPTS, _PAUSE = 200, 5e-5  # seconds


class SharedQuota:
    """A :class:`~modelwright.ports.quota.Quota` in a file that several processes map.

    Args:
        path: made 0600 where it is missing.

    Raises:
        OSError: the file cannot be made, or the disk has no room for it.
    """

    def __init__(self, path: Path) -> None:
        size = SLOTS * _SLOT.size
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(self._descriptor, 0, size)  # a page without room would kill its writer
            self._table = mmap.mmap(self._descriptor, size)
        except BaseException:
            os.close(self._descriptor)
            raise

    def take(self, key: str, rate: float, now: float) -> float:
        """Count one use, or say how long to wait."""
        name = int(key[:16], 16) | 1  # 0 marks a free slot
        locked = self._lock()
        try:
            place, due = self._find(name)
            due, wait = take_turn(due, rate, now)
            _SLOT.pack_into(self._table, place, name, due)
        finally:
            if locked:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return wait

    def close(self) -> None:
        """Let go of the file; what is counted stays in it."""
        self._table.close()
        os.close(self._descriptor)

    def _lock(self) -> bool:
        """Held for a microsecond by whoever runs; who was stopped meanwhile delays the others a little."""
        for _ in range(_ATTEMPTS):
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_PAUSE)
            else:
                return True
        return False

    def _find(self, name: int) -> tuple[int, float]:
        """Where the key's slot is, or is to be, and when the key is due (0: never seen)."""
        earliest, freed = float("inf"), 0
        for step in range(SLOTS):
            place = (name + step) % SLOTS * _SLOT.size
            found, due = _SLOT.unpack_from(self._table, place)
            if found == name:
                return place, due
            if not found:
                return place, 0.0
            if due < earliest:
                earliest, freed = due, place
        return freed, 0.0
