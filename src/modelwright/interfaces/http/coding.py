"""Content codings of bodies, with a cap on what a request may unfold to: gzip, deflate and zstd."""

from __future__ import annotations

import functools
import sys
import zlib
from typing import Any

from modelwright.core.errors import BadInputError, TooLargeError
from modelwright.interfaces.http.message import Reply, body_too_large

COMPRESS_FROM_BYTES = 1024
MAX_MEMBERS = 256  # parts of one compressed body: each takes an unpacker of its own
PIECE_BYTES = 2**16  # so much is unpacked at a time: where a part ends, what follows in the piece is copied
MAX_RATIO = 100
FREE_BYTES = 2**20
"""So much may come out of a body however small it is: a column of one value is honest, and packs well."""
LONGEST_WISH = 256  # bytes of an Accept-Encoding: those read are remembered
ZSTD_WINDOW_LOG = 23  # 8 MiB, as RFC 9659 asks: a body may not reserve more memory than that

_IDENTITY, _ANY = "identity", "*"
# The first of those that a client likes best. zstd is the last: some accept it in the name of a library (tritonclient's
# asyncio client in aiohttp's) and cannot read it; who wants it names it alone, or with a higher weight.
_OFFERED = ("gzip", "deflate", "zstd")
_ZLIB_WINDOW = {"gzip": 31, "deflate": 15}
_SAME_AS = {"x-gzip": "gzip"}


def compress(reply: Reply, accepted: bytes) -> None:
    """Compress a body in place where the client (its ``Accept-Encoding``) wants that, and it is large or must be."""
    if b"content-encoding" in reply.headers or not reply.body or len(accepted) > LONGEST_WISH:
        return
    name, forced = choose(accepted)
    if not name or (len(reply.body) < COMPRESS_FROM_BYTES and not forced):
        return
    if name == "zstd":
        reply.body = _zstd().compress(reply.body, 1)
    else:
        packer = zlib.compressobj(1, zlib.DEFLATED, _ZLIB_WINDOW[name])
        reply.body = packer.compress(reply.body) + packer.flush()
    reply.headers += b"content-encoding: %b\r\nvary: accept-encoding\r\n" % name.encode()


@functools.lru_cache(maxsize=256)
def choose(accepted: bytes) -> tuple[str, bool]:
    """The coding for a client (empty: none), and whether the client takes nothing else (RFC 9110, section 12.5.3).

    Of codings that the client likes equally well it is the first of ours. A coding with a malformed weight is not
    accepted. A client whose wishes cannot be met gets no coding.
    """
    weights: dict[str, float] = {}
    for item in accepted.decode("latin-1").lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        weights[_SAME_AS.get(name, name)] = _weight(parameters)
    offered = {name: weights.get(name, 0.0) for name in _OFFERED}
    offered["gzip"] = weights.get("gzip", weights.get(_ANY, 0.0))  # of "any" the one that everybody knows
    best = max(offered, key=lambda name: offered[name])
    if not offered[best] or offered[best] < weights.get(_IDENTITY, 0.0):
        return "", False
    return best, weights.get(_IDENTITY, weights.get(_ANY)) == 0


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, text = (part.strip() for part in parameter.partition("="))
        if name == "q":
            weight = float(text) if text.replace(".", "", 1).isdecimal() and text.isascii() else 0.0
            return weight if weight <= 1 else 0.0
    return 1.0


def decompress(body: bytes, encoding: bytes, limit: int) -> bytes:
    """A request body without its content coding.

    Never holds more output than ``limit`` bytes, nor than :data:`MAX_RATIO` times the body (but :data:`FREE_BYTES`).

    Raises:
        TooLargeError: ``http.body-too-large``, ``http.unfolds-too-far``.
        BadInputError: ``http.unsupported-encoding``: one we do not know, or several; ``http.bad-encoding``: not what
            it says, cut off, or of too many parts.
    """
    name = encoding.strip().lower().decode("latin-1")
    name = _SAME_AS.get(name, name)
    if name in ("", _IDENTITY):
        return body
    if name not in _OFFERED:
        raise BadInputError(
            "http.unsupported-encoding",
            "The content encoding is not supported.",
            why="Codings of a body that is already coded are not taken." if "," in name else "",
            fix=f"Use one of {', '.join(_OFFERED)}.",
        )
    cap = min(limit, max(FREE_BYTES, MAX_RATIO * len(body)))
    parts = _unfold(name, memoryview(body), cap)
    if parts is None:
        raise body_too_large(limit) if cap == limit else _unfolds_too_far()
    return b"".join(parts)


def _unfold(name: str, body: memoryview, cap: int) -> list[bytes] | None:
    """What comes out of the body; None where that is more than the cap."""
    parts: list[bytes] = []
    at = members = 0
    while at < len(body):
        members += 1
        if members > MAX_MEMBERS:
            raise BadInputError("http.bad-encoding", f"The compressed body has more than {MAX_MEMBERS} parts.")
        member, failure = _member(name)
        while not member.eof:
            piece = body[at : at + PIECE_BYTES]
            if not piece:
                raise BadInputError("http.bad-encoding", "The compressed body is cut off.")
            try:
                parts.append(member.decompress(piece, cap + 1))
            except failure as error:
                raise BadInputError(
                    "http.bad-encoding", "The body is not what its content encoding says.", why=f"{error}."
                ) from error
            cap -= len(parts[-1])
            if cap < 0:
                return None
            at += len(piece) - len(member.unused_data)  # all of it was taken: there was room for what comes out
    return parts


def _member(name: str) -> tuple[Any, type[Exception]]:
    """What unpacks one part of a body, and how it fails."""
    if name != "zstd":
        return zlib.decompressobj(47), zlib.error  # gzip or zlib, by its own header
    zstd = _zstd()
    options = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
    return zstd.ZstdDecompressor(options=options), zstd.ZstdError


def _zstd() -> Any:
    """The module; loaded by the first body that needs it, for most servers never meet one."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


def _unfolds_too_far() -> TooLargeError:
    return TooLargeError(
        "http.unfolds-too-far",
        f"The body unfolds to more than {MAX_RATIO} times its size.",
        fix=f"Send it without a content encoding, or in pieces that unfold to at most {FREE_BYTES} bytes.",
    )
