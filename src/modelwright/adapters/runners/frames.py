"""Frames between a gateway and the process of a native model: typed tensors and text, never objects.

A frame is one message of a sequenced-packet socket: a header, one description for each tensor, then the data. Data that
is long travels in a memory file whose descriptor goes with the message. Numbers are in the machine's own order.
Each side takes the other's frames apart with :func:`decode`, which believes nothing that it has not checked.
"""

from __future__ import annotations

import array
import fcntl
import math
import os
import select
import socket
import stat
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.signature import DATATYPES

OPEN, READY, RUN, RESULT, REFUSED, FAILED = 1, 2, 3, 4, 5, 6
STREAM, CHUNK, END, CREDIT, CANCEL, TAKEN = 7, 8, 9, 10, 11, 12
"""Of answers in chunks: asked for, one of them, the last word; one more is welcome, none is; the memory file was read.
"""
SEQUENCE, FORGET = 13, 14
"""The next run belongs to a sequence; a sequence is over."""
INLINE_BYTES = 96 * 2**10
"""Frames up to this size are copied through the socket; the data of longer ones go into a memory file."""
MAX_TENSORS, MAX_NAME, MAX_RANK, MAX_SIZE = 1024, 4096, 16, 2**40
MAX_HEAD = INLINE_BYTES
WINDOW = 4
"""So many chunks of an answer may be made before the first of them was read."""
MAX_CHUNK_BYTES = 4 * 2**20

_MAGIC = 0x4D574652
_HEADER = struct.Struct("=IHHIQQ")  # magic, kind, tensors, number of the chunk, run, bytes of data
_TENSOR = struct.Struct("=BBHIQ")  # datatype, rank, bytes of the name, unused, bytes of data
_CODES = {dtype: code for code, dtype in enumerate(DATATYPES.values())}
_DTYPES = tuple(DATATYPES.values())
_TEXT = np.dtype(object)
_DESCRIPTOR_ROOM = socket.CMSG_SPACE(4)
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
_MAX_PARTS = 512  # buffers that one writev takes


class FrameError(Exception):
    """The other side did not keep to the format; says how."""


class EndedError(Exception):
    """The other side is gone."""


@dataclass(slots=True)
class Frame:
    """A frame taken apart. ``text`` of frames without tensors, at most :data:`INLINE_BYTES` long.

    ``number`` counts the chunks of a stream from 0; ``filed`` tells that the data came in a memory file, ``size`` how
    many bytes they took.
    """

    kind: int
    run: int
    tensors: dict[str, NDArray[Any]]
    text: bytes = b""
    number: int = 0
    filed: bool = False
    size: int = 0


