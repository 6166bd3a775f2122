"""The bundle of OMS 1.0: a Sigstore bundle with a DSSE envelope around an in-toto statement on every file's digest.

Source: the specification of OpenSSF Model Signing, its method ``key``; DSSE 1.0; in-toto Statement 1. Bundles made by
other tools are read as the specification allows: unknown fields are ignored, ``rawBytes`` may stand for ``hint``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelwright.core.errors import CorruptError
from modelwright.core.package import Manifest, canonical_json
from modelwright.core.package_codec import BUNDLE, MANIFEST
from modelwright.core.trust import invalid

FILE = BUNDLE
MAX_BYTES = 16 * 2**20
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
IGNORED = (FILE, ".git", ".gitattributes", ".github", ".gitignore")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle's parts. ``payload`` is what was signed, ``files`` (name to hex SHA-256) what it says of the model."""

    payload: bytes
    signature: bytes
    hint: str
    files: Mapping[str, str]


def files_of(manifest: Manifest) -> dict[str, str]:
    """What a signature of the package covers: every file with its hex SHA-256, and the manifest, whose is the digest.

    So nothing has to be hashed again: the manifest's digest is the package's identity, and every read of a file is
    checked against the manifest.
    """
    listed = {name: entry.sha256 for name, entry in manifest.files.items()}
    return dict(sorted((listed | {MANIFEST: manifest.digest}).items()))


def statement(manifest: Manifest) -> bytes:
    """The in-toto statement on a package, as the bytes that are signed."""
    files = files_of(manifest)
    serialization = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": list(IGNORED)}
    resources = [{"name": name, "algorithm": "sha256", "digest": digest} for name, digest in files.items()]
    return canonical_json(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": manifest.name, "digest": {"sha256": _root(files)}}],
            "predicateType": PREDICATE_TYPE,
            "predicate": {"serialization": serialization, "resources": resources},
        }
    )


def envelope(payload: bytes) -> bytes:
    """What the key signs: the pre-authentication encoding of DSSE 1.0."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def write(payload: bytes, signature: bytes, key_id: str) -> bytes:
    """The bundle, as the content of ``model.sig``."""
    return canonical_json(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": key_id}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
            },
        }
    )


def read(content: bytes) -> Bundle:
    """The parts of a bundle of the method ``key``; the signature itself is not checked here.

    Raises:
        CorruptError: ``sign.invalid``: it is no such bundle, or contradicts itself.
    """
    if len(content) > MAX_BYTES:
        raise _malformed(f"it is larger than {MAX_BYTES} bytes")
    try:
        bundle = json.loads(content.decode())
        _expect("mediaType", bundle["mediaType"], MEDIA_TYPE)
        held = bundle["dsseEnvelope"]
        _expect("payloadType", held["payloadType"], PAYLOAD_TYPE)
        (signed,) = held["signatures"]  # exactly one
        payload = base64.b64decode(held["payload"], validate=True)
        return Bundle(
            payload=payload,
            signature=base64.b64decode(signed["sig"], validate=True),
            hint=_hint(bundle["verificationMaterial"]["publicKey"]),
            files=_files(json.loads(payload.decode())),
        )
    except KeyError as error:
        raise _malformed(f"it has no {error.args[0]!r}") from error
    except (ValueError, TypeError, AttributeError, IndexError, RecursionError, binascii.Error) as error:
        raise _malformed(f"{error}") from error


def _hint(public_key: dict[str, Any]) -> str:
    hint = public_key.get("hint") or ""
    if not isinstance(hint, str) or not (hint == "" or _DIGEST.match(hint)):
        raise ValueError("the hint is no key id")
    return hint


def _files(said: dict[str, Any]) -> dict[str, str]:
    _expect("_type", said["_type"], STATEMENT_TYPE)
    _expect("predicateType", said["predicateType"], PREDICATE_TYPE)
    predicate = said["predicate"]
    _expect("method", predicate["serialization"]["method"], "files")
    _expect("hash_type", predicate["serialization"]["hash_type"], "sha256")
    files: dict[str, str] = {}
    for resource in predicate["resources"]:
        _expect("algorithm", resource["algorithm"], "sha256")
        name, digest = resource["name"], resource["digest"]
        if not isinstance(name, str) or name in files or not _DIGEST.match(digest):
            raise ValueError(f"its entry of {str(name)[:80]!r} cannot be used")
        files[name] = digest
    if not files or len(said["subject"]) != 1:
        raise ValueError("it covers no file, or more than one model")
    _expect("subject's digest", said["subject"][0]["digest"]["sha256"], _root(files))
    return files


def _root(files: Mapping[str, str]) -> str:
    """Hex SHA-256 over the digests' bytes, in the order of the resources."""
    return hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in files.values())).hexdigest()


def _expect(name: str, found: object, expected: str) -> None:
    if found != expected:
        raise ValueError(f"its {name} is {str(found)[:80]!r}, not {expected!r}")


def _malformed(why: str) -> CorruptError:
    return invalid("The package", f"{FILE} is no signature in the format of OpenSSF Model Signing: {why}.")
