"""Sealed segments, and those that dead writers left open, to Parquet.

Safe to kill at any point and to run again: a segment is read raw until its Parquet directory appears in one rename,
and from then on by that directory; the raw file is removed afterwards. A segment's writer holds a lock on it while it
lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb

from modelwright.record.open_segment import sync_directory
from modelwright.record.parquet import write_segment
from modelwright.record.segments import COMPACTED, RawSegment, digest_holds, listing

_STALE_SECONDS = 60.0

_logger = logging.getLogger(__name__)


def compact(directory: Path) -> int:
    """Turn every finished segment of a log into Parquet; returns how many.

    A damaged segment is not turned: it is renamed to ``<stem>.bad`` and reported, and its readable records stay in use.
    One that cannot be turned now, as on a full disk, is reported and tried again next time.
    Returns 0 at once when another process is compacting.
    """
    if not directory.is_dir():
        return 0
    with _alone(directory) as alone:
        return _compact(directory) if alone else 0


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[bool]:
    fd = os.open(directory / "compact.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        yield _locked(fd)
    finally:
        os.close(fd)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _compact(directory: Path) -> int:
    _sweep(directory)
    return sum(_compact_one(directory, stem, path) for stem, path in listing(directory).raw.items())


def _sweep(directory: Path) -> None:
    """Remove what a kill left behind: raw files that are compacted, and segments that never got their name."""
    for path in directory.iterdir():
        compacted = path.suffix in {".open", ".seg"} and (directory / COMPACTED / path.stem).is_dir()
        with contextlib.suppress(FileNotFoundError):
            if compacted or (path.suffix == ".new" and time.time() - path.stat().st_mtime > _STALE_SECONDS):
                path.unlink()


def _compact_one(directory: Path, stem: str, path: Path) -> bool:
    if path.suffix == ".bad":
        return False
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False  # sealed since it was listed; its turn comes next time
    try:
        if not _locked(fd) or not path.exists():
            return False
        return _turn(directory, stem, path)
    except (OSError, duckdb.Error) as error:
        _logger.error("prediction log: segment %s could not be compacted and is still read as it is (%s)", stem, error)  # noqa: TRY400 - one line, no traceback
        return False
    finally:
        os.close(fd)


def _turn(directory: Path, stem: str, path: Path) -> bool:
    segment = RawSegment()
    segment.read(path)
    if segment.corrupt or (path.suffix == ".seg" and not digest_holds(path, segment)):
        _logger.error("prediction log: segment %s is damaged, %d frames lost; kept as .bad", stem, segment.lost)
        path.rename(path.with_suffix(".bad"))
        sync_directory(directory)
        return False
    if segment.frames:
        write_segment(directory, stem, segment)
    path.unlink()
    sync_directory(directory)
    return segment.frames > 0
