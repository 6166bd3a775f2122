"""Hardened reading of packages: where each byte comes from, and what is refused before it is believed.

Only the zip's *directory* is left to :mod:`zipfile`; which entries may exist and how much may come out of them is
decided here, and nothing is ever unpacked to disk.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from modelwright.core.content import Content, content_of
from modelwright.core.errors import BadInputError, CorruptError, ModelwrightError, TooLargeError
from modelwright.core.package_codec import BUNDLE, MANIFEST, MAX_FILES, is_safe_file_name

MAX_RATIO = 100
MAX_MANIFEST_BYTES = 16 * 2**20
_CHUNK = 1 << 20
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    KeyError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)


def _too_large(where: str, limit: int) -> TooLargeError:
    return TooLargeError(
        "package.too-large", f"{where} is larger than allowed.", why=f"The limit is {limit} bytes after unpacking."
    )


def _unreadable(path: Path, error: OSError) -> ModelwrightError:
    return BadInputError(
        "package.unreadable", f"{path} cannot be read.", why=f"{error.strerror or error}.", fix="Check the path."
    )


class DirectoryReader:
    """Bytes of the files below a directory, never through a link."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._root, self._left = root, max_bytes
        self._max_bytes = max_bytes
        if not (root / MANIFEST).is_file():
            raise BadInputError(
                "package.not-a-package",
                f"{root} is not a package.",
                why=f"It holds no {MANIFEST}.",
                fix="Check the path.",
            )

    def read(self, name: str) -> Content:
        """The content of a regular file; a large one in a copy, which nobody can change while it is used."""
        limit = MAX_MANIFEST_BYTES if name in {MANIFEST, BUNDLE} else self._max_bytes
        try:
            with os.fdopen(self._open(name), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise _unsafe(name, "it is not a regular file")
                content = content_of(file, expected=os.fstat(file.fileno()).st_size, limit=limit)
        except FileNotFoundError as error:
            raise CorruptError(
                "package.corrupt", f"The package at {self._root} lacks its file {name!r}.", fix="Pack the model again."
            ) from error
        except OSError as error:
            raise _unreadable(self._root / name, error) from error
        if len(content) > limit:
            raise _too_large(f"File {name!r}", limit)
        return content

    def has(self, name: str) -> bool:
        """True when something of that name is there, a link too."""
        return os.path.lexists(self._root / name)

    def names(self) -> set[str]:
        """Everything below the directory that is no directory."""
        found = set()
        for folder, folders, files in os.walk(self._root):
            paths = [Path(folder) / name for name in (*folders, *files)]
            found |= {str(path.relative_to(self._root)) for path in paths if path.is_symlink() or not path.is_dir()}
        return found

    def _open(self, name: str) -> int:
        """Open part by part relative to the part before, refusing links at each step."""
        if not is_safe_file_name(name):
            raise _unsafe(name, "its name is not allowed")
        parts = name.split("/")
        held = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts[:-1]:
                below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=held)
                os.close(held)
                held = below
            # O_NONBLOCK: a planted pipe must not make us wait before fstat refuses it.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            return os.open(parts[-1], flags, dir_fd=held)
        finally:
            os.close(held)


class ZipReader:
    """Bytes of the entries of a zip. The entry list is checked once, whole, before the first byte is given."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path, self._max_bytes = path, max_bytes
        with self._archive() as archive:
            names = self._names = {entry.orig_filename for entry in archive.infolist()}
            if len(names) != len(archive.infolist()):
                raise _unsafe(str(path), "a name occurs twice")
            for entry in archive.infolist():
                _check_entry(entry)
            if sum(entry.file_size for entry in archive.infolist()) > max_bytes:
                raise _too_large(str(path), max_bytes)
        if MANIFEST not in names:
            raise BadInputError(
                "package.not-a-package",
                f"{path} is not a package.",
                why=f"It holds no {MANIFEST}.",
                fix="Check the path.",
            )

    def read(self, name: str) -> Content:
        """The content of an entry, streamed under a running cap that no declared size can raise."""
        limit = MAX_MANIFEST_BYTES if name in {MANIFEST, BUNDLE} else self._max_bytes
        with self._archive() as archive:
            try:
                entry = archive.getinfo(name)
            except KeyError as error:
                raise CorruptError(
                    "package.corrupt", f"{self._path} lacks its file {name!r}.", fix="Pack the model again."
                ) from error
            _check_entry(entry)
            limit = min(limit, max(MAX_RATIO * entry.compress_size, _CHUNK))
            with archive.open(entry) as stream:
                content = content_of(cast("BinaryIO", stream), expected=entry.file_size, limit=limit)
            if len(content) > limit:
                raise _too_large(f"Entry {name!r}", limit)
            return content

    def has(self, name: str) -> bool:
        """True when there is an entry of that name."""
        return name in self._names

    def names(self) -> set[str]:
        """Names of all entries."""
        return set(self._names)

    @contextlib.contextmanager
    def _archive(self) -> Iterator[zipfile.ZipFile]:
        try:
            with self._path.open("rb") as file:
                _check_end(file.fileno())
                with zipfile.ZipFile(file) as archive:
                    yield archive
        except ModelwrightError:
            raise
        except OSError as error:
            raise _unreadable(self._path, error) from error
        except _DAMAGE as error:
            raise CorruptError(
                "package.malformed",
                f"{self._path} is not a readable package file.",
                why=f"{error}.",
                fix="Copy the file again, or pack the model again.",
            ) from error


def _check_end(descriptor: int) -> None:
    """Refuse, before anything is parsed, a zip whose end record promises more entries than a package may have.

    No comment and no ZIP64 records are allowed, so the end record is the last 22 bytes and nothing else can be.
    """
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, 22, max(size - 22, 0))
    if len(tail) != 22 or tail[:4] != b"PK\x05\x06":
        raise zipfile.BadZipFile("It does not end as a package file does")
    entries, directory_size = struct.unpack_from("<HI", tail, 10)
    if entries > MAX_FILES or directory_size > MAX_FILES * 512:
        raise TooLargeError(
            "package.too-large", "The package file lists too many files.", why=f"The limit is {MAX_FILES}."
        )


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name, mode = entry.orig_filename, entry.external_attr >> 16
    if name != entry.filename or not is_safe_file_name(name):
        raise _unsafe(name, "its name is not allowed")
    if entry.is_dir() or entry.external_attr & 0x10 or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
        raise _unsafe(name, "it is not a regular file")
    if entry.flag_bits & 0x1:
        raise _unsafe(name, "it is encrypted")
    if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise _unsafe(name, "its compression is not allowed")
    if entry.file_size > max(MAX_RATIO * entry.compress_size, _CHUNK):
        raise TooLargeError(
            "package.too-large",
            f"Entry {name!r} unpacks to more than {MAX_RATIO} times its size.",
            why="It may be a bomb.",
        )


def _unsafe(name: str, why: str) -> CorruptError:
    return CorruptError(
        "package.unsafe-entry",
        f"The package holds an entry {name!r} that is refused.",
        why=f"{why[:1].upper()}{why[1:]}.",
        fix="Do not use this file; ask its sender for a package saved by modelwright.",
    )
