"""One segment file while it is being written."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from pathlib import Path

Frame = tuple[bytes, int, float]
"""The bytes of a frame, the predicted rows it stands for, and since when these are missing (0 unless a gap record)."""


class OpenSegment:
    """One open segment file under an exclusive lock, which tells a compactor that its writer lives.

    ``size`` counts written bytes, ``synced`` those on stable storage, ``unsynced`` the frames in between.
    """

    def __init__(self, directory: Path, stem: str) -> None:
        self.path = directory / f"{stem}.open"
        self.size = self.synced = self.frames = 0
        self.unsynced: list[Frame] = []
        self.unsynced_bytes = 0
        self.last_sequence = -1
        self.linked = False
        created = directory / f"{stem}.new"
        self.fd = os.open(created, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            created.rename(self.path)
        except OSError:
            os.close(self.fd)
            with contextlib.suppress(OSError):
                created.unlink()
            raise

    def link(self) -> None:
        """Put the directory entry on stable storage, once."""
        if not self.linked:
            sync_directory(self.path.parent)
            self.linked = True

    def digest(self) -> bytes:
        """SHA-256 of every byte written so far."""
        whole, at = hashlib.sha256(), 0
        while at < self.size:
            part = os.pread(self.fd, min(2**20, self.size - at), at)
            if not part:
                break
            whole.update(part)
            at += len(part)
        return whole.digest()


def sync_directory(directory: Path) -> None:
    """Put a directory's entries on stable storage."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
