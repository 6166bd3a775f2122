"""How DBOS stores values: as JSON text, never as pickle, so that reading the database runs no code."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from dbos import Serializer


class StoredError(Exception):
    """An exception that DBOS stored: its type's name and its words."""


class JsonSerializer(Serializer):
    """JSON; times as ISO 8601, exceptions as ``{"exception": {"type", "words"}}``."""

    def serialize(self, data: Any) -> str:
        """To text; raises TypeError for what JSON has no form of."""
        return json.dumps(data, default=_plain, separators=(",", ":"))

    def deserialize(cls, serialized_data: str) -> Any:  # noqa: N805 - the name that DBOS's abstract method gives it
        """From text."""
        value = json.loads(serialized_data)
        if isinstance(value, dict) and set(value) == {"exception"}:
            return StoredError(f"{value['exception']['type']}: {value['exception']['words']}")
        return value

    def name(self) -> str:
        """Stored beside every value."""
        return "modelwright_json"


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, BaseException):
        return {"exception": {"type": type(value).__name__, "words": str(value)}}
    raise TypeError(f"{type(value).__name__} has no JSON form")