class Frames:
    """One end of the socket. Not for two threads at once.

    Args:
        channel: a connected ``SOCK_SEQPACKET`` socket, owned from now on.
        max_bytes: the longest data taken in a frame.
        file: a memory file for long data, of a process that may make none later; -1: a new one for each frame.
    """

    def __init__(self, channel: socket.socket, *, max_bytes: int, file: int = -1) -> None:
        self._channel, self._max_bytes, self._file, self.filled = channel, max_bytes, file, False
        self._buffer = bytearray(INLINE_BYTES)
        self._view = memoryview(self._buffer)

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._channel.fileno()

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def waiting(self) -> bool:
        """Whether the other side has said something, or is gone."""
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def empty(self) -> None:
        """Give back what the memory file held: the other side has read it."""
        if self.filled:
            self.filled = False
            os.ftruncate(self._file, 0)

    def send(self, kind: int, run: int, tensors: Mapping[str, NDArray[Any]], number: int = 0) -> None:
        """Send tensors (object arrays hold ``str``).

        Where ``filled`` says that the memory file holds what was sent last, the other side must have read that.

        Raises:
            ValueError, TypeError, AttributeError: a tensor cannot be sent.
            BlockingIOError, EndedError: the other side does not read, or is gone.
        """
        heads: list[bytes] = [b""]
        parts: list[Any] = []
        length = 0
        for name, tensor in tensors.items():
            dtype = tensor.dtype
            if dtype == _TEXT:
                data = _joined(tensor)
                parts += data
                size = sum(map(len, data))
            else:
                parts.append(tensor if tensor.flags.c_contiguous else np.ascontiguousarray(tensor))
                size = tensor.nbytes
            title = name.encode()
            heads.append(_TENSOR.pack(_CODES[dtype], tensor.ndim, len(title), 0, size))
            heads.append(struct.pack(f"={tensor.ndim}q", *tensor.shape))
            heads.append(title)
            length += size
        heads[0] = _HEADER.pack(_MAGIC, kind, len(tensors), number, run, length)
        head = b"".join(heads)
        if len(head) > MAX_HEAD:
            raise ValueError("too many tensors")
        try:
            if len(head) + length <= INLINE_BYTES:
                self._channel.send(b"".join((head, *parts)))
            else:
                self._send_file(head, parts)
        except (BrokenPipeError, ConnectionError) as error:
            raise EndedError from error

    def send_text(self, kind: int, run: int, text: bytes = b"", number: int = 0) -> None:
        """Send words; what is too long is cut."""
        text = text[: INLINE_BYTES - _HEADER.size]
        try:
            self._channel.send(_HEADER.pack(_MAGIC, kind, 0, number, run, len(text)) + text)
        except (BrokenPipeError, ConnectionError) as error:
            raise EndedError from error

    def _send_file(self, head: bytes, parts: Sequence[Any]) -> None:
        if self._file >= 0:
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
            self.filled = True
            _write_all(self._file, parts)
            self._pass(head, self._file)
            return
        descriptor = os.memfd_create("tensors", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            _write_all(descriptor, parts)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
            self._pass(head, descriptor)
        finally:
            os.close(descriptor)

    def _pass(self, head: bytes, descriptor: int) -> None:
        self._channel.sendmsg([head], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))])

    def receive(self) -> Frame:
        """The next frame.

        Raises:
            BlockingIOError: there is none yet, on a socket that does not wait.
            EndedError: there will be none.
            FrameError: it is malformed.
        """
        try:
            length, extra, flags, _ = self._channel.recvmsg_into(
                [self._buffer], _DESCRIPTOR_ROOM, socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionError as error:
            raise EndedError from error
        descriptors = _descriptors(extra)
        try:
            if not length:
                raise EndedError
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or len(descriptors) > 1:
                raise FrameError("a message longer than any frame")
            return self._decode(self._view[:length], descriptors[0] if descriptors else -1)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _decode(self, message: memoryview, descriptor: int) -> Frame:
        if len(message) < _HEADER.size:
            raise FrameError("a message shorter than a header")
        magic, kind, count, number, run, length = _HEADER.unpack_from(message)
        if magic != _MAGIC or count > MAX_TENSORS:
            raise FrameError("a message that is no frame")
        if length > self._max_bytes:
            raise FrameError(f"{length} bytes of data")
        described, at = _describe(message, count)
        if count and sum(size for *_, size in described) != length:
            raise FrameError("tensors that do not add up")
        if descriptor < 0:
            if len(message) != at + length:
                raise FrameError("a message of another length than it says")
            if not count:
                return Frame(kind, run, {}, bytes(message[at:]), number, size=length)
            return Frame(kind, run, _inline(message, at, described), number=number, size=length)
        if len(message) != at or not count:
            raise FrameError("a file beside data")
        return Frame(kind, run, _from_file(descriptor, length, described), number=number, filed=True, size=length)


Described = list[tuple[str, np.dtype[Any], tuple[int, ...], int]]


def _describe(message: memoryview, count: int) -> tuple[Described, int]:
    """Name, datatype, shape and bytes of each tensor, and where the data begin."""
    described: Described = []
    at = _HEADER.size
    try:
        for _ in range(count):
            code, rank, title, _, size = _TENSOR.unpack_from(message, at)
            at += _TENSOR.size
            if rank > MAX_RANK or title > MAX_NAME:
                raise FrameError("a tensor of too many dimensions, or with too long a name")
            shape = struct.unpack_from(f"={rank}q", message, at)
            at += 8 * rank
            name = str(message[at : at + title], "utf-8")
            at += title
            dtype = _DTYPES[code]
            elements = math.prod(shape)
            if any(not 0 <= dimension <= MAX_SIZE for dimension in shape) or elements > MAX_SIZE:
                raise FrameError("a tensor with an impossible shape")
            if size < 4 * elements if dtype == _TEXT else size != elements * dtype.itemsize:
                raise FrameError("a tensor whose data do not fill its shape")
            described.append((name, dtype, shape, size))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise FrameError("a description cut short") from error
    if len({name for name, *_ in described}) != count:
        raise FrameError("a tensor twice")
    return described, at


def _inline(message: memoryview, at: int, described: Described) -> dict[str, NDArray[Any]]:
    """Tensors of their own memory: the message's is used again."""
    tensors: dict[str, NDArray[Any]] = {}
    for name, dtype, shape, size in described:
        if dtype == _TEXT:
            tensors[name] = _texts(message[at : at + size], shape)
        else:
            tensors[name] = _shaped(np.frombuffer(message, np.uint8, size, at).copy().view(dtype), shape)
        at += size
    return tensors


def _from_file(descriptor: int, length: int, described: Described) -> dict[str, NDArray[Any]]:
    """Tensors copied from a memory file, which may change meanwhile: the copy is what is checked and used."""
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode) or state.st_size != length:
        raise FrameError("a file of another length than it says")
    try:
        fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError as error:  # reading another kind of file could wait for ever
        raise FrameError("a file that is not in memory") from error
    tensors, at = {}, 0
    for name, dtype, shape, size in described:
        data: Any = np.empty(size, np.uint8)
        _read_all(descriptor, memoryview(data), at)
        tensors[name] = _texts(memoryview(data), shape) if dtype == _TEXT else _shaped(data.view(dtype), shape)
        at += size
    return tensors


