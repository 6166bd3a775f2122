"""JSON lines on stderr for the processes off the hot path."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class JsonLines(logging.Formatter):
    """One object per record: time, level, event, the record's own fields, and an error's last line."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


class ShortLines(JsonLines):
    """The same for a person at a terminal: time, process, event, then what belongs to it."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one short line."""
        moment = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        fields = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        told = " ".join(f"{key}={_harmless(value)}" for key, value in fields.items())
        level = "" if record.levelno < logging.WARNING else f"{record.levelname} "
        error = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return f"{moment} {self._process:<10} {level}{_harmless(record.getMessage())} {told}".rstrip() + error


def _harmless(value: object) -> str:
    """Text that moves no cursor: control characters are shown, not obeyed."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(value))


def configure(process: str) -> None:
    """Send the standard library's logging to stderr, short on a terminal and as JSON lines anywhere else.

    Chatty libraries speak from warnings up.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(ShortLines(process) if sys.stderr.isatty() else JsonLines(process))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in ("alembic", "dbos", "httpx", "uvicorn.access", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
