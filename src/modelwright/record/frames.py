"""The segment file: a header, then frames ``length u32 | CRC-32 u32 | epoch u32 | sequence u64 | payload``.

All numbers are little-endian.
The CRC covers epoch, sequence and payload and starts from the length, so a changed length is found too. Within one
segment the epoch is constant and sequences go up by one. A sealed segment ends in a footer frame that holds the number
of frames and the SHA-256 of every byte before it. Pure functions of bytes: no file is opened here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from zlib import crc32

import msgspec

from modelwright.core.errors import CorruptError

MAGIC = b"MWSEGM"
FORMAT_VERSION = 1
_HEADER = struct.Struct("<6sHII")
HEADER_BYTES = _HEADER.size
_FRAME = struct.Struct("<IIIQ")
FRAME_BYTES = _FRAME.size
_LENGTH_CRC = struct.Struct("<II")
_EPOCH_SEQUENCE = struct.Struct("<IQ")
MAX_PAYLOAD = 2**28
FOOTER_KIND = 4

Span = tuple[int, int]
"""Start and end offset of a payload in the bytes it was found in."""


def corrupt(why: str) -> CorruptError:
    """The one error of reading a segment."""
    return CorruptError(
        "record.corrupt",
        "A part of the prediction log cannot be read.",
        why=why,
        fix="The segment is kept under the suffix .bad; its readable records stay in use.",
    )


def segment_header(epoch: int) -> bytes:
    """The 16 bytes a segment starts with: magic, format version, epoch, CRC-32 of these."""
    head = _HEADER.pack(MAGIC, FORMAT_VERSION, epoch, 0)[:-4]
    return head + crc32(head).to_bytes(4, "little")


def read_header(data: bytes | memoryview) -> int:
    """The epoch a segment belongs to.

    Raises:
        CorruptError: ``record.corrupt`` when the bytes are not a segment header of a format version known here.
    """
    if len(data) < HEADER_BYTES:
        raise corrupt("The segment is shorter than its header.")
    magic, version, epoch, check = _HEADER.unpack_from(data)
    if magic != MAGIC or check != crc32(data[: HEADER_BYTES - 4]):
        raise corrupt("The segment header is damaged.")
    if version != FORMAT_VERSION:
        raise corrupt(f"The segment has format version {version}; this release reads {FORMAT_VERSION}.")
    return int(epoch)


def frame(payload: bytes, epoch: int, sequence: int) -> bytes:
    """One frame, ready to be written."""
    body = _EPOCH_SEQUENCE.pack(epoch, sequence) + payload
    length = len(payload)
    return _LENGTH_CRC.pack(length, crc32(body, length)) + body


def footer_payload(count: int, digest: bytes) -> bytes:
    """Payload of the footer: frames before it, SHA-256 of every byte before it."""
    return msgspec.msgpack.encode((FOOTER_KIND, count, digest))


@dataclass(slots=True)
class Scan:
    """What was found: payload spans in order, where reading stopped, and the damaged byte ranges before that.

    ``end`` is the offset behind the last whole frame; bytes behind it are a torn tail. ``last_sequence`` is -1 before
    the first frame.
    """

    spans: list[Span] = field(default_factory=list)
    end: int = HEADER_BYTES
    last_sequence: int = -1
    damaged: list[Span] = field(default_factory=list)


def scan(data: bytes, epoch: int, *, start: int = 0, after: int = -1) -> Scan:
    """Every whole frame of ``data`` from ``start`` on (0 = no header), tolerant of damage.

    Bytes that are no frame are skipped up to the next frame of the same epoch with a larger sequence and reported in
    ``damaged``; when no such frame follows they are a torn tail and are left alone.

    Args:
        data: bytes of a segment, or the part of one behind a cursor.
        epoch: the segment's epoch.
        start: offset of the first frame.
        after: sequence of the last frame before ``start``; -1 when there is none.
    """
    found = Scan(end=start, last_sequence=after)
    view = memoryview(data)
    position, total, spans = start, len(data), found.spans
    unpack, last, crc = _FRAME.unpack_from, after, crc32
    while position + FRAME_BYTES <= total:
        length, check, its_epoch, sequence = unpack(data, position)
        stop = position + FRAME_BYTES + length
        in_order = sequence == last + 1 or (last < 0)
        if stop <= total and its_epoch == epoch and in_order and crc(view[position + 8 : stop], length) == check:
            spans.append((position + FRAME_BYTES, stop))
            position, last = stop, sequence
            continue
        following = _next_frame(data, position, epoch, last)
        if following < 0:
            break
        found.damaged.append((position, following))
        position = following
        last = unpack(data, position)[3] - 1
    found.end, found.last_sequence = position, last
    return found


def _next_frame(data: bytes, start: int, epoch: int, last: int) -> int:
    """Offset of the first whole frame at or behind ``start``, or -1."""
    view, mark = memoryview(data), epoch.to_bytes(4, "little")
    at = data.find(mark, start + 8)
    while at >= 0:
        position = at - 8
        if position + FRAME_BYTES <= len(data):
            length, check, _, sequence = _FRAME.unpack_from(data, position)
            stop = position + FRAME_BYTES + length
            if sequence > last and stop <= len(data) and crc32(view[at:stop], length) == check:
                return position
        at = data.find(mark, at + 1)
    return -1