def _read_all(descriptor: int, into: memoryview, at: int) -> None:
    while into:
        got = os.preadv(descriptor, [into], at)
        if not got:
            raise FrameError("a file shorter than it says")
        into, at = into[got:], at + got


def _write_all(descriptor: int, parts: Sequence[Any]) -> None:
    for start in range(0, len(parts), _MAX_PARTS):
        rest = [_octets(part) for part in parts[start : start + _MAX_PARTS]]
        while rest:
            written = os.writev(descriptor, rest)
            while rest and written >= len(rest[0]):
                written -= len(rest.pop(0))
            if rest:
                rest[0] = rest[0][written:]


def _octets(part: Any) -> memoryview:
    flat: Any = part if isinstance(part, bytes) else part.reshape(-1).view(np.uint8)
    return memoryview(flat)


def _shaped(data: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    try:
        return data.reshape(shape)
    except ValueError as error:
        raise FrameError("a tensor with an impossible shape") from error


def _joined(tensor: NDArray[Any]) -> list[bytes]:
    """Text elements as their lengths in bytes (4 bytes each), then their UTF-8."""
    encoded = [element.encode() for element in tensor.reshape(-1).tolist()]
    return [np.fromiter(map(len, encoded), np.uint32, len(encoded)).tobytes(), b"".join(encoded)]


def _texts(data: memoryview, shape: tuple[int, ...]) -> NDArray[Any]:
    count = math.prod(shape)
    ends = np.cumsum(np.frombuffer(data, np.uint32, count), dtype=np.uint64)
    blob = data[4 * count :]
    if (int(ends[-1]) if count else 0) != len(blob):
        raise FrameError("texts that do not add up")
    stops = ends.tolist()
    found = np.empty(count, object)
    try:
        whole = str(blob, "utf-8")
        if len(whole) == len(blob):  # ASCII: characters stand where their bytes stood
            found[:] = [whole[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]
        else:
            found[:] = [str(blob[start:stop], "utf-8") for start, stop in zip([0, *stops], stops, strict=False)]
    except UnicodeDecodeError as error:
        raise FrameError("text that is not UTF-8") from error
    return _shaped(found, shape)


def _descriptors(extra: Sequence[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return found.tolist()
