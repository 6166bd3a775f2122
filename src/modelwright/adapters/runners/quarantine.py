"""Requests that end the process that runs them."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from modelwright.core.errors import RefusedError

FATAL = 2
"""A request that was alone with so many processes when they were lost is not run again."""
REMEMBERED = 1024
SECONDS = 600.0


class Quarantine:
    """Digests of requests, not the requests: the newest :data:`REMEMBERED`, each for :data:`SECONDS`.

    Args:
        model: the model's name, for messages.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._lost: OrderedDict[bytes, tuple[int, float]] = OrderedDict()

    def blame(self, feeds: Mapping[str, NDArray[Any]], now: float) -> RefusedError | None:
        """Count a process lost with this request alone; the error where it may not run again."""
        digest = digest_of(feeds)
        times = self._times(digest, now) + 1
        self._lost[digest] = (times, now + SECONDS)
        self._lost.move_to_end(digest)
        if len(self._lost) > REMEMBERED:
            self._lost.popitem(last=False)
        return self._error() if times >= FATAL else None

    def clear(self, feeds: Mapping[str, NDArray[Any]]) -> None:
        """The request was answered: what was lost before was not its doing."""
        if self._lost:
            self._lost.pop(digest_of(feeds), None)

    def error(self, feeds: Mapping[str, NDArray[Any]], now: float) -> RefusedError | None:
        """Why the request may not run; None where it may."""
        if not self._lost:
            return None
        return self._error() if self._times(digest_of(feeds), now) >= FATAL else None

    def _times(self, digest: bytes, now: float) -> int:
        times, until = self._lost.get(digest, (0, now))
        return times if now < until else 0

    def _error(self) -> RefusedError:
        return RefusedError(
            "serve.poison-request",
            f"The request ends the process of model {self._model!r}; it is not run again.",
            why=f"{FATAL} processes ended or hung while they ran it alone.",
            fix="Change the values, or repair the model; the same request is taken again after ten minutes.",
        )


def digest_of(feeds: Mapping[str, NDArray[Any]]) -> bytes:
    """16 bytes that tell two requests apart by their names, datatypes, shapes and values."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in feeds.items():
        digest.update(repr((name, tensor.dtype.str, tensor.shape)).encode())
        if tensor.dtype == object:
            for element in tensor.reshape(-1).tolist():
                encoded = str(element).encode("utf-8", "surrogatepass")
                digest.update(len(encoded).to_bytes(8, "little") + encoded)
        else:
            digest.update(tensor.tobytes())
    return digest.digest()
