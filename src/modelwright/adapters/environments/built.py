"""Environments on disk, one folder for each lock: built once, whole or not at all, and found again by digest.

A folder holds ``site`` (what the wheels hold, and nothing else) and ``built.json``. There is no interpreter in it:
this one is told to see ``site`` in place of its own libraries.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Literal

from modelwright.adapters.environments import pip
from modelwright.core.errors import BadInputError, NotFoundError, RefusedError, UnavailableError
from modelwright.core.lock import Pin, lock_digest, normal_name, pins
from modelwright.core.package import Package, canonical_json
from modelwright.core.package_codec import ENVIRONMENT, environment_from_json
from modelwright.native.installed import missing_from_here

Use = Literal["exact", "own", "server"]
"""Whether a model may use the server's libraries: where they are the very ones of its lock, never, or always."""
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_MARK, _BUILDING, _LOCK = "built.json", ".building-", ".lock-"


@dataclass(frozen=True, slots=True)
class Built:
    """One environment; ``bytes`` is what it takes of the disk, ``used_at`` when a model last asked for it."""

    digest: str
    pins: tuple[Pin, ...]
    bytes: int
    built_at: float
    used_at: float
    hashed: bool
    site: Path


class Environments:
    """The environments below one folder.

    Args:
        root: the folder, made when the first one is built.
        use: when the server's own libraries may be used.
        limit_bytes: what all of them may take together; 0: as much as the disk has.
    """

    def __init__(self, root: Path, *, use: Use = "exact", limit_bytes: int = 0) -> None:
        self._root, self._use, self._limit = root, use, limit_bytes

    def place(self, package: Package) -> Path | None:
        """The folder of libraries that a native package runs with; None: this process's own.

        Raises:
            RefusedError: ``environment.not-built``.
        """
        locked = lock_of(package)
        if self._use == "server" or not locked:
            return None
        why = missing_from_here(locked) if self._use == "exact" else ["native_environments is `own`"]
        if not why:
            return None
        held = self._root / digest_of(locked)
        if (held / _MARK).is_file():
            with contextlib.suppress(OSError):
                os.utime(held / _MARK)
            return held / "site"
        more = f", and {len(why) - 1} more" if len(why) > 1 else ""
        raise RefusedError(
            "environment.not-built",
            f"The environment of {package.name!r} is not built here.",
            why=f"{why[0][:1].upper()}{why[0][1:]}{more}.",
            fix="modelwright environments build PACKAGE (or NAME@VERSION of a registered one)",
            details={"lock": digest_of(locked)},
        )

    def build(
        self,
        locked: Sequence[Pin],
        *,
        wheelhouse: Path | None = None,
        trust_index: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> Built:
        """Build the environment of a lock, or find it built. Others that want the same one wait.

        Raises:
            RefusedError: ``environment.no-hashes``, ``environment.no-room``.
            BadInputError: ``environment.no-lock``.
            UnavailableError: ``environment.pip-failed``, ``environment.unwritable``.
        """
        _require_whole(locked, trust_index=trust_index)
        digest = digest_of(locked)
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._alone(digest):
                if not (self._root / digest / _MARK).is_file():
                    self._require_room()
                    say(f"Installing {len(locked)} distributions ...")
                    self._make(digest, locked, wheelhouse=wheelhouse, trust_index=trust_index)
        except OSError as error:
            raise UnavailableError(
                "environment.unwritable",
                f"The environment could not be written below {self._root}.",
                why=f"{error.strerror or error}.",
                fix="Check that the data directory can be written and has room.",
            ) from error
        return self.built(digest)

    def held(self) -> list[Built]:
        """Those that are built, the last used first."""
        marks = self._root.glob(f"[0-9a-f]*/{_MARK}")
        return sorted((_read(mark) for mark in marks), key=lambda built: -built.used_at)

    def built(self, digest: str) -> Built:
        """The one of that digest, or of one that begins so.

        Raises:
            NotFoundError: ``environment.unknown``.
        """
        found = [built for built in self.held() if digest and built.digest.startswith(digest)]
        if len(found) != 1:
            raise NotFoundError(
                "environment.unknown",
                f"{'No' if not found else 'More than one'} environment has a digest that begins with {digest[:64]!r}.",
                fix="`modelwright environments list` names them.",
            )
        return found[0]

    def remove(self, digest: str) -> Built:
        """Remove one. A model that runs with it goes on with what it has loaded, and does not start again."""
        built = self.built(digest)
        with self._alone(built.digest):
            self._discard(self._root / built.digest)
        return built

    def sweep(self, keep: Callable[[Built], bool]) -> list[Built]:
        """Remove those that are not to be kept, and what was left of builds that were cut off."""
        for left in self._root.glob(f"{_BUILDING}*"):
            with self._alone(left.name.removeprefix(_BUILDING).partition("-")[0], wait=False) as mine:
                if mine:
                    shutil.rmtree(left, ignore_errors=True)
        return [self.remove(built.digest) for built in self.held() if not keep(built)]

    def _make(self, digest: str, locked: Sequence[Pin], *, wheelhouse: Path | None, trust_index: bool) -> None:
        part = Path(tempfile.mkdtemp(prefix=f"{_BUILDING}{digest}-", dir=self._root))
        try:
            site = part / "site"
            site.mkdir()
            pip.install(locked, site, wheelhouse=wheelhouse, trust_index=trust_index)
            _require_installed(locked, site)
            size = sum(path.lstat().st_size for path in part.rglob("*") if not path.is_dir())
            self._require_room(size)
            told = {
                "pins": [pin.to_row() for pin in locked],
                "bytes": size,
                "built_at": time.time(),
                "hashed": all(pin.wheel_sha256 for pin in locked),
            }
            with (part / _MARK).open("xb") as mark:
                mark.write(canonical_json(told))
                mark.flush()
                os.sync()  # of thousands of files, cheaper than one by one; the mark vouches for them
            if (self._root / digest).exists():  # without a mark: what somebody removed by half
                self._discard(self._root / digest)
            part.rename(self._root / digest)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _discard(self, folder: Path) -> None:
        """Out of sight at once, then gone: nobody may find half of it."""
        gone = Path(tempfile.mkdtemp(prefix=f"{_BUILDING}{folder.name}-", dir=self._root))
        with contextlib.suppress(FileNotFoundError):
            folder.rename(gone / "old")
        shutil.rmtree(gone, ignore_errors=True)

    def _require_room(self, more: int = 0) -> None:
        used = sum(built.bytes for built in self.held())
        if self._limit and used + more >= self._limit:
            raise RefusedError(
                "environment.no-room",
                "There is no room for another environment.",
                why=f"Those that are built take {used} bytes"
                + (f", this one {more}" if more else "")
                + f"; all together may take {self._limit}.",
                fix="modelwright environments gc, or raise the setting environments_bytes.",
            )

    @contextlib.contextmanager
    def _alone(self, digest: str, *, wait: bool = True) -> Iterator[bool]:
        """Hold the lock of one digest; False where somebody else does and we do not wait."""
        descriptor = os.open(self._root / f"{_LOCK}{digest}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(descriptor)


def lock_of(package: Package) -> tuple[Pin, ...]:
    """The lock that a package holds; empty where it holds none.

    Raises:
        CorruptError: ``package.malformed``.
    """
    if ENVIRONMENT not in package.manifest.files:
        return ()
    return pins(environment_from_json(package.read(ENVIRONMENT)))


def digest_of(locked: Sequence[Pin]) -> str:
    """Which environment that is, for this Python on this machine."""
    return lock_digest(locked, python=PYTHON, machine=platform.machine())


def _read(mark: Path) -> Built:
    told = json.loads(mark.read_bytes())
    return Built(
        digest=mark.parent.name,
        pins=pins(told["pins"]),
        bytes=told["bytes"],
        built_at=told["built_at"],
        used_at=mark.stat().st_mtime,
        hashed=told["hashed"],
        site=mark.parent / "site",
    )


def _require_whole(locked: Sequence[Pin], *, trust_index: bool) -> None:
    if not locked:
        raise BadInputError(
            "environment.no-lock",
            "There is no lock to build an environment from.",
            why="The package lists no distributions.",
            fix="Only packages of models that run as code need an environment.",
        )
    if not any(pin.name == "numpy" for pin in locked):
        raise BadInputError(
            "environment.no-lock",
            "The lock lists no NumPy, which every model that runs as code needs.",
            fix="Add numpy to the requirements, and pack the model again.",
        )
    bare = [pin.name for pin in locked if not pin.wheel_sha256]
    if bare and not trust_index:
        raise RefusedError(
            "environment.no-hashes",
            f"The lock has no digest of the wheel of {bare[0]}.",
            why=f"Without digests ({len(bare)} of {len(locked)} lack one) whatever an index gives would be installed.",
            fix="Pack the model with --lock-hashes; or say --trust-index to take what the index gives today.",
        )


def _require_installed(locked: Sequence[Pin], site: Path) -> None:
    here = {normal_name(found.name): found.version.lower() for found in distributions(path=[str(site)])}
    for pin in locked:
        if here.get(pin.name) != pin.version:
            raise UnavailableError(
                "environment.pip-failed",
                "pip did not find or install what the lock says.",
                why=f"{pin.name} {pin.version} is not there, but {here.get(pin.name, 'nothing')}.",
                fix="Pack the model again.",
            )
