"""A client on a kept connection sends the same head again and again: it is parsed once.

Only a head that the parser has accepted is remembered, byte for byte but for the digits of its content length, and only
where nothing about it but that length tells where its body ends. What differs in any other byte goes to the parser.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]{1,9})\r\n", re.IGNORECASE)
_END = b"\r\n\r\n"
_DIGITS = 9
_UNPLAIN = frozenset({b"transfer-encoding", b"upgrade", b"expect", b"trailer"})


@dataclass(frozen=True, slots=True)
class RepeatedHead:
    """The bytes before and behind the length's digits, and what the parser made of them."""

    before: bytes
    behind: bytes
    method: bytes
    target: bytes
    headers: dict[bytes, bytes]

    def body(self, data: bytes, most: int) -> bytes | None:
        """The body, when ``data`` is this head and one whole body of at most ``most`` bytes, and nothing else."""
        before = self.before
        if not data.startswith(before):
            return None
        start = len(before)
        stop = data.find(b"\r", start, start + _DIGITS + 1)
        digits = data[start:stop]
        if stop < 0 or not digits.isdigit() or not data.startswith(self.behind, stop):
            return None
        begin, length = stop + len(self.behind), int(digits)
        return data[begin:] if len(data) - begin == length <= most else None


def remember(data: bytes, method: bytes, target: bytes, headers: dict[bytes, bytes]) -> RepeatedHead | None:
    """The head of ``data``, one whole HTTP/1.1 request as the parser took it; None where it is not to be remembered."""
    if not _UNPLAIN.isdisjoint(headers):
        return None
    end = data.find(_END) + len(_END)
    lengths = list(_LENGTH.finditer(data, 0, end))
    if len(lengths) != 1 or len(data) - end != int(lengths[0][1]):
        return None
    first, last = lengths[0].span(1)
    return RepeatedHead(data[:first], data[last:end], method, target, headers)
