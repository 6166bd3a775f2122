"""A file's content: bytes where they are small, and an open file where they are too large to hold in memory twice.

Here and not among the adapters, because frameworks make contents, stores keep them and runners open them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

LARGE_BYTES = 32 * 2**20
"""From this size on a content stays in a file."""
_CHUNK = 2**20


@dataclass(frozen=True, slots=True, eq=False)
class StoredFile:
    """``size`` bytes of an open file that nobody changes any more, from ``offset`` on.

    The file is one without a name, or a blob of a content-addressed store. It lives as long as this object.
    """

    file: BinaryIO
    size: int
    offset: int = 0

    def __len__(self) -> int:
        return self.size

    def pieces(self) -> Iterator[bytes]:
        """The bytes in order, a piece at a time; several readers do not disturb each other."""
        at, end = self.offset, self.offset + self.size
        while at < end:
            piece = os.pread(self.file.fileno(), min(_CHUNK, end - at), at)
            if not piece:
                return
            yield piece
            at += len(piece)

    def link(self, path: Path) -> None:
        """Give the file that name, or write a copy under it where that is not possible."""
        whole = self.offset == 0 and os.fstat(self.file.fileno()).st_size == self.size
        if whole:
            with contextlib.suppress(OSError):  # another file system, or a kernel that does not allow it
                os.link(f"/proc/self/fd/{self.file.fileno()}", path, follow_symlinks=True)
                return
        with path.open("xb") as copy:
            for piece in self.pieces():
                copy.write(piece)


Content = bytes | StoredFile


def pieces(content: Content) -> Iterator[bytes]:
    """The bytes in order, in one piece or in several."""
    if isinstance(content, StoredFile):
        yield from content.pieces()
    else:
        yield content


def whole(content: Content) -> bytes:
    """All of it in memory."""
    return content if isinstance(content, bytes) else b"".join(content.pieces())


def sha256(content: Content) -> str:
    """Hex SHA-256."""
    digest = hashlib.sha256()
    for piece in pieces(content):
        digest.update(piece)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's content.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stored(parts: Iterable[bytes]) -> StoredFile:
    """The parts as a file without a name, which no other process can open.

    Raises:
        OSError: the disk of the temporary directory is full.
    """
    file = _nameless()
    size = 0
    for part in parts:
        size += file.write(part)
    file.flush()
    return StoredFile(file, size)


def content_of(file: BinaryIO, *, expected: int, limit: int | None = None) -> Content:
    """The rest of an open file, copied, so that whoever changes it later changes nothing here.

    Reads at most one byte more than ``limit``; whether it is too large is the caller's to judge. ``expected`` is the
    size that it claims to have: what claims to be large is never held.
    """
    read = _read(file, -1 if limit is None else limit + 1)
    if expected < LARGE_BYTES:
        head = list(_up_to(read, LARGE_BYTES))
        if sum(map(len, head)) < LARGE_BYTES:
            return b"".join(head)
        return stored(chain(head, read))
    return stored(read)


def _read(file: BinaryIO, most: int) -> Iterator[bytes]:
    while most and (piece := file.read(_CHUNK if most < 0 else min(_CHUNK, most))):
        most -= len(piece) if most > 0 else 0
        yield piece


def _up_to(parts: Iterator[bytes], size: int) -> Iterator[bytes]:
    for part in parts:
        yield part
        size -= len(part)
        if size <= 0:
            return


def content_at(path: Path) -> Content:
    """The content of a file, copied.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return content_of(file, expected=os.fstat(file.fileno()).st_size)


@contextlib.contextmanager
def private_folder(contents: Mapping[str, Content]) -> Iterator[Path]:
    """A directory of our own that holds just these files (flat names), for a library that opens paths.

    What has mapped or read the files keeps them when the directory is removed at the end.
    """
    folder = Path(tempfile.mkdtemp(prefix="modelwright-open-"))
    try:
        for name, content in contents.items():
            if isinstance(content, StoredFile):
                content.link(folder / name)
            else:
                (folder / name).write_bytes(content)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _nameless() -> BinaryIO:
    """An unlinked file; made so that :meth:`StoredFile.link` may name it, which ``tempfile``'s own cannot be."""
    try:
        descriptor = os.open(tempfile.gettempdir(), os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:  # a file system without unnamed files
        return tempfile.TemporaryFile()
    return os.fdopen(descriptor, "w+b")
