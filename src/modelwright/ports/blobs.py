"""Content-addressed bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from modelwright.core.content import Content


class BlobStore(Protocol):
    """Immutable blobs under their hex SHA-256. A digest that ``put`` returned is on stable storage."""

    def put(self, content: Content) -> str:
        """Store durably (idempotent) and return the digest."""
        ...

    def get(self, digest: str) -> Content:
        """The verified bytes; a large blob as an open file that cannot change.

        Raises:
            NotFoundError: ``blobs.unknown``.
            CorruptError: ``blobs.corrupt``.
        """
        ...

    def has(self, digest: str) -> bool:
        """True when the blob is there."""
        ...

    def digests(self) -> Iterator[str]:
        """Every digest held."""
        ...

    def delete(self, digest: str) -> None:
        """Forget a blob; no error when it is not there."""
        ...
