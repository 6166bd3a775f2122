"""Counters in memory-mapped files, one per process in one directory, so that any process can tell the sum.

A killed process leaves its counts behind: the pages belong to the file. Its owner holds a lock on the file for as long
as it lives. :func:`fold` puts the files of the dead into one.

A file is a header (magic, used bytes) and records; a record is the length of its key, the number of its slots, the key
as JSON padded to 8 bytes, and the slots, 8-byte floats. A record with an empty key fills a block up. ``used`` moves
after a record is whole, so a reader never sees a part of one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import mmap
import os
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from modelwright.ports.counters import Key, Part, Slots, added

FOLDER = "metrics"  # under run/
FOLDED = "folded"
BLOCK_BYTES = 64 * 2**10
_MAGIC = b"MWCOUNT1"
_HEADER, _RECORD, _SLOT = struct.Struct("=8sQ"), struct.Struct("=II"), 8
_ATTEMPTS = 100
_ABSENT = (FileNotFoundError, NotADirectoryError)

_logger = logging.getLogger(__name__)


class MappedCounters:
    """A :class:`~modelwright.ports.counters.Counters` over one directory.

    Where the disk is full it goes on in memory: then the others do not see the newest series of this process.

    Args:
        directory: of all processes that count together; created 0700.
        name: of this process; letters, digits, ``.`` and ``_``.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._path = directory / f"{name}-{time.time_ns()}"
        self._values: dict[Key, Slots] = {}
        self._descriptor = -1
        self._blocks: list[memoryview] = []
        self._used = _HEADER.size
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._create()
        except OSError as error:
            self._give_up(error)

    def slots(self, key: Key, values: Sequence[float]) -> Slots:
        """A view of the file, or a list where the file cannot grow."""
        made: Slots = list(values)
        if self._blocks:
            try:
                made = self._append(key, values)
            except (OSError, ValueError) as error:
                self._give_up(error)
        self._values[key] = made
        return made

    def parts(self) -> Sequence[Part]:
        """Own values as they stand, and every other file; again when files were folded meanwhile."""
        own = Part(live=True, values={key: list(slots) for key, slots in self._values.items()})
        for _ in range(_ATTEMPTS):
            before = _stamp(self._directory / FOLDED)
            with contextlib.suppress(FileNotFoundError):
                others = _read_all(self._directory, without=self._path.name)
                if _stamp(self._directory / FOLDED) == before:
                    return [own, *others]
        raise RuntimeError("files are folded faster than they can be read")

    def _create(self) -> None:
        """The file gets its name once it is locked and has a header."""
        made = self._path.with_name(f".{self._path.name}")
        self._descriptor = os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._grow()
            self._blocks[0][: _HEADER.size] = _HEADER.pack(_MAGIC, self._used)
            made.rename(self._path)
        except OSError:
            made.unlink(missing_ok=True)
            raise

    def _grow(self) -> None:
        """One more block. Its bytes are reserved first: a page that the disk has no room for would kill the writer."""
        start = len(self._blocks) * BLOCK_BYTES
        os.posix_fallocate(self._descriptor, start, BLOCK_BYTES)
        self._blocks.append(memoryview(mmap.mmap(self._descriptor, BLOCK_BYTES, offset=start)))

    def _append(self, key: Key, values: Sequence[float]) -> Slots:
        record = _record(key, values)
        if len(record) > BLOCK_BYTES - _HEADER.size:
            raise ValueError(f"a key of {len(record)} bytes")
        start = self._used % BLOCK_BYTES
        if self._used == len(self._blocks) * BLOCK_BYTES or start + len(record) > BLOCK_BYTES:
            rest = len(self._blocks) * BLOCK_BYTES - self._used
            self._grow()
            if rest:
                self._blocks[-2][start : start + _RECORD.size] = _RECORD.pack(0, (rest - _RECORD.size) // _SLOT)
            self._used, start = self._used + rest, 0
        end = start + len(record)
        self._blocks[-1][start:end] = record
        self._used += len(record)
        self._blocks[0][: _HEADER.size].cast("Q")[1] = self._used
        return self._blocks[-1][end - _SLOT * len(values) : end].cast("d")

    def _give_up(self, error: Exception) -> None:
        self._blocks = []
        _logger.warning("counters go on in memory, for this process alone (%s)", error)


def fold(directory: Path) -> None:
    """Put the counts of dead processes into one file; for one process at a time, and safe to kill at any point.

    A file counts until the new ``folded`` names it, and no more from then on, whether it is still there or not.
    """
    try:
        _fold(directory)
    except OSError as error:
        _logger.warning("counters of dead processes stay in files of their own (%s)", error)


def _fold(directory: Path) -> None:
    dead = [path for path in _files(directory) if not _held(path)]
    if not dead:
        return
    total, folded = _folded(directory)
    for path in dead:
        if path.name not in folded:
            total = added(total, _values(path))
    records = [_record((FOLDED, *(path.name for path in dead)), ())]
    records += [_record(key, values) for key, values in total.items()]
    body = b"".join(records)
    staged = directory / f".{FOLDED}"
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(_HEADER.pack(_MAGIC, _HEADER.size + len(body)) + body)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(directory / FOLDED)
    for path in dead:
        path.unlink()


def _files(directory: Path) -> list[Path]:
    """The files of processes, dead or alive."""
    with contextlib.suppress(*_ABSENT):
        return [path for path in directory.iterdir() if path.name != FOLDED and path.name[0] != "."]
    return []


def _read_all(directory: Path, *, without: str) -> list[Part]:
    total, folded = _folded(directory)
    others = [path for path in _files(directory) if path.name != without and path.name not in folded]
    return [Part(live=False, values=total), *(Part(live=_held(path), values=_values(path)) for path in others)]


def _folded(directory: Path) -> tuple[dict[Key, Sequence[float]], frozenset[str]]:
    """What was folded, and the names of the files that it came from last."""
    try:
        values = _values(directory / FOLDED)
    except _ABSENT:
        return {}, frozenset()
    names = {name for key in values if key[0] == FOLDED for name in key[1:]}
    return {key: slots for key, slots in values.items() if key[0] != FOLDED}, frozenset(names)


def _values(path: Path) -> dict[Key, Sequence[float]]:
    """Mapped and not read: a copy of the file could catch a slot that is half written."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            return {}
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
            return dict(_records(view))


def _records(view: memoryview) -> Iterator[tuple[Key, Sequence[float]]]:
    """Every whole record; a file that a power cut left damaged tells what comes before the damage."""
    with contextlib.suppress(struct.error, ValueError):
        magic, used = _HEADER.unpack_from(view)
        at = _HEADER.size
        while magic == _MAGIC and at < used:
            length, count = _RECORD.unpack_from(view, at)
            key, at = bytes(view[at + _RECORD.size : at + _RECORD.size + length]), at + _RECORD.size + _padded(length)
            if length:
                yield tuple(json.loads(key)), view[at : at + count * _SLOT].cast("d").tolist()
            at += count * _SLOT


def _record(key: Key, values: Sequence[float]) -> bytes:
    name = json.dumps(key).encode()
    padded = name.ljust(_padded(len(name)), b" ")
    return _RECORD.pack(len(name), len(values)) + padded + struct.pack(f"={len(values)}d", *values)


def _padded(length: int) -> int:
    return -(-length // _SLOT) * _SLOT


def _held(path: Path) -> bool:
    """Whether the file's process lives."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _stamp(path: Path) -> tuple[int, int]:
    """What changes whenever the file is replaced."""
    try:
        status = path.stat()
    except _ABSENT:
        return (0, 0)
    return (status.st_ino, status.st_mtime_ns)
