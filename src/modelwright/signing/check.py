"""Package + key -> bundle; package + bundles + trusted keys -> what the signature is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from modelwright.core.content import Content, whole
from modelwright.core.errors import CorruptError
from modelwright.core.package import Manifest, Package
from modelwright.core.trust import Signed, TrustedKey, invalid
from modelwright.signing import keys, oms

_ORDER = ("trusted", "revoked-key", "expired-key", "other-model", "unknown-key", "unchecked", "invalid")


def sign(manifest: Manifest, private: Path, passphrase: str = "") -> bytes:
    """A bundle on a package, made with a private key's file.

    Raises:
        NotFoundError, BadInputError: as :func:`modelwright.signing.keys.read_private`.
    """
    key = keys.read_private(private, passphrase)
    payload = oms.statement(manifest)
    signature = keys.sign(key, oms.envelope(payload))
    return oms.write(payload, signature, keys.key_id(keys.public_pem(key.public_key())))


def sealed(package: Package, bundle: bytes) -> Package:
    """The package with that signature beside it; its identity stays."""
    return replace(package, bundle=bundle)


def examine(manifest: Manifest, content: bytes, trusted: Iterable[TrustedKey] | None, now: float) -> Signed:
    """What one bundle is worth.

    Args:
        manifest: of the package that it stands beside.
        content: the bundle.
        trusted: the keys known here, revoked ones too; None: nobody said.
        now: Unix seconds.
    """
    try:
        bundle = oms.read(content)
        _require_same(manifest, bundle)
    except CorruptError as error:
        return Signed("invalid", why=error.why)
    if trusted is None:
        return Signed("unchecked", bundle.hint)
    # A bundle of an early release names no key: each is tried.
    known = [key for key in trusted if bundle.hint in {"", key.key_id}]
    message = oms.envelope(bundle.payload)
    key = next((key for key in known if keys.holds(key.public_key, bundle.signature, message)), None)
    if key is not None:
        why = f"{key.name} was revoked: {key.revoked_why}" if key.revoked_why else ""
        return Signed(key.state(manifest.name, now), key.key_id, key.name, why)
    if known and bundle.hint:
        why = f"It is not a signature by {known[0].name}, whose key it names: signature or statement was changed."
        return Signed("invalid", bundle.hint, why=why)
    return Signed("unknown-key", bundle.hint)


def best(manifest: Manifest, bundles: Sequence[bytes], trusted: Iterable[TrustedKey] | None, now: float) -> Signed:
    """What the best of a package's signatures is worth; ``unsigned`` where there is none."""
    held = None if trusted is None else tuple(trusted)
    found = [examine(manifest, content, held, now) for content in bundles]
    return min(found, key=lambda one: _ORDER.index(one.state), default=Signed("unsigned"))


def require_sound(package: Package) -> None:
    """Check that a signature beside a package is one of this package, whoever made it.

    Raises:
        CorruptError: ``sign.invalid``.
    """
    if package.bundle is not None:
        _require_same(package.manifest, oms.read(package.bundle))


def _require_same(manifest: Manifest, bundle: oms.Bundle) -> None:
    """The bundle covers exactly the package's files, with their digests: all, no other, and the manifest itself."""
    files, covered = oms.files_of(manifest), bundle.files
    if covered == files:
        return
    changed = sorted(name for name in files if covered.get(name, "") not in {"", files[name]})
    added, removed = sorted(files.keys() - covered.keys()), sorted(covered.keys() - files.keys())
    for words, names in (
        ("it does not cover", added),
        ("of files that are not there", removed),
        ("other bytes of", changed),
    ):
        if names:
            shown = ", ".join(name[:80] for name in names[:5])
            raise invalid(f"Package {manifest.name}", f"{oms.FILE} is of another package: {words} {shown}.")


def held_in(blobs: Iterable[str], get: Callable[[str], Content]) -> list[bytes]:
    """Signatures from the blob store, whose bytes are checked against their digests."""
    return [whole(get(blob)) for blob in blobs]
