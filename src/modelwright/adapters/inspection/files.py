"""A file by its content, never by its name: pickles, joblib, NumPy, zips within zips, Keras, skops, HDF5."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from modelwright.adapters.inspection.names import Name
from modelwright.adapters.inspection.pickles import Walker, WalkError
from modelwright.core.errors import TooLargeError

MAX_BYTES = 4 * 2**30
MAX_PACKED_BYTES = 512 * 2**20
MAX_DEPTH, MAX_ENTRIES, MAX_JSON_DEPTH = 4, 10_000, 100
_PYTHON_NAME = re.compile(r"[A-Za-z_][\w.]*\Z")
_IN_HDF5 = re.compile(rb'"class_name":\s*"([\w.>]{1,80})"')


@dataclass(slots=True)
class Found:
    """What a file names, and what could not be read: ``doubts``, each of which may hide anything."""

    names: set[Name] = field(default_factory=set)
    doubts: list[str] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)

    @property
    def dangerous(self) -> bool:
        """True when something in it is known to run what it is told, or could not be looked at."""
        return bool(self.doubts) or any(name.meaning == "dangerous" for name in self.names)


def look(path: Path) -> Found:
    """What opening a file would import.

    Raises:
        TooLargeError: ``inspect.too-large``.
    """
    if path.stat().st_size > MAX_BYTES:
        raise TooLargeError("inspect.too-large", f"{path.name} is too large to look into.", why=f"Limit: {MAX_BYTES}.")
    found = Found()
    with path.open("rb") as file:
        _look(file, "", found, 0)
    return found


def _look(file: BinaryIO, where: str, found: Found, depth: int) -> None:
    head = file.read(16)
    file.seek(0)
    if depth > MAX_DEPTH:
        found.doubts.append(f"{where}: archives are nested more than {MAX_DEPTH} deep")
    elif zipfile.is_zipfile(file):
        _zip(file, where, found, depth)
        if not head.startswith(b"PK"):  # what is before the archive may be read by whoever does not look for one
            file.seek(0)
            _by_head(file, head, where, found, depth)
    else:
        file.seek(0)
        _by_head(file, head, where, found, depth)


def _by_head(file: BinaryIO, head: bytes, where: str, found: Found, depth: int) -> None:
    opened: dict[bytes, Any] = {
        b"\x1f\x8b": gzip.open,
        b"BZh": bz2.open,
        b"\xfd7zXZ": lzma.open,
        b"]\x00\x00": lzma.open,
    }
    packed = next((means for mark, means in opened.items() if head.startswith(mark)), None)
    if packed is not None:
        _packed(packed(file), where, found, depth)
    elif head[:1] == b"\x78" and (head[0] * 256 + head[1]) % 31 == 0:
        _packed(_Inflated(file), where, found, depth)
    elif head.startswith(b"\x93NUMPY"):
        _numpy(file, where, found)
    elif head.startswith(b"\x89HDF"):
        found.kinds.add("HDF5")
        for name in _IN_HDF5.findall(_all(file)):
            found.names.add(Name("keras.layers", name.decode(), where))
    elif head.lstrip()[:1] in {b"{", b"["}:
        _json(file, where, found)
    else:
        _pickles(file, where, found)


def _packed(file: Any, where: str, found: Found, depth: int) -> None:
    try:
        content = file.read(MAX_PACKED_BYTES + 1)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        found.doubts.append(f"{where or 'the file'}: it cannot be unpacked ({error})")
        return
    if len(content) > MAX_PACKED_BYTES:
        found.doubts.append(f"{where or 'the file'}: it unpacks to more than {MAX_PACKED_BYTES} bytes")
        return
    _look(io.BytesIO(content), where, found, depth + 1)


class _Inflated:
    """A zlib stream, read with a cap."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes."""
        return zlib.decompressobj().decompress(self._file.read(), size)


