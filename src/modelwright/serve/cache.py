"""Answers kept for equal requests, and equal requests that wait for one run: for models whose answers never vary.

An answer is found again by what made it and who asked: the digest of the package, the tensors that the model got, and
the caller. So a new version starts afresh, and what one caller asked is told to nobody else. Errors are not kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from modelwright.serve.lane import Ticket

Tensors = Mapping[str, NDArray[Any]]
ENTRY_BYTES = 600
"""What an entry is taken to cost beside its tensors' bytes: its key, its place, and NumPy's own of each tensor."""
EVERY = "*"

_pack = msgspec.msgpack.Encoder(enc_hook=str).encode


class ResponseCache:
    """Least recently used answers, up to a number of bytes.

    Args:
        most_bytes: what all kept answers may take.
        models: whose answers are kept; :data:`EVERY` among them: every model's.
    """

    def __init__(self, most_bytes: int, models: Collection[str]) -> None:
        self._most, self._models, self._every = most_bytes, frozenset(models), EVERY in models
        self._kept: OrderedDict[bytes, tuple[Tensors, int]] = OrderedDict()
        self._asked: dict[bytes, tuple[Ticket, list[Ticket]]] = {}
        self.bytes = 0

    def covers(self, model: str) -> bool:
        """Whether this model's answers are kept."""
        return self._every or model in self._models

    def get(self, key: bytes) -> dict[str, NDArray[Any]] | None:
        """The outputs of an equal request."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return dict(found[0])

    def put(self, key: bytes, outputs: Tensors) -> None:
        """Keep outputs; the least recently used make room. What is larger than an eighth of it all is not kept."""
        size = ENTRY_BYTES + sum(map(_size, outputs.values()))
        if size > self._most // 8 or key in self._kept:
            return
        self._kept[key] = ({name: _own(tensor) for name, tensor in outputs.items()}, size)
        self.bytes += size
        while self.bytes > self._most:
            _, (_, freed) = self._kept.popitem(last=False)
            self.bytes -= freed

    def follow(self, key: bytes, ticket: Ticket) -> bool:
        """Whether an equal request is under way, for whose answer this one now waits."""
        under_way = self._asked.get(key)
        if under_way is None or under_way[0].cancelled:
            return False
        under_way[1].append(ticket)
        return True

    def lead(self, key: bytes, ticket: Ticket) -> None:
        """Equal requests wait for this one from now on, and those that waited for one who has gone."""
        _, followers = self._asked.get(key, (ticket, []))
        self._asked[key] = (ticket, followers)

    def settled(self, key: bytes, ticket: Ticket) -> list[Ticket]:
        """Who waited for this request, which has its outcome now."""
        if self._asked.get(key, (None,))[0] is not ticket:
            return []
        return self._asked.pop(key)[1]

    def abandoned(self) -> list[list[Ticket]]:
        """Those who wait for a request that was cancelled, by their key; they wait no longer."""
        gone = [key for key, (leader, _) in self._asked.items() if leader.cancelled]
        return [followers for key in gone if (followers := self._asked.pop(key)[1])]

    def late(self, now: float) -> list[Ticket]:
        """Those who wait and whose time (``time.perf_counter``) ran out; they wait no longer."""
        late = []
        for _, followers in self._asked.values():
            late += [ticket for ticket in followers if now > ticket.limit]
            followers[:] = [ticket for ticket in followers if now <= ticket.limit]
        return late


def key_of(digest: str, actor: str, feeds: Tensors) -> bytes:
    """What two requests share if and only if the same caller sent the same model the same tensors."""
    hashed = blake2b(digest.encode(), digest_size=32)
    head: list[object] = [actor]
    for name in sorted(feeds):
        tensor = feeds[name]
        head += (name, tensor.dtype.str, tensor.shape)
        if tensor.dtype.kind == "O":
            head.append(tensor.ravel().tolist())
    hashed.update(_pack(head))
    for name in sorted(feeds):
        if feeds[name].dtype.kind != "O":
            hashed.update(np.ascontiguousarray(feeds[name]).data)
    return hashed.digest()


def _own(tensor: NDArray[Any]) -> NDArray[Any]:
    """Not a view: a row of a shared run would keep all of its rows in memory."""
    return tensor if tensor.base is None else tensor.copy()


def _size(tensor: NDArray[Any]) -> int:
    if tensor.dtype.kind == "O":
        return sum(60 + 4 * len(str(value)) for value in tensor.ravel().tolist())
    return tensor.nbytes
