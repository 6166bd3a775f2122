"""Directories and files that only their owner may open, and whose names survive a loss of power."""

from __future__ import annotations

import os
from pathlib import Path


def sync_directory(path: Path) -> None:
    """Flush a directory, so that names made or changed in it are on stable storage."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_directory(path: Path) -> None:
    """Make a 0700 directory, and those above it; no error when it is there."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        make_directory(path.parent)
        make_directory(path)
        return
    sync_directory(path.parent)


def make_file(path: Path) -> None:
    """Make an empty 0600 file; no error when it is there."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    os.close(handle)
    sync_directory(path.parent)
