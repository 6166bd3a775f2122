"""Keys trusted and revoked, and versions signed after their registration; every gateway hears of each."""

from __future__ import annotations

from modelwright.core import package_codec
from modelwright.core.access import Act
from modelwright.core.trust import Signed, TrustedKey
from modelwright.core.version import Version
from modelwright.lifecycle.rollout import republish
from modelwright.lifecycle.signed import keep, signed_by, signed_state
from modelwright.ports.platform import Platform


def trust_key(platform: Platform, key: TrustedKey, *, act: Act) -> TrustedKey:
    """Trust a key from now on.

    Raises:
        BadInputError: ``keys.bad-trust``.
        ConflictError: ``keys.revoked``.
    """
    held = platform.trust.trust(key, act=act)
    republish(platform)
    return held


def revoke_key(platform: Platform, reference: str, *, act: Act) -> tuple[TrustedKey, list[Version]]:
    """Trust a key no more; the versions with requests that have no other trusted signature now.

    Raises:
        NotFoundError: ``keys.unknown``.
    """
    held = platform.trust.revoke(reference, act=act)
    republish(platform)
    return held, [version for version, signed in deployed(platform) if signed.key_id == held.key_id]


def deployed(platform: Platform) -> list[tuple[Version, Signed]]:
    """Every version on a route with what its signature is worth."""
    routes = platform.routes.table().routes
    return [
        (platform.versions.version(model, arm.version), signed_state(platform, arm.digest))
        for model, route in routes.items()
        for arm in (*route.arms, *route.shadows)
    ]


def sign_version(platform: Platform, version: Version, bundle: bytes, *, act: Act) -> Signed:
    """Keep a signature of a registered version; what it is worth."""
    package = package_codec.load(version.digest, platform.blobs.get)
    keep(platform, package, bundle, act=act)
    republish(platform)
    return signed_by(platform, package)
