"""The access log: one JSON line for each request event, on stderr or in a file that may be rotated."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import msgspec

from modelwright.adapters.observers.background import BOUND, Background
from modelwright.core.request_event import RequestEvent

STDERR = "stderr"
EVERY_SECONDS = 0.1
LONGEST_FIELD, LONGEST_ID = 100, 128
"""Characters of a text field; a line is shorter than 4 KiB then, which is what a pipe takes whole."""
PIPE_BYTES = 4096
LINES_AT_ONCE = 512

_encoder = msgspec.json.Encoder()


class AccessLog(Background[bytes]):
    """Appends whole lines; a file that was moved away or deleted is opened anew within a second.

    A line is made where its event is put, and only written by the thread: one that computes would hold the interpreter
    lock while requests wait for it.

    Args:
        target: a path, or ``stderr``. The file is created 0600.
        bound: events that may wait.
    """

    def __init__(self, target: str, *, bound: int = BOUND) -> None:
        self._path = None if target == STDERR else Path(target).expanduser()
        self._descriptor = sys.stderr.fileno() if self._path is None else -1
        self._broken = False
        super().__init__("access-log", self._write, every=EVERY_SECONDS, batch=LINES_AT_ONCE, bound=bound)

    def put(self, event: RequestEvent) -> None:
        """Take an event."""
        self.take(line(event))

    def close(self) -> None:
        """Write what waits."""
        super().close()
        if self._path is not None and self._descriptor >= 0 and not self._thread.is_alive():
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, lines: Sequence[bytes]) -> None:
        if self._path is not None:
            self._follow(self._path)
        for chunk in [b"".join(lines)] if self._path is not None else _chunks(lines):
            self._write_all(b"\n" + chunk if self._broken else chunk)

    def _write_all(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        finally:
            self._broken = bool(left) and len(left) < len(data)  # half a line is there: the next begins on its own

    def _follow(self, path: Path) -> None:
        """Have the file of that name open."""
        with suppress(FileNotFoundError):
            there, ours = path.stat(), os.fstat(self._descriptor) if self._descriptor >= 0 else None
            if ours is not None and (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
                return
        fresh = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = fresh


class _Line(msgspec.Struct, omit_defaults=True, gc=False):
    at: str
    event: str
    protocol: str
    method: str
    route: str
    status: int
    seconds: float
    bytes_in: int
    bytes_out: int
    error: str = ""
    model: str = ""
    version: str = ""
    role: str = ""
    actor: str = ""
    prediction_id: str = ""
    rows: int | None = None
    batch: int | None = None
    decode_seconds: float | None = None
    queue_seconds: float | None = None
    infer_seconds: float | None = None
    encode_seconds: float | None = None
    trace_id: str = ""


def line(event: RequestEvent) -> bytes:
    """One event as one line of JSON; control characters are shown, not obeyed."""
    told = _Line(
        f"{_second(int(event.at))}.{int(event.at * 1000) % 1000:03}+00:00",
        "request",
        event.protocol,
        _clean(event.method),
        _clean(event.route),
        event.status,
        round(event.seconds, 7),
        event.bytes_in,
        event.bytes_out,
        _clean(event.error),
        _clean(event.model),
        _clean(event.version),
        _clean(event.role),
        _clean(event.actor),
    )
    if event.prediction_id:
        told.prediction_id, told.rows, told.batch = _clean(event.prediction_id, LONGEST_ID), event.rows, event.batch
    if event.stages is not None:
        decode, queue, infer, encode = event.stages
        told.decode_seconds, told.queue_seconds = round(decode, 7), round(queue, 7)
        told.infer_seconds, told.encode_seconds = round(infer, 7), round(encode, 7)
    if event.trace is not None:
        told.trace_id = event.trace.trace_id
    return _encoder.encode(told) + b"\n"


@lru_cache(2)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _clean(text: str, most: int = LONGEST_FIELD) -> str:
    if len(text) <= most and text.isprintable():
        return text
    text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text[: most + 1])
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _chunks(lines: Sequence[bytes]) -> Iterator[bytes]:
    """Whole lines together, as many as a pipe takes without mixing them with those of another process."""
    chunk = b""
    for one in lines:
        if chunk and len(chunk) + len(one) >= PIPE_BYTES:
            yield chunk
            chunk = b""
        chunk += one
    if chunk:
        yield chunk