def _pickles(file: BinaryIO, where: str, found: Found) -> None:
    """One pickle after another, as PyTorch's older files have it."""
    end = file.seek(0, 2)
    file.seek(0)
    begun = count = 0
    while begun < end:
        walker = Walker(file, where)
        try:
            walker.walk()
        except WalkError as error:
            if count and not walker.names:
                found.doubts.append(f"{where or 'the file'}: {end - begun} bytes after the last pickle are not read")
            else:
                found.doubts.append(f"{where or 'the file'}: no pickle from byte {begun} on, or a broken one ({error})")
        found.names |= set(walker.names)
        if walker.unresolved:
            found.doubts.append(f"{where or 'the file'}: {walker.unresolved} names are made while it is opened")
        if file.tell() <= begun or found.doubts:
            return
        found.kinds.add("pickle")
        begun, count = file.tell(), count + 1


def _numpy(file: BinaryIO, where: str, found: Found) -> None:
    from numpy.lib import format as numpy_format  # lazy: only here

    found.kinds.add("NumPy array")
    try:
        major, _ = numpy_format.read_magic(file)
        read = numpy_format.read_array_header_1_0 if major == 1 else numpy_format.read_array_header_2_0
        _, _, kind = read(file)
    except Exception as error:  # noqa: BLE001 - NumPy raises what it likes for a damaged header
        found.doubts.append(f"{where or 'the file'}: its header cannot be read ({error})")
        return
    if kind.hasobject:
        walker = Walker(file, where)
        try:
            walker.walk()
        except WalkError as error:
            found.doubts.append(f"{where or 'the file'}: its objects are a broken pickle ({error})")
        found.names |= set(walker.names)
        found.kinds.add("pickle")


def _zip(file: BinaryIO, where: str, found: Found, depth: int) -> None:
    found.kinds.add("zip")
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_ENTRIES:
                found.doubts.append(f"{where or 'the file'}: more than {MAX_ENTRIES} entries")
            for entry in entries[:MAX_ENTRIES]:
                _entry(archive, entry, f"{where}/{entry.filename}".lstrip("/")[:300], found, depth)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        found.doubts.append(f"{where or 'the file'}: the archive cannot be read ({error})")


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, where: str, found: Found, depth: int) -> None:
    if entry.is_dir() or re.search(r"(^|/)data/\d+$", where):  # PyTorch's storages: bytes of tensors
        return
    try:
        entry.flag_bits &= ~0x1  # said to be encrypted: others do not look at that
        with archive.open(entry) as stream:
            stream._expected_crc = None  # type: ignore[attr-defined]  # noqa: SLF001 - others do not look at that either
            content = stream.read(MAX_PACKED_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
        found.doubts.append(f"{where}: the entry cannot be read ({error})")
        return
    if len(content) > MAX_PACKED_BYTES:
        found.doubts.append(f"{where}: the entry unpacks to more than {MAX_PACKED_BYTES} bytes")
        return
    if _looks_plain(where, content):
        return
    _look(io.BytesIO(content), where, found, depth + 1)


def _looks_plain(where: str, content: bytes) -> bool:
    """Short texts that archives carry (``version``, ``byteorder``): a line of letters, digits and dots alone.

    A pickle of protocol 0 can be such a line as little as it can name anything: ``c`` needs two of them.
    """
    last = where.rpartition("/")[2]
    named = last in {"version", "byteorder", ".format_version", ".data_version", "serialization_id"}
    return not content or (named and len(content) < 64 and content.strip().isalnum())


def _json(file: BinaryIO, where: str, found: Found) -> None:
    found.kinds.add("JSON")
    try:
        told = json.loads(_all(file))
    except (ValueError, RecursionError):
        file.seek(0)
        _pickles(file, where, found)
        return
    for row in _objects(told, 0):
        module = row.get("module") or row.get("__module__") or ("keras.layers" if "class_name" in row else "")
        name = row.get("class_name") or row.get("__class__")
        if isinstance(module, str) and isinstance(name, str) and _PYTHON_NAME.match(module):
            found.names.add(Name(module[:300], name[:300], where))


def _objects(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    if depth > MAX_JSON_DEPTH:
        return
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(inner, depth + 1)


def _all(file: BinaryIO) -> bytes:
    return file.read(MAX_PACKED_BYTES)
