"""Values between us and the jailed converter as files: JSON, and ``.npz`` archives without pickle.

Whatever comes back was written by a process that ran a stranger's code, so it is read as strictly as a stranger's
bytes: capped sizes, declared types only, nothing unpickled.
"""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from modelwright.core.content import Content, StoredFile, content_of, pieces
from modelwright.core.errors import (
    BadInputError,
    CorruptError,
    InternalError,
    ModelwrightError,
    RefusedError,
)
from modelwright.core.native import Native
from modelwright.core.package import Parity, canonical_json
from modelwright.core.package_codec import signature_from_json, signature_json
from modelwright.core.record_codec import from_json, malformed, parse_json, to_json
from modelwright.core.table import Table, missing
from modelwright.ports.framework import Conversion

MAX_BYTES = 2 * 2**30
MAX_JSON_BYTES = 64 * 2**20
MAX_RESULT_BYTES = 256 * 2**20
"""Tensors that come back: those of a few thousand rows, and text takes twenty times its bytes here."""
_KINDS = "biufU"
_ERRORS: dict[str, type[ModelwrightError]] = {
    kind.kind: kind for kind in (BadInputError, RefusedError, CorruptError, InternalError)
}


_TENSORS = ("inputs", "outputs", "beyond_inputs", "beyond_outputs")
RESULTS = ("model.onnx", "made.bin", *(f"{name}.npz" for name in _TENSORS), "result.json")
"""The files of a result. They are made and opened by us, and the converter gets their descriptors: it makes none."""


def open_results(directory: Path) -> dict[str, int]:
    """Make the files of a result, empty; descriptors to write them, by name, which the caller closes."""
    return {
        name: os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600) for name in RESULTS
    }


