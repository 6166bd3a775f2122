"""The access log: one JSON line for each request event, on stderr or in a file that may be rotated."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from modelwright.adapters.observers.background import BOUND, Background
from modelwright.core.request_event import RequestEvent

STDERR = "stderr"
EVERY_SECONDS = 0.1
LONGEST_FIELD, LONGEST_ID = 100, 128
"""Characters of a text field; a line is shorter than 4 KiB then, which is what a pipe takes whole."""
PIPE_BYTES = 4096


class AccessLog(Background):
    """Appends whole lines; a file that was moved away or deleted is opened anew within a second.

    Args:
        target: a path, or ``stderr``. The file is created 0600.
        bound: events that may wait.
    """

    def __init__(self, target: str, *, bound: int = BOUND) -> None:
        self._path = None if target == STDERR else Path(target).expanduser()
        self._descriptor = sys.stderr.fileno() if self._path is None else -1
        self._broken = False
        super().__init__("access-log", self._write, every=EVERY_SECONDS, bound=bound)

    def close(self) -> None:
        """Write what waits."""
        super().close()
        if self._path is not None and self._descriptor >= 0 and not self._thread.is_alive():
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, events: Sequence[RequestEvent]) -> None:
        if self._path is not None:
            self._follow(self._path)
        for chunk in _chunks(map(line, events)):
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


def line(event: RequestEvent) -> bytes:
    """One event as one line of JSON; control characters are shown, not obeyed."""
    trace, stages = event.trace, event.stages
    told: dict[str, object] = {
        "at": datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds"),
        "event": "request",
        "protocol": event.protocol,
        "method": _clean(event.method),
        "route": _clean(event.route),
        "status": event.status,
        "seconds": _short(event.seconds),
        "bytes_in": event.bytes_in,
        "bytes_out": event.bytes_out,
    }
    texts = {"error": event.error, "model": event.model, "version": event.version, "role": event.role}
    told |= {name: _clean(text) for name, text in (texts | {"actor": event.actor}).items() if text}
    if event.prediction_id:
        told |= {"prediction_id": _clean(event.prediction_id, LONGEST_ID), "rows": event.rows, "batch": event.batch}
    if stages is not None:
        told |= {f"{name}_seconds": _short(value) for name, value in stages._asdict().items()}
    if trace is not None:
        told["trace_id"] = trace.trace_id
    return msgspec.json.encode(told) + b"\n"


def _clean(text: str, most: int = LONGEST_FIELD) -> str:
    text = text[: most + 1]
    if not text.isprintable():
        text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _short(seconds: float) -> float:
    return round(seconds, 7)


def _chunks(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Whole lines together, as many as a pipe takes without mixing them with those of another process."""
    chunk = b""
    for one in lines:
        if chunk and len(chunk) + len(one) >= PIPE_BYTES:
            yield chunk
            chunk = b""
        chunk += one
    if chunk:
        yield chunk
