"""Blobs on the local disk: ``<root>/sha256/ab/<digest>``. Standard library only, because gateways read through it."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from modelwright.adapters.stores.private_files import make_directory, sync_directory
from modelwright.core.content import LARGE_BYTES, Content, StoredFile, file_sha256, pieces, sha256
from modelwright.core.errors import CorruptError, NotFoundError, UnavailableError

_DIGEST = re.compile(r"[0-9a-f]{64}")
_CHUNK = 2**20
_STALE_SECONDS = 86_400.0


class LocalBlobs:
    """A directory of immutable files named by their SHA-256.

    A blob is written to ``staging/`` (0600), flushed, renamed to its name and its directory flushed; only then does
    ``put`` return (promise D1). A reader therefore never sees a part of one. Nothing here takes a path from outside.

    Raises:
        UnavailableError: ``blobs.unavailable``: the directory cannot be made or written.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._blobs = root / "sha256"
        self._staging = root / "staging"
        try:
            make_directory(self._blobs)
            make_directory(self._staging)
            self._clean()
        except OSError as error:
            raise self._unavailable(error) from error

    def put(self, content: Content) -> str:
        """Store durably and return the hex SHA-256; storing the same bytes again writes nothing.

        Raises:
            UnavailableError: ``blobs.unavailable``: the disk is full or failed; nothing was stored.
        """
        digest = sha256(content)
        path = self._path(digest)
        try:
            if not self._holds(path, digest):
                self._write(path, content)
            # Also for a blob that was there: another process may have renamed it only just now.
            sync_directory(path.parent)
            sync_directory(self._blobs)
        except OSError as error:
            raise self._unavailable(error) from error
        return digest

    def get(self, digest: str) -> Content:
        """The bytes, after comparing their SHA-256 with the digest; a large blob stays in its file.

        Raises:
            NotFoundError: ``blobs.unknown``.
            CorruptError: ``blobs.corrupt``.
        """
        try:
            content = _content(self._path(digest))
        except FileNotFoundError:
            raise NotFoundError("blobs.unknown", f"There is no blob {digest[:64]!r}.") from None
        except OSError as error:
            raise self._unavailable(error) from error
        if sha256(content) != digest:
            raise CorruptError(
                "blobs.corrupt",
                f"Blob {digest} does not match its digest.",
                why="The file was changed or damaged on the disk.",
                fix="Restore the blob from a backup, or store the same bytes again.",
            )
        return content

    def has(self, digest: str) -> bool:
        """True when the blob is there (its bytes are verified by ``get``)."""
        return _DIGEST.fullmatch(digest) is not None and self._path(digest).is_file()

    def digests(self) -> Iterator[str]:
        """Every digest held, sorted."""
        for directory in sorted(self._blobs.iterdir()):
            names = sorted(entry.name for entry in directory.iterdir()) if directory.is_dir() else []
            yield from (name for name in names if _DIGEST.fullmatch(name))

    def delete(self, digest: str) -> None:
        """Forget a blob; no error when it is not there."""
        if not self.has(digest):
            return
        path = self._path(digest)
        path.unlink(missing_ok=True)
        sync_directory(path.parent)

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise NotFoundError("blobs.unknown", f"{digest[:64]!r} is not the name of a blob.")
        return self._blobs / digest[:2] / digest

    @staticmethod
    def _holds(path: Path, digest: str) -> bool:
        """True when the very bytes are stored; a damaged blob is written anew."""
        try:
            return file_sha256(path) == digest
        except OSError:
            return False

    def _write(self, path: Path, content: Content) -> None:
        staged = self._staging / secrets.token_hex(16)
        handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "wb", buffering=0) as file:
                for piece in pieces(content):
                    view = memoryview(piece)
                    while view:
                        view = view[file.write(view[:_CHUNK]) or 0 :]
                os.fsync(file.fileno())
            make_directory(path.parent)
            staged.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                staged.unlink()
            raise

    def _clean(self) -> None:
        """Remove what a crash left in staging; a younger file may belong to a running process."""
        for staged in self._staging.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if time.time() - staged.stat().st_mtime > _STALE_SECONDS:
                    staged.unlink()

    def _unavailable(self, error: OSError) -> UnavailableError:
        return UnavailableError(
            "blobs.unavailable",
            "The blob store cannot be used now.",
            why=f"{error.strerror or error}: {self._root}",
            fix="Check that the disk has room and that the data directory is writable.",
        )


def _content(path: Path) -> Content:
    file = path.open("rb")
    size = os.fstat(file.fileno()).st_size
    if size >= LARGE_BYTES:
        return StoredFile(file, size)  # never rewritten: a new blob is another file under its own name
    with file:
        return file.read()
