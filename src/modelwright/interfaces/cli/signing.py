"""Commands about signatures: keys, sign, verify."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelwright.core.access import Act
from modelwright.core.errors import BadInputError
from modelwright.core.trust import Signed, TrustedKey, refusal
from modelwright.interfaces.cli.output import json_option, moment, print_json, print_table
from modelwright.interfaces.cli.session import current_platform, current_settings, existing, operator

if TYPE_CHECKING:
    from modelwright.core.package import Package

KEY = click.option("--key", help="PEM file of the private key; the setting signing_key when left out.")


@click.group(epilog="Example: modelwright keys new --out release.key")
def keys() -> None:
    """Make keys that sign packages, and say whose signatures count here."""


@keys.command("new", epilog="Example: modelwright keys new --out release.key --passphrase")
@click.option("--out", default="signing.key", show_default=True, help="Private key to write; beside it FILE.pub.")
@click.option("--passphrase", "ask", is_flag=True, help="Ask for a passphrase [MODELWRIGHT_SIGNING_PASSPHRASE].")
@json_option
def keys_new(out: str, ask: bool, as_json: bool) -> None:
    """Make a key pair (ECDSA, P-256): the private key in a file that only you may read, the public one beside it."""
    from modelwright.signing.keys import new_key  # lazy: cryptography

    words = current_settings().signing_passphrase
    if ask and not words:
        words = click.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True)
    private = Path(out).expanduser()
    public = private.with_name(f"{private.name}.pub")
    made = new_key(private, public, words)
    if as_json:
        print_json({"private": str(private), "public": str(public), "key_id": made, "sealed": bool(words)})
        return
    click.echo(f"private  {private} (keep it where only signers get at it{'' if words else '; it has no passphrase'})")
    click.echo(f"public   {public}")
    click.echo(f"key id   {made}")


@keys.command("trust", epilog="Example: modelwright keys trust release.key.pub --name release-team --model 'fraud-*'")
@click.argument("public")
@click.option("--name", help="Whose key it is; the file's name when left out.")
@click.option("--model", "models", multiple=True, help="Model, or pattern with *, it signs for; may be repeated [*].")
@click.option("--days", type=click.FloatRange(min=0), default=0, help="Days it is trusted; 0 = for ever [0].")
@click.option("--reason", default="", help="Why; kept in the ledger.")
@json_option
def keys_trust(public: str, name: str | None, models: tuple[str, ...], days: float, reason: str, as_json: bool) -> None:
    """Trust a public key to sign packages here. Of a key that is known it changes what it is trusted for."""
    from modelwright.lifecycle.trust import trust_key  # lazy: the stories
    from modelwright.signing.keys import key_id, read_public

    path = existing(public, "key file")
    pem = read_public(path)
    end = time.time() + days * 86_400 if days else 0.0
    key = TrustedKey(key_id(pem), pem, name or path.name.removesuffix(".pub"), models or ("*",), end)
    with current_platform() as platform:
        held = trust_key(platform, key, act=Act(operator(), reason))
    if as_json:
        print_json(asdict(held))
        return
    until = f" until {moment(held.expires_at)} (UTC)" if held.expires_at else ""
    click.echo(f"{held.name} signs for {', '.join(held.models)}{until}: key {held.key_id[:16]}")


@keys.command("list", epilog="Example: modelwright keys list")
@json_option
def keys_list(as_json: bool) -> None:
    """List the keys that are or were trusted."""
    with current_platform() as platform:
        found = list(platform.trust.keys())
        now = platform.clock.now()
    if as_json:
        print_json([asdict(key) for key in found])
        return
    rows = [
        [
            key.name,
            _standing(key, now),
            ", ".join(key.models),
            moment(key.expires_at) if key.expires_at else "for ever",
            key.added_by,
            key.key_id[:16],
        ]
        for key in found
    ]
    empty = "No key is trusted here. Begin with: modelwright keys trust FILE.pub --name WHO"
    print_table("Keys", ["name", "state", "models", "until (UTC)", "by", "key id"], rows, empty=empty)


def _standing(key: TrustedKey, now: float) -> str:
    if key.revoked_at:
        return "revoked"
    return "expired" if key.expires_at and key.expires_at <= now else "trusted"


@keys.command("revoke", epilog="Example: modelwright keys revoke release-team --reason 'laptop lost'")
@click.argument("key")
@click.option("--reason", required=True, help="Why; kept in the ledger and shown wherever the key is met.")
@json_option
def keys_revoke(key: str, reason: str, as_json: bool) -> None:
    """Trust a key (name or id) no more, for ever. What runs now goes on; it is not loaded again where a policy asks."""
    from modelwright.lifecycle.trust import revoke_key  # lazy: the stories

    with current_platform() as platform:
        held, deployed = revoke_key(platform, key, act=Act(operator(), reason))
    if as_json:
        rows = [{"model": version.model, "version": version.number} for version in deployed]
        print_json(asdict(held) | {"deployed": rows})
        return
    click.echo(f"{held.name} is trusted no more: key {held.key_id[:16]}")
    for version in deployed:
        click.echo(f"  {version.model} version {version.number} is deployed and signed by it")


@click.command(epilog="Example: modelwright sign churn.mw --key release.key   (or: modelwright sign churn 3 --key ...)")
@click.argument("package")
@click.argument("version", required=False)
@KEY
@click.option("--reason", default="", help="Why; kept in the ledger, for a registered version.")
@json_option
def sign(package: str, version: str | None, key: str | None, reason: str, as_json: bool) -> None:
    """Sign a package, or a registered VERSION of a model, in the format of OpenSSF Model Signing."""
    from modelwright import wiring  # lazy: adapters

    if version is not None:
        sign_registered(package, version, key, reason, as_json=as_json)
        return
    path = existing(package, "package")
    opened = wiring.open_package(path)
    for name in opened.manifest.files:
        opened.read(name)  # nobody signs what is damaged
    signed = replace(opened, bundle=made(opened, key))
    wiring.save_package(signed, path)
    _tell({"path": str(path)}, signed, as_json=as_json)


def sign_registered(model: str, reference: str, key: str | None, reason: str, *, as_json: bool) -> None:
    """Sign a version that is registered, and keep the signature beside it."""
    from modelwright.core import package_codec  # lazy: NumPy
    from modelwright.lifecycle.trust import sign_version

    with current_platform() as platform:
        version = platform.versions.version(model, reference)
        held = package_codec.load(version.digest, platform.blobs.get)
        for name in held.manifest.files:
            held.read(name)
        bundle = made(held, key)
        sign_version(platform, version, bundle, act=Act(operator(), reason))
    _tell({"model": model, "version": version.number}, replace(held, bundle=bundle), as_json=as_json)


def made(package: Package, key: str | None) -> bytes:
    """A signature with the key that was given or set, whose passphrase is asked for in a terminal.

    Raises:
        BadInputError: ``sign.no-key``, and as :func:`modelwright.signing.keys.read_private`.
        NotFoundError: ``keys.missing-file``.
    """
    from modelwright.signing.check import sign as sign_manifest  # lazy: cryptography

    settings = current_settings()
    file = key or settings.signing_key
    if not file:
        raise BadInputError(
            "sign.no-key", "There is no key to sign with.", fix="Give --key FILE, or make one: modelwright keys new."
        )
    path, words = Path(file).expanduser(), settings.signing_passphrase
    try:
        return sign_manifest(package.manifest, path, words)
    except BadInputError as error:
        if error.code != "keys.passphrase-needed" or not sys.stdin.isatty():
            raise
        asked = click.prompt(f"Passphrase of {path.name}", hide_input=True, err=True)
        return sign_manifest(package.manifest, path, asked)


def _tell(where: dict[str, Any], signed: Package, *, as_json: bool) -> None:
    from modelwright.signing.oms import read  # lazy, with the rest

    key_id = read(signed.bundle or b"").hint
    if as_json:
        print_json(where | {"digest": signed.digest, "key_id": key_id})
        return
    click.echo(
        f"{click.style('signed', fg='green', bold=True)} {signed.name} {signed.digest[:12]} with key {key_id[:16]}"
    )


@click.command(epilog="Example: modelwright verify churn.mw --key release.key.pub   (or: modelwright verify churn 3)")
@click.argument("package")
@click.argument("version", required=False)
@click.option("--key", help="PEM file of the public key that must have signed; the trusted keys when left out.")
@json_option
def verify(package: str, version: str | None, key: str | None, as_json: bool) -> int:
    """Check every byte and the signature. Exit code 3: not signed by a trusted key; 6: damaged or tampered with."""
    opened, signed = verified(package, version, key)
    if signed.trusted:
        if as_json:
            print_json({"verified": True, "name": opened.name, "digest": opened.digest, "signature": asdict(signed)})
        else:
            green = click.style("verified", fg="green", bold=True)
            click.echo(f"{green} {opened.name} {opened.digest[:12]}, {signed.words}")
        return 0
    raise refusal(signed, f"Package {opened.name}")


def verified(package: str, reference: str | None, key: str | None) -> tuple[Package, Signed]:
    """A package, or a registered version, with every byte read, and what its signature is worth."""
    from modelwright import wiring  # lazy: adapters
    from modelwright.core import package_codec
    from modelwright.lifecycle.signed import signed_by
    from modelwright.signing.check import best, held_in
    from modelwright.signing.keys import read_trusted

    keys = read_trusted(existing(key, "key file")) if key else None
    with current_platform() as platform:
        if reference is None:
            opened, bundles = wiring.open_package(existing(package, "package")), []
        else:
            version = platform.versions.version(package, reference)
            opened = package_codec.load(version.digest, platform.blobs.get)
            bundles = held_in(platform.trust.bundles(version.digest), platform.blobs.get)
        for name in opened.manifest.files:
            opened.read(name)
        if keys is None:
            return opened, signed_by(platform, opened)
    bundles += [opened.bundle] if opened.bundle is not None else []
    return opened, best(opened.manifest, bundles, keys, time.time())
