"""Values between us and the jailed converter as files: JSON, and ``.npz`` archives without pickle.

Whatever comes back was written by a process that ran a stranger's code, so it is read as strictly as a stranger's
bytes: capped sizes, declared types only, nothing unpickled.
"""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

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


RESULTS = ("model.onnx", "inputs.npz", "outputs.npz", "result.json")
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


def write_table(path: Path, table: Table) -> None:
    """A table, as a new file."""
    with path.open("xb") as file:
        write_arrays(file, table.columns)


def read_table(path: Path) -> Table:
    """What :func:`write_table` wrote."""
    return Table(read_arrays(path))


def write_conversion(results: Mapping[str, int], conversion: Conversion) -> None:
    """A conversion but its ``files``, into the descriptors of :data:`RESULTS`; ``result.json`` last."""
    with os.fdopen(results["model.onnx"], "wb") as file:
        file.write(conversion.onnx)
    for name, arrays in (("inputs.npz", conversion.inputs), ("outputs.npz", conversion.outputs)):
        with os.fdopen(results[name], "wb") as file:
            write_arrays(file, arrays)
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
    return Conversion(
        onnx=_read(directory / "model.onnx", MAX_BYTES),
        signature=signature_from_json(canonical_json(body.get("signature"))),
        parity=None if parity is None else from_json(Parity, parity, "parity"),
        inputs=read_arrays(directory / "inputs.npz", max_bytes=MAX_RESULT_BYTES),
        outputs=read_arrays(directory / "outputs.npz", max_bytes=MAX_RESULT_BYTES),
        framework=from_json(str, body.get("framework"), "framework"),
        framework_version=from_json(str, body.get("framework_version"), "framework_version"),
        model_class=from_json(str, body.get("model_class"), "model_class"),
        environment=from_json(tuple[dict[str, str], ...], body.get("environment"), "environment"),
        notes=from_json(dict[str, str], body.get("notes"), "notes"),
        row_independent=from_json(bool, body.get("row_independent"), "row_independent"),
        native=None if native is None else from_json(Native, native, "native"),
    )


def _read(path: Path, limit: int) -> bytes:
    with _regular(path) as file:
        content = file.read(limit + 1)
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
