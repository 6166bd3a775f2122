"""Packages as directories and as one-file zips (``.mw``): reading is hardened, writing is atomic."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from modelwright.adapters.stores.package_readers import DirectoryReader, ZipReader
from modelwright.core.content import Content, pieces, whole
from modelwright.core.errors import BadInputError, ConflictError, CorruptError, NotFoundError, TooLargeError
from modelwright.core.package import Package, canonical_json
from modelwright.core.package_codec import BUNDLE, MANIFEST, MAX_FILES, open_from

MAX_BYTES = 64 * 2**30
MAX_ZIP_BYTES = 4 * 2**30 - 2**24
"""What fits into a zip without ZIP64 records, which no reader here takes."""
SUFFIXES = (".mw", ".zip")
_EPOCH = (1980, 1, 1, 0, 0, 0)


def open_path(path: Path, *, max_bytes: int = MAX_BYTES) -> Package:
    """The package in a directory or a ``.mw`` zip, read lazily: a file's bytes come when they are asked for.

    Raises:
        NotFoundError: ``package.not-found``.
        BadInputError: ``package.unreadable``, ``package.not-a-package``.
        CorruptError: ``package.malformed``, ``package.unsafe-entry``, ``package.corrupt``, ``package.unlisted-file``
            and as :func:`modelwright.core.package_codec.open_from`.
        TooLargeError: ``package.too-large``.
    """
    if path.is_dir():
        return _opened(DirectoryReader(path, max_bytes))
    if not path.exists():
        raise NotFoundError(
            "package.not-found", f"There is no package at {path}.", fix="Check the path; a package ends in .mw."
        )
    return _opened(ZipReader(path, min(max_bytes, MAX_ZIP_BYTES)))


def _opened(reader: DirectoryReader | ZipReader) -> Package:
    """The package with the signature beside it, if there is one; a signed package holds nothing but what is listed."""
    package = open_from(reader.read)
    if not reader.has(BUNDLE):
        return package
    unlisted = reader.names() - package.manifest.files.keys() - {MANIFEST, BUNDLE}
    if unlisted:
        raise CorruptError(
            "package.unlisted-file",
            f"The signed package {package.name} holds files that its manifest does not list.",
            why=f"They were added after packing: {', '.join(sorted(unlisted)[:5])}.",
            fix="Remove them, or get the package again from whoever signed it.",
        )
    return replace(package, bundle=whole(reader.read(BUNDLE)))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a package lies in a folder.

    ``folder`` is the name of the subfolder it lies in, and ``version`` its own name there; without a subfolder its own
    name is ``folder`` and ``version`` is empty. ``stamp`` changes whenever something of it is written.
    """

    path: Path
    folder: str
    version: str
    stamp: tuple[tuple[str, int, int, int], ...]


def places(root: Path) -> list[Place]:
    """Every package in a folder, by path.

    That is ``NAME.mw``, a directory ``NAME/`` with a manifest, ``NAME/VERSION.mw``, or a directory ``NAME/VERSION/``.
    Names that begin with a dot are no packages: a package that is being written has one. What vanishes meanwhile is
    left out.

    Raises:
        BadInputError: ``package.unreadable``: the folder itself cannot be read.
    """
    found: list[Place] = []
    for name, path in _listed(root):
        if _is_package(path):
            found.append(Place(path, _stem(name), "", _stamp(path)))
        elif path.is_dir():
            with contextlib.suppress(BadInputError):
                below = [(inner, place) for inner, place in _listed(path) if place.is_dir() or _is_package(place)]
                found += [Place(place, name, _stem(inner), _stamp(place)) for inner, place in below]
    return found


def _listed(folder: Path) -> list[tuple[str, Path]]:
    try:
        return [(path.name, path) for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    except OSError as error:
        raise BadInputError(
            "package.unreadable", f"{folder} cannot be read.", why=f"{error.strerror or error}.", fix="Check the path."
        ) from error


def _is_package(path: Path) -> bool:
    return path.suffix in SUFFIXES or (path / MANIFEST).exists()


def _stem(name: str) -> str:
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)


def _stamp(path: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Name, size, inode and time of the last change of a package's file, or of each of its files."""
    files = [path]
    if path.is_dir():
        files = [Path(folder) / name for folder, _, names in os.walk(path) for name in sorted(names)][:MAX_FILES]
    stamps = []
    for file in files:
        with contextlib.suppress(OSError):
            status = file.stat()
            stamps.append((str(file), status.st_size, status.st_ino, max(status.st_mtime_ns, status.st_ctime_ns)))
    return tuple(stamps)


def write_zip(package: Package, path: Path) -> None:
    """Write the package as one file, atomically: sorted entries, a fixed date, so equal packages give equal bytes.

    Raises:
        BadInputError: ``package.unwritable``.
        TooLargeError: ``package.too-large``: such a package is written as a directory.
    """
    if sum(entry.size for entry in package.manifest.files.values()) > MAX_ZIP_BYTES:
        raise TooLargeError(
            "package.too-large",
            f"Package {package.name} does not fit into one file.",
            why=f"A package file holds {MAX_ZIP_BYTES} bytes at most.",
            fix="Write it as a directory: give a path that does not end in .mw.",
        )
    with _writing(path):
        part = _beside(path)
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                    for name, content in _contents(package):
                        entry = zipfile.ZipInfo(name, _EPOCH)
                        entry.create_system = 3
                        entry.external_attr = (stat.S_IFREG | 0o600) << 16
                        entry.file_size = len(content)  # as writestr does: decides how the entry is laid out
                        with archive.open(entry, "w") as held:
                            for piece in pieces(content):
                                held.write(piece)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            _sync_directory(path.parent)
        finally:
            part.unlink(missing_ok=True)


def write_directory(package: Package, path: Path) -> None:
    """Write the package as a directory, whole or not at all. A package already there is replaced.

    Raises:
        ConflictError: ``package.directory-not-empty`` when something that is no package is there.
        BadInputError: ``package.unwritable``.
    """
    with _writing(path):
        replacing = path.is_dir() and any(path.iterdir())
        if path.exists() and (not path.is_dir() or (replacing and not (path / MANIFEST).is_file())):
            raise ConflictError(
                "package.directory-not-empty",
                f"{path} holds something that is not a package.",
                fix="Give a new or empty directory, or a file name ending in .mw.",
            )
        part, old = _beside(path), _beside(path)
        try:
            _fill(package, part)
            if replacing:
                path.rename(old)
            part.rename(path)
            _sync_directory(path.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def _contents(package: Package) -> Iterator[tuple[str, Content]]:
    """Every file, verified, by name; the manifest first, so that a reader of a stream meets it first."""
    yield MANIFEST, canonical_json(package.manifest.to_json())
    for name in sorted(package.manifest.files):
        yield name, package.content(name)
    if package.bundle is not None:
        yield BUNDLE, package.bundle


def _fill(package: Package, root: Path) -> None:
    root.mkdir(mode=0o700)
    made = {root}
    contents = list(_contents(package))
    for name, content in contents[1:] + contents[:1]:  # the manifest last: it vouches for the rest
        path = root / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made.add(path.parent)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for piece in pieces(content):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
    for directory in made:
        _sync_directory(directory)


def _beside(path: Path) -> Path:
    return path.parent / f".{path.name}.{secrets.token_hex(8)}"


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadInputError(
            "package.unwritable",
            f"The package cannot be written to {path}.",
            why=f"{error.strerror or error}.",
            fix="Give a path in a directory that exists, is writable and has room.",
        ) from error
