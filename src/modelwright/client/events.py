"""An answer in events (Server-Sent Events), out of bytes as they come. No socket here: both clients share it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httptools
import msgspec

from modelwright.client.failures import lost, not_http, refused, unexpected
from modelwright.client.predictions import Predictions
from modelwright.client.wire import Reply
from modelwright.core.errors import from_json

MAX_EVENT_BYTES = 64 * 2**20
"""A longer event is no event."""


class EventReader:
    """Reads one answer in events.

    Args:
        url: the server's, for messages.
        chunk: makes predictions of an event's data.
    """

    def __init__(self, url: str, chunk: Callable[[Reply], Predictions]) -> None:
        self.over = False
        self._url, self._chunk = url, chunk
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._pending, self._body, self._whole = b"", b"", False

    def feed(self, data: bytes) -> Iterator[Predictions]:
        """The chunks that are whole now; ``over`` once the last event has come.

        Raises:
            ModelwrightError: the server's error, before the first chunk or in the middle; ``client.*``.
        """
        if not data:
            raise lost(self._url, begun=bool(self._headers)).error
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise not_http(self._url).error from error
        if not self._headers:
            return
        if self._parser.get_status_code() != 200:
            if self._whole:
                raise refused(self._url, Reply(self._parser.get_status_code(), self._headers, self._body))
            return
        *events, self._pending = (self._pending + self._body).split(b"\n\n")
        self._body = b""
        if len(self._pending) > MAX_EVENT_BYTES:
            raise unexpected(self._url, f"an event of more than {MAX_EVENT_BYTES} bytes")
        for event in events:
            yield from self._read(event)
        if self._whole and not self.over:
            raise lost(self._url, begun=True).error

    def _read(self, event: bytes) -> Iterator[Predictions]:
        name, data = b"message", b""
        for line in event.split(b"\n"):
            field, _, value = line.partition(b":")
            if field == b"event":
                name = value.strip()
            elif field == b"data":
                data += value.strip()
        if name == b"end":
            self.over = True
        elif name == b"error":
            raise from_json(self._object(data))
        elif name == b"message" and data:
            yield self._chunk(Reply(200, self._headers, data))

    def _object(self, data: bytes) -> dict[str, Any]:
        try:
            said = msgspec.json.decode(data, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise unexpected(self._url, f"{error}") from error
        return said | {"what": said.get("error", "")}

    # httptools calls these.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self._headers[name.lower()] = value

    def on_body(self, part: bytes) -> None:
        """Keep a part of the body."""
        self._body += part

    def on_message_complete(self) -> None:
        """The answer is whole; one of the 1xx only announces it."""
        if self._parser.get_status_code() >= 200:
            self._whole = True
        else:
            self._headers.clear()
