"""Tensors that an ONNX graph keeps in other files: read from its own folder alone, and brought into one file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from modelwright.core.content import LARGE_BYTES, Content, stored, whole
from modelwright.core.errors import BadInputError
from modelwright.core.package_codec import WEIGHTS, is_safe_file_name

_ALIGNED = 4096  # a mapping starts at a page
_CHUNK = 2**20
_SMALL = 1024


def external_tensors(model: Any) -> list[Any]:
    """The TensorProtos of a ModelProto that are kept elsewhere: initializers, attributes, subgraphs, functions."""
    held = list(_of_graph(model.graph))
    for function in model.functions:
        held += [tensor for node in function.node for tensor in _of_node(node)]
    return [tensor for tensor in held if tensor.data_location == tensor.EXTERNAL]


def _of_graph(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _of_node(node)


def _of_node(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            yield from _of_graph(graph)


def merged(model: Any, tensors: list[Any], folder: Path) -> Content | None:
    """Bring the tensors into the model where all are small together; else the large ones into one content beside it.

    Each of those then says where in ``model.onnx.data`` it lies. ONNX Runtime maps initializers from there, and
    nothing else.

    Raises:
        BadInputError: ``pack.unsafe-external-data``, ``pack.missing-external-data``.
    """
    sizes = [_size(tensor, folder) for tensor in tensors]
    beside: list[Any] = []
    if sum(sizes) >= LARGE_BYTES:
        initializers = {id(tensor) for tensor in model.graph.initializer}
        beside = [t for t, size in zip(tensors, sizes, strict=True) if size >= _SMALL and id(t) in initializers]
    outside = {id(tensor) for tensor in beside}
    for tensor in tensors:
        if id(tensor) not in outside:
            with _located(tensor, folder) as (file, length):
                tensor.raw_data = b"".join(_read(file, length, tensor.name))
            tensor.ClearField("external_data")
            tensor.data_location = tensor.DEFAULT
    if not beside:
        return None
    made = stored(_laid_out(beside, folder))
    return made if made.size >= LARGE_BYTES else whole(made)


def _size(tensor: Any, folder: Path) -> int:
    with _located(tensor, folder) as (_, length):
        return length


def _laid_out(tensors: list[Any], folder: Path) -> Iterator[bytes]:
    at = 0
    for tensor in tensors:
        with _located(tensor, folder) as (file, length):
            padding = -at % _ALIGNED
            yield bytes(padding)
            yield from _read(file, length, tensor.name)
        del tensor.external_data[:]
        for key, value in (("location", WEIGHTS), ("offset", at + padding), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        at += padding + length


@contextmanager
def _located(tensor: Any, folder: Path) -> Iterator[tuple[BinaryIO, int]]:
    """The tensor's file at its first byte, and its length."""
    said = {entry.key: entry.value for entry in tensor.external_data}
    with _opened(folder, said.get("location", ""), tensor.name) as file:
        offset, length = _range(said, os.fstat(file.fileno()).st_size, tensor.name)
        file.seek(offset)
        yield file, length


def _read(file: BinaryIO, length: int, name: str) -> Iterator[bytes]:
    while length:
        piece = file.read(min(length, _CHUNK))
        if not piece:
            raise _missing(name, "its file became shorter while it was read")
        length -= len(piece)
        yield piece


def _opened(folder: Path, location: str, name: str) -> BinaryIO:
    """The file of that relative name below the folder, through no link."""
    if not is_safe_file_name(location):
        raise BadInputError(
            "pack.unsafe-external-data",
            f"The tensor {name!r} of the graph is kept outside the graph's folder.",
            why=f"It says that it is in {location[:200]!r}.",
            fix="Export the model again with its data in the same folder; do not use this file if you did not make it.",
        )
    path = folder
    try:
        for part in location.split("/"):
            path /= part
            if path.is_symlink():
                raise BadInputError(
                    "pack.unsafe-external-data",
                    f"The tensor {name!r} of the graph is kept behind a link.",
                    why=f"{location[:200]!r} is, or lies behind, a symbolic link.",
                    fix="Put the file itself beside the graph.",
                )
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _missing(name, f"{location[:200]!r}: {error.strerror or error}") from error
    file = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise _missing(name, f"{location[:200]!r} is not a regular file")
    return file


def _range(said: dict[str, str], size: int, name: str) -> tuple[int, int]:
    try:
        offset = int(said.get("offset") or 0)
        length = int(said["length"]) if said.get("length") else size - offset
    except ValueError:
        raise _missing(name, "where it lies is not written in numbers") from None
    if offset < 0 or length < 0 or offset + length > size:
        raise _missing(name, f"its file ends at byte {size}, and it would end at {offset + length}")
    return offset, length


def _missing(name: str, why: str) -> BadInputError:
    return BadInputError(
        "pack.missing-external-data",
        f"The tensor {name!r} of the graph cannot be read.",
        why=f"{why[:1].upper()}{why[1:]}.",
        fix="Give the graph together with the files that were written beside it, unchanged.",
    )