def write_arrays(file: BinaryIO, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Arrays by name; text (object arrays of ``str`` and ``None``) as Unicode arrays with a mask beside them."""
    held: dict[str, NDArray[Any]] = {}
    order = canonical_json(list(arrays))
    for index, array in enumerate(arrays.values()):
        if array.dtype == object:
            gaps = missing(array.reshape(-1)).reshape(array.shape)
            held[f"mask{index}"] = gaps
            held[f"array{index}"] = np.where(gaps, "", array).astype(str)
        elif array.dtype.kind in "mM":
            held[f"times{index}"] = array.astype("datetime64[us]").astype(np.int64)
        else:
            held[f"array{index}"] = array
    np.savez(file, allow_pickle=False, names=np.frombuffer(order, dtype=np.uint8), **held)


def read_arrays(path: Path, *, max_bytes: int = MAX_BYTES) -> dict[str, NDArray[Any]]:
    """What :func:`write_arrays` wrote.

    Raises:
        CorruptError: ``package.malformed``.
    """
    try:
        with _regular(path) as file:
            _check_size(file, path.name, max_bytes)
            held = np.load(file, allow_pickle=False)
            names = parse_json(held["names"].tobytes(), path.name)
            return {str(name): _array(held, index) for index, name in enumerate(names)}
    except CorruptError:
        raise
    except Exception as error:  # NumPy and zipfile raise a dozen kinds for damaged archives
        raise malformed(path.name, "it is not an archive of plain arrays") from error


def _check_size(file: BinaryIO, name: str, limit: int) -> None:
    with zipfile.ZipFile(file) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > limit:
            raise malformed(name, "it is too large")
    file.seek(0)


def _array(held: Any, index: int) -> NDArray[Any]:
    if f"times{index}" in held:
        return np.asarray(held[f"times{index}"]).astype("datetime64[us]")
    array = np.asarray(held[f"array{index}"])
    if array.dtype.kind not in _KINDS:
        raise malformed(f"array {index}", "it has a kind of values that is not exchanged")
    if array.dtype.kind != "U":
        return array
    words = array.astype(object)
    words[np.asarray(held[f"mask{index}"], dtype=bool)] = None
    return words


def write_examples(directory: Path, examples: Table | None, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Rows and tensors, as new files where there are any."""
    for name, arrays in (("rows.npz", examples and examples.columns), ("tensors.npz", tensors)):
        if arrays:
            with (directory / name).open("xb") as file:
                write_arrays(file, arrays)


def read_examples(directory: Path) -> tuple[Table | None, dict[str, NDArray[Any]]]:
    """What :func:`write_examples` wrote."""
    rows, tensors = directory / "rows.npz", directory / "tensors.npz"
    return (
        Table(read_arrays(rows)) if rows.is_file() else None,
        read_arrays(tensors) if tensors.is_file() else {},
    )


def write_conversion(results: Mapping[str, int], conversion: Conversion) -> None:
    """A conversion, into the descriptors of :data:`RESULTS`; ``result.json`` last."""
    with os.fdopen(results["model.onnx"], "wb") as file:
        file.writelines(pieces(conversion.onnx))
    with os.fdopen(results["made.bin"], "wb") as file:
        for _, content in sorted(conversion.files.items()):  # the order of the record's names, which are sorted
            file.writelines(pieces(content))
    for name in _TENSORS:
        with os.fdopen(results[f"{name}.npz"], "wb") as file:
            write_arrays(file, getattr(conversion, name))
    record = {
        "signature": parse_json(signature_json(conversion.signature), "signature"),
        "parity": to_json(conversion.parity),
        "framework": conversion.framework,
        "framework_version": conversion.framework_version,
        "model_class": conversion.model_class,
        "environment": list(conversion.environment),
        "notes": conversion.notes,
        "row_independent": conversion.row_independent,
        "native": to_json(conversion.native),
        "made": {name: len(content) for name, content in conversion.files.items()},
    }
    _write_record(results, {"conversion": record})


def write_error(results: Mapping[str, int], error: ModelwrightError) -> None:
    """An error as ``result.json``."""
    _write_record(results, {"error": to_json(error.to_json())})


def _write_record(results: Mapping[str, int], record: object) -> None:
    with os.fdopen(results["result.json"], "wb") as file:
        file.write(canonical_json(record))


def read_result(directory: Path) -> Conversion:
    """The conversion in ``directory``.

    Raises:
        ModelwrightError: the error that was written in its place.
        CorruptError: ``package.malformed`` when what was written is neither.
    """
    record = parse_json(_read(directory / "result.json", MAX_JSON_BYTES), "result.json")
    if not isinstance(record, dict):
        raise malformed("result.json", "it is not an object")
    if "error" in record:
        raise _error(record["error"])
    body = record.get("conversion")
    if not isinstance(body, dict):
        raise malformed("result.json", "it holds neither a conversion nor an error")
    parity, native = body.get("parity"), body.get("native")
    tensors = {name: read_arrays(directory / f"{name}.npz", max_bytes=MAX_RESULT_BYTES) for name in _TENSORS}
    return Conversion(
        onnx=_content(directory / "model.onnx", MAX_BYTES),
        signature=signature_from_json(canonical_json(body.get("signature"))),
        parity=None if parity is None else from_json(Parity, parity, "parity"),
        inputs=tensors["inputs"],
        outputs=tensors["outputs"],
        beyond_inputs=tensors["beyond_inputs"],
        beyond_outputs=tensors["beyond_outputs"],
        framework=from_json(str, body.get("framework"), "framework"),
        framework_version=from_json(str, body.get("framework_version"), "framework_version"),
        model_class=from_json(str, body.get("model_class"), "model_class"),
        environment=from_json(tuple[dict[str, str], ...], body.get("environment"), "environment"),
        notes=from_json(dict[str, str], body.get("notes"), "notes"),
        row_independent=from_json(bool, body.get("row_independent"), "row_independent"),
        native=None if native is None else from_json(Native, native, "native"),
        files=_made(directory / "made.bin", from_json(dict[str, int], body.get("made"), "made")),
    )


def _made(path: Path, sizes: Mapping[str, int]) -> dict[str, Content]:
    """Files that the converter made, by name one after the other in one; names are judged where a package is made."""
    content, sizes = _content(path, MAX_BYTES), dict(sorted(sizes.items()))
    if min(sizes.values(), default=0) < 0 or sum(sizes.values()) != len(content):
        raise malformed(path.name, "it is not as long as its files")
    ends = list(accumulate(sizes.values()))
    if isinstance(content, StoredFile):
        return {
            name: StoredFile(content.file, size, end - size)
            for (name, size), end in zip(sizes.items(), ends, strict=True)
        }
    return {name: content[end - size : end] for (name, size), end in zip(sizes.items(), ends, strict=True)}


def _read(path: Path, limit: int) -> bytes:
    with _regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise malformed(path.name, "it is too large")
    return content


def _content(path: Path, limit: int) -> Content:
    """What was written; a large file as a copy, which a process that still holds it cannot change."""
    with _regular(path) as file:
        content = content_of(file, expected=os.fstat(file.fileno()).st_size, limit=limit)
    if len(content) > limit:
        raise malformed(path.name, "it is too large")
    return content


def _regular(path: Path) -> BinaryIO:
    """Open a regular file, never a link to a file that is ours to read and not theirs to show, and never a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise malformed(path.name, "it is not a regular file")
    return os.fdopen(descriptor, "rb")


def _error(value: Any) -> ModelwrightError:
    record = from_json(dict[str, Any], value, "error")
    texts = {key: _printable(str(record.get(key, ""))[:2000]) for key in ("code", "what", "why", "fix", "kind")}
    details = record.get("details")
    return _ERRORS.get(texts["kind"], BadInputError)(
        texts["code"],
        texts["what"],
        why=texts["why"],
        fix=texts["fix"],
        details=details if isinstance(details, dict) else None,
    )


def _printable(text: str) -> str:
    """The text without what a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text)
