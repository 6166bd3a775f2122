"""Signatures where versions move: made with the platform's key, asked for where the project file says so."""

from __future__ import annotations

from modelwright.core import package_codec
from modelwright.core.access import Act
from modelwright.core.errors import ModelwrightError, RefusedError
from modelwright.core.package import Package
from modelwright.core.trust import Signed, refusal, require_trusted
from modelwright.core.version import Role, Version
from modelwright.lifecycle.policies import policy_of
from modelwright.ports.platform import Platform
from modelwright.ports.workflow import Json, Steps
from modelwright.signing import oms
from modelwright.signing.check import best, held_in

REGISTER = "register"
ROLES: dict[str, tuple[Role, ...]] = {
    REGISTER: ("champion", "canary", "shadow", "pinned"),
    "champion": ("champion", "canary"),
    "challenger": ("canary",),
    "shadow": ("shadow",),
}
"""What the policy may name, and the roles on a route that a gateway then loads only with a signature.

A canary becomes the champion without being loaded again, so what holds for the champion holds for it.
"""


def signed_roles(platform: Platform, model: str) -> tuple[Role, ...]:
    """Roles whose versions a gateway loads only with a signature by a trusted key."""
    wanted = {role for name in policy_of(platform, model).signed for role in ROLES[name]}
    return tuple(role for role in ROLES[REGISTER] if role in wanted)


def signed_of(platform: Platform, digest: str) -> Signed:
    """What the signatures of a registered package are worth now.

    Raises:
        NotFoundError, CorruptError: the package's or a signature's bytes are gone or damaged.
    """
    if not platform.trust.bundles(digest):
        return Signed("unsigned")  # a list of versions need not open each package
    return signed_by(platform, package_codec.load(digest, platform.blobs.get))


def signed_state(platform: Platform, digest: str) -> Signed:
    """The same for a list or a page: bytes that are gone or damaged make it ``invalid``."""
    try:
        return signed_of(platform, digest)
    except ModelwrightError as error:
        return Signed("invalid", why=error.what)


def signed_by(platform: Platform, package: Package) -> Signed:
    """The same of a package at hand; the signature beside it counts as well as those that are kept."""
    bundles = held_in(platform.trust.bundles(package.digest), platform.blobs.get)
    bundles += [package.bundle] if package.bundle is not None else []
    return best(package.manifest, bundles, platform.trust.keys(), platform.clock.now())


def require_signed(platform: Platform, steps: Steps, version: Version, place: str) -> None:
    """Check, as a step of its own, that a version has the signature that the policy asks for at a place.

    Args:
        platform: the ports.
        steps: durable steps.
        version: what wants to go there.
        place: an alias, or ``register``.

    Raises:
        RefusedError: ``sign.unsigned``, ``sign.unknown-key``, ``sign.expired-key``, ``sign.revoked-key``,
            ``sign.other-model``.
        CorruptError: ``sign.invalid``.
    """

    def look() -> Json:
        if place not in policy_of(platform, version.model).signed:
            return {"asked": False}
        signed = signed_of(platform, version.digest)
        require_trusted(signed, f"Version {version.number} of {version.model}")
        return {"asked": True, "key_id": signed.key_id, "signer": signed.signer}

    steps.do(f"signature for {place}", look)


def take_signature(platform: Platform, package: Package, *, act: Act) -> Json:
    """Keep the signature that a package brings, or make one where the platform has a key and it brings none.

    Returns:
        ``state``, ``key_id``, ``signer`` and ``why`` of what is known of it.

    Raises:
        CorruptError: ``sign.invalid``: it brings a signature that does not hold. It is never taken.
    """
    signed = signed_by(platform, package)
    bundle = package.bundle
    if bundle is not None and signed.state == "invalid":
        raise refusal(signed, f"Package {package.name}")
    if bundle is None and platform.signer is not None and not signed.trusted:
        bundle = platform.signer(package.manifest)
    if bundle is not None:
        keep(platform, package, bundle, act=act)
        signed = signed_by(platform, package)
    return {"state": signed.state, "key_id": signed.key_id, "signer": signed.signer, "why": signed.why}


def keep(platform: Platform, package: Package, bundle: bytes, *, act: Act) -> None:
    """Put a signature among the blobs, and on record."""
    key_id = oms.read(bundle).hint
    blob = platform.blobs.put(bundle)
    platform.trust.attach(package.name, package.digest, blob, key_id=key_id, act=act)


def require_newer(platform: Platform, package: Package, champion: str) -> None:
    """Check that a package which comes ready and signed is no older than the champion.

    When it was packed is part of what was signed, so an old version with its old signature is found out. A person who
    wants it back has ``modelwright rollback``, which is on record as that.

    Raises:
        RefusedError: ``register.older-than-champion``.
    """
    if not champion or not policy_of(platform, package.name).signed:
        return
    standing = package_codec.load(platform.versions.version(package.name, champion).digest, platform.blobs.get)
    if package.digest != standing.digest and package.description.created_at >= standing.description.created_at:
        return
    raise RefusedError(
        "register.older-than-champion",
        f"The package of {package.name} is not newer than its champion, version {champion}.",
        why=f"It was packed at {package.description.created_at}, the champion at {standing.description.created_at}.",
        fix=f"To go back to a version that is registered: modelwright rollback {package.name} --to VERSION.",
    )


def told(error: ModelwrightError) -> bool:
    """True for an error about a signature, which goes into the ledger as one."""
    return error.code.startswith("sign.")
