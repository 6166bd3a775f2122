"""A package's files on disk, for the processes that open them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
from pathlib import Path

from modelwright.core.content import file_sha256, pieces
from modelwright.core.package import Package


class PackageFiles:
    """A private directory with a package's files, read-only, and a scratch directory for each process.

    A lock tells others that it is in use; what a killed gateway left is removed when the next one is made.
    """

    _PREFIX = "modelwright-native-"

    def __init__(self, package: Package) -> None:
        self._package = package
        self._root, self._lock = _private(self._PREFIX)
        self.files, self._changing = self._root / "files", threading.Lock()
        self._sweep(self._root.parent)

    def restore(self) -> None:
        """Write what is not there as the manifest says.

        Raises:
            CorruptError: the package's own bytes do not match the manifest.
            OSError: they cannot be written, or :meth:`remove` was called.
        """
        with self._changing:
            if self._lock < 0:
                raise FileNotFoundError("the runner is closed")
            for name, entry in self._package.manifest.files.items():
                path = self.files / name
                if path.is_symlink() or not path.is_file() or file_sha256(path) != entry.sha256:
                    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                    path.unlink(missing_ok=True)
                    with path.open("xb") as file:
                        for piece in pieces(self._package.content(name)):
                            file.write(piece)
                    path.chmod(0o444)

    def scratch(self, number: int) -> Path:
        """An empty directory for one process."""
        path = self._root / f"scratch-{number}"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def remove(self) -> None:
        """Remove all of it."""
        with self._changing:
            lock, self._lock = self._lock, -1
            if lock >= 0:
                shutil.rmtree(self._root, ignore_errors=True)
                os.close(lock)

    def _sweep(self, place: Path) -> None:
        for left in place.glob(f"{self._PREFIX}*"):
            with contextlib.suppress(OSError):
                if left != self._root and left.lstat().st_uid == os.getuid() and not left.is_symlink():
                    lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
                    try:
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        shutil.rmtree(left, ignore_errors=True)
                    finally:
                        os.close(lock)


def _private(prefix: str) -> tuple[Path, int]:
    """A new directory and the descriptor that holds its lock; another one where a sweep was faster than the lock."""
    while True:
        root = Path(tempfile.mkdtemp(prefix=prefix)).resolve()
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.geteuid() == 0:
                    root.chmod(0o711)  # a jailed process becomes another user, who must reach the files
                return root, lock
            os.close(lock)
