"""Keys as PEM: elliptic curve P-256 to sign with; P-256, P-384 and P-521 to verify, as the format allows."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from modelwright.core.errors import BadInputError, ConflictError, NotFoundError
from modelwright.core.trust import TrustedKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

# `cryptography` is imported inside the functions: a gateway whose packages are not signed does without it.

CURVES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}
MAX_PEM_BYTES = 65_536


def new_key(private: Path, public: Path, passphrase: str = "") -> str:
    """Write a new key pair, the private key 0600 and encrypted where there is a passphrase; its id.

    Raises:
        ConflictError: ``keys.exists``: one of the files is there already.
        BadInputError: ``keys.unwritable``.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    sealing: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        sealing = serialization.BestAvailableEncryption(passphrase.encode())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealing)
    text = public_pem(key.public_key())
    try:
        for path, content, mode in ((public, text.encode(), 0o644), (private, pem, 0o600)):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
    except FileExistsError as error:
        raise ConflictError(
            "keys.exists",
            f"{error.filename} is there already.",
            why="A key that is overwritten is lost.",
            fix="Give another name: --out FILE.",
        ) from error
    except OSError as error:
        raise BadInputError(
            "keys.unwritable",
            f"The key cannot be written to {private}.",
            why=f"{error.strerror or error}.",
            fix="Give a file in a folder that exists and is writable: --out FILE.",
        ) from error
    return key_id(text)


def public_pem(key: ec.EllipticCurvePublicKey) -> str:
    """The key as PEM (SubjectPublicKeyInfo)."""
    from cryptography.hazmat.primitives import serialization

    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode()


def key_id(pem: str) -> str:
    """Hex SHA-256 of the public key's PEM: what a bundle calls its key by."""
    return hashlib.sha256(pem.encode()).hexdigest()


def read_public(path: Path) -> str:
    """A public key from its file, as PEM in the one form that ids are taken of.

    Raises:
        NotFoundError: ``keys.missing-file``.
        BadInputError: ``keys.unreadable``: no public key, or one of a kind that the format does not have.
    """
    return public_pem(_public(_bytes(path), str(path)))


def read_trusted(path: Path) -> tuple[TrustedKey, ...]:
    """The key in a file, or every ``*.pub`` and ``*.pem`` in a folder: trusted for every model, named as its file.

    Raises:
        NotFoundError: ``keys.missing-file``.
        BadInputError: ``keys.unreadable``.
    """
    files = sorted(file for file in path.iterdir() if file.suffix in {".pub", ".pem"}) if path.is_dir() else [path]
    found = []
    for file in files:
        pem = read_public(file)
        found.append(TrustedKey(key_id(pem), pem, file.stem))
    return tuple(found)


def read_private(path: Path, passphrase: str = "") -> ec.EllipticCurvePrivateKey:
    """A private key from its file.

    Raises:
        NotFoundError: ``keys.missing-file``.
        BadInputError: ``keys.unreadable``, ``keys.passphrase-needed``, ``keys.wrong-passphrase``.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    content = _bytes(path)
    sealed = b"ENCRYPTED" in content
    if sealed and not passphrase:
        raise BadInputError(
            "keys.passphrase-needed",
            f"The key {path} has a passphrase.",
            fix="Set MODELWRIGHT_SIGNING_PASSPHRASE, or run the command in a terminal, where it asks.",
        )
    try:
        key = serialization.load_pem_private_key(content, passphrase.encode() if sealed else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if sealed:
            raise BadInputError(
                "keys.wrong-passphrase",
                f"The passphrase does not open the key {path}.",
                fix="Give the right one, or restore the key from a backup.",
            ) from error
        raise _unreadable(str(path), "it holds no private key in PEM form") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in CURVES:
        raise _unreadable(str(path), "it is no elliptic-curve key of P-256, P-384 or P-521")
    return key


def sign(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """ECDSA over the hash that belongs to the curve; DER."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return key.sign(message, ec.ECDSA(_hash(key.curve.name)))


def holds(pem: str, signature: bytes, message: bytes) -> bool:
    """True when the public key's owner signed the message."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec

    key = _public(pem.encode(), "The trusted key")
    try:
        key.verify(signature, message, ec.ECDSA(_hash(key.curve.name)))
    except InvalidSignature:
        return False
    return True


def _hash(curve: str) -> hashes.HashAlgorithm:
    from cryptography.hazmat.primitives import hashes

    found: hashes.HashAlgorithm = getattr(hashes, CURVES[curve])()
    return found


def _public(content: bytes, where: str) -> ec.EllipticCurvePublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_pem_public_key(content)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        why = "it holds a private key" if b"PRIVATE KEY" in content else "it holds no public key in PEM form"
        raise _unreadable(where, why) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise _unreadable(where, "it is no elliptic-curve key of P-256, P-384 or P-521")
    return key


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_PEM_BYTES)
    except FileNotFoundError as error:
        raise NotFoundError("keys.missing-file", f"There is no key file {path}.", fix="Check the path.") from error
    except OSError as error:
        raise _unreadable(str(path), f"{error.strerror or error}") from error


def _unreadable(where: str, why: str) -> BadInputError:
    return BadInputError(
        "keys.unreadable",
        f"{where} cannot be used as a key.",
        why=f"{why[:1].upper()}{why[1:]}.",
        fix="Make one with `modelwright keys new`; the public key lies beside the private one and ends in .pub.",
    )
