"""Signed checkpoints of the ledger: its length and head under an Ed25519 key, kept beside the database."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from modelwright.adapters.stores.private_files import make_directory, sync_directory
from modelwright.core.errors import CorruptError
from modelwright.core.package import canonical_json

FORMAT = "modelwright-ledger-checkpoint-1"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The ledger had ``entries`` entries and ended in ``head``; keys and signature are hexadecimal."""

    entries: int
    head: str
    at: str
    public_key: str
    signature: str

    def message(self) -> bytes:
        """What is signed."""
        return canonical_json({"format": FORMAT, "entries": self.entries, "head": self.head, "at": self.at})

    def holds(self, public_key: str) -> bool:
        """True when that key signed it."""
        try:
            key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
            key.verify(bytes.fromhex(self.signature), self.message())
        except (InvalidSignature, ValueError):
            return False
        return self.public_key == public_key


class CheckpointKey:
    """``ledger.key`` (PEM, 0600, made at first use) and ``checkpoints.jsonl``, one signed checkpoint a line.

    Whoever keeps a copy of a line elsewhere can prove that the ledger was cut or rewritten since, also against
    someone who holds this directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = directory / "checkpoints.jsonl"

    @cached_property
    def _private(self) -> Ed25519PrivateKey:
        path = self._directory / "ledger.key"
        make_directory(self._directory)
        if not path.exists():
            self._create(path)
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except ValueError as error:
            raise self._unusable(path) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise self._unusable(path)
        return key

    @property
    def public_key(self) -> str:
        """The public key, 32 bytes in hexadecimal."""
        return self._private.public_key().public_bytes_raw().hex()

    def sign(self, entries: int, head: str, at: str) -> Checkpoint:
        """A signed checkpoint."""
        bare = Checkpoint(entries, head, at, self.public_key, "")
        return Checkpoint(entries, head, at, self.public_key, self._private.sign(bare.message()).hex())

    def keep(self, checkpoint: Checkpoint) -> None:
        """Append a line, on stable storage; half a line that a crash left is cut first."""
        new = not self._file.exists()
        handle = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            end = _end_of_last_line(handle)
            os.ftruncate(handle, end)
            os.pwrite(handle, canonical_json(asdict(checkpoint)) + b"\n", end)
            os.fsync(handle)
        finally:
            os.close(handle)
        if new:
            sync_directory(self._directory)

    def kept(self) -> list[Checkpoint | None]:
        """The lines of the file, in order; None stands for a line that is not a checkpoint."""
        try:
            text = self._file.read_bytes()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        return [_parse(line) for line in whole.splitlines()]

    @staticmethod
    def _create(path: Path) -> None:
        """Write the key under another name and link it, so that nobody ever reads half a key."""
        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(draft, path)
            except FileExistsError:
                return  # another process was first; its key is the key
        finally:
            draft.unlink()
        sync_directory(path.parent)

    @staticmethod
    def _unusable(path: Path) -> CorruptError:
        return CorruptError(
            "ledger.bad-key",
            "The key that signs the ledger's checkpoints cannot be read.",
            why=f"{path} does not hold an Ed25519 private key.",
            fix="Restore the file from a backup.",
        )


def _end_of_last_line(handle: int) -> int:
    """Offset just after the last newline of the file."""
    size = os.fstat(handle).st_size
    tail = os.pread(handle, 4096, max(0, size - 4096))
    last = tail.rfind(b"\n")
    return 0 if last < 0 else size - len(tail) + last + 1


def checkpoint_from(fields: object) -> Checkpoint | None:
    """A checkpoint from its JSON object or its row, or None when that is not one of ours."""
    if not isinstance(fields, dict) or set(fields) != set(Checkpoint.__dataclass_fields__):
        return None
    entries, texts = fields["entries"], [value for name, value in fields.items() if name != "entries"]
    if not isinstance(entries, int) or not all(isinstance(text, str) for text in texts):
        return None
    return Checkpoint(**fields)


def _parse(line: bytes) -> Checkpoint | None:
    try:
        return checkpoint_from(json.loads(line))
    except (ValueError, RecursionError):
        return None
