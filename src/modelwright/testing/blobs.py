"""Blobs in memory, and the conformance class of ``ports.blobs.BlobStore``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from modelwright.core.content import Content, whole
from modelwright.core.errors import NotFoundError
from modelwright.ports.blobs import BlobStore
from modelwright.testing.errors import error_code

ABSENT = "0" * 64


class InMemoryBlobs:
    """Implements ``ports.blobs.BlobStore``; a digest is as durable as the process."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}

    def put(self, content: Content) -> str:
        """Store and return the digest."""
        held = whole(content)
        digest = hashlib.sha256(held).hexdigest()
        self._blobs[digest] = held
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes. Raises NotFoundError (``blobs.unknown``)."""
        if digest not in self._blobs:
            raise NotFoundError("blobs.unknown", f"There is no blob {digest[:64]!r}.")
        return self._blobs[digest]

    def has(self, digest: str) -> bool:
        """True when the blob is there."""
        return digest in self._blobs

    def digests(self) -> Iterator[str]:
        """Every digest held, sorted."""
        return iter(sorted(self._blobs))

    def delete(self, digest: str) -> None:
        """Forget a blob; no error when it is not there."""
        self._blobs.pop(digest, None)


class BlobStoreConformance:
    """Inherit, give a fixture ``blobs`` (a fresh, empty store), and the port's promises are tested."""

    def test_a_blob_comes_back_under_its_sha256(self, blobs: BlobStore) -> None:
        """Also an empty one."""
        for content in (b"", b"one", bytes(range(256)) * 5000):
            digest = blobs.put(content)
            assert digest == hashlib.sha256(content).hexdigest()
            assert blobs.get(digest) == content
            assert blobs.has(digest)

    def test_storing_the_same_bytes_again_changes_nothing(self, blobs: BlobStore) -> None:
        """One digest, one blob."""
        assert blobs.put(b"same") == blobs.put(b"same")
        assert len(list(blobs.digests())) == 1

    def test_every_digest_is_listed_once(self, blobs: BlobStore) -> None:
        """In any order."""
        stored = {blobs.put(bytes([value])) for value in range(20)}
        listed = list(blobs.digests())
        assert set(listed) == stored
        assert len(listed) == len(stored)

    def test_an_unknown_digest_is_not_found(self, blobs: BlobStore) -> None:
        """Nor is a text that is no digest, whatever path it spells."""
        for name in (ABSENT, "", "short", "../../etc/passwd", ABSENT.replace("0", "G"), ABSENT + "\n"):
            assert not blobs.has(name)
            assert error_code(blobs.get, name) == "blobs.unknown"

    def test_a_deleted_blob_is_gone_and_may_come_back(self, blobs: BlobStore) -> None:
        """Deleting what is not there is no error."""
        digest = blobs.put(b"gone")
        blobs.delete(digest)
        blobs.delete(digest)
        assert not blobs.has(digest)
        assert list(blobs.digests()) == []
        assert blobs.get(blobs.put(b"gone")) == b"gone"
