"""Signatures where versions move: what the project file asks for is refused without, and on record."""

import hashlib
from dataclasses import replace

import pytest

from modelwright.adapters.stores.package_files import open_path, write_zip
from modelwright.core import package_codec
from modelwright.core.access import Act
from modelwright.core.errors import CorruptError, RefusedError
from modelwright.core.table import Table
from modelwright.core.trust import TrustedKey
from modelwright.lifecycle.signed import signed_of
from modelwright.lifecycle.trust import revoke_key, sign_version, trust_key
from modelwright.pack import build
from modelwright.signing import keys
from modelwright.signing.check import sign

ACT = Act("ann", "a test")


@pytest.fixture
def ada(tmp_path):
    """A private key's path, and the key as one to be trusted."""
    private, public = tmp_path / "ada.key", tmp_path / "ada.pub"
    identity = keys.new_key(private, public)
    return private, TrustedKey(identity, keys.read_public(public), "ada")


@pytest.fixture
def signing(mill, ada):
    """The mill with a policy that asks for signed champions, ada trusted, and her key at hand."""
    mill.platform = replace(mill.platform, signer=lambda manifest: sign(manifest, ada[0]), open_package=open_path)
    mill.policy(signed=("champion",))
    trust_key(mill.platform, ada[1], act=ACT)
    return mill


def unsigning(mill):
    mill.platform = replace(mill.platform, signer=None)


def test_what_the_platform_packs_is_signed_with_its_key_and_becomes_champion(signing):
    result = signing.release("weak", key="first")
    assert result["outcome"] == "promoted", result["why"]
    assert signed_of(signing.platform, result["digest"]).signer == "ada"
    assert signing.entry("pack.package").evidence["signature"]["state"] == "trusted"
    assert signing.platform.routes.route("tiny").signed == ("champion", "canary")
    assert [one.digest for one in signing.platform.routes.table().signatures] == [result["digest"]]


def test_an_unsigned_version_is_registered_but_becomes_no_champion_and_the_ledger_says_so(signing):
    unsigning(signing)
    result = signing.release("weak", key="first")
    assert (result["outcome"], result["version"]) == ("refused", "1")
    assert "not signed" in result["why"]
    assert signing.champion() == ""
    assert signing.platform.routes.route("tiny") is None
    assert signing.entry("deploy.refused").evidence["error"]["code"] == "sign.unsigned"


def test_a_version_signed_after_its_registration_can_be_promoted(signing, ada):
    unsigning(signing)
    signing.release("weak", key="first")
    with pytest.raises(RefusedError, match="not signed"):
        signing.tell("promote", key="too-early", model="tiny", version="1")
    assert signing.entry("sign.refused").evidence["error"]["code"] == "sign.unsigned"
    version = signing.platform.versions.version("tiny", "1")
    held = package_codec.load(version.digest, signing.platform.blobs.get)
    assert sign_version(signing.platform, version, sign(held.manifest, ada[0]), act=ACT).trusted
    assert signing.tell("promote", key="now", model="tiny", version="1")["outcome"] == "promoted"
    assert signing.champion() == "1"
    assert signing.platform.ledger.verify().verified


def test_an_unsigned_candidate_is_not_even_tried_as_a_canary(signing):
    signing.release("weak", key="first")
    unsigning(signing)
    result = signing.release("good", key="second")
    assert (result["outcome"], result["version"]) == ("refused", "2")
    assert signing.arms() == [("1", "champion")]
    assert "deploy.canary" not in signing.actions()
    assert signing.platform.versions.alias("tiny", "challenger") == ""


@pytest.mark.parametrize("kind", ["revoked", "expired", "other-model"])
def test_a_key_that_no_longer_counts_stops_promotion_and_rollback(signing, ada, kind):
    signing.release("weak", key="first")
    signing.policy(canary_timeout=0)
    signing.release("good", key="second")
    assert signing.champion() == "2"
    if kind == "revoked":
        _, deployed = revoke_key(signing.platform, "ada", act=Act("ann", "laptop lost"))
        assert [version.number for version in deployed] == ["2"]
    else:
        change = {"expires_at": signing.clock.now()} if kind == "expired" else {"models": ("fraud",)}
        trust_key(signing.platform, replace(ada[1], **change), act=ACT)
    with pytest.raises(RefusedError) as refused:
        signing.tell("rollback", key="back", model="tiny", to=None)
    code = {"revoked": "sign.revoked-key", "expired": "sign.expired-key", "other-model": "sign.other-model"}[kind]
    assert refused.value.code == code
    assert signing.champion() == "2"
    assert signing.arms() == [("2", "champion")]
    assert signing.entry("sign.refused").evidence["error"]["code"] == code


def test_where_every_version_must_be_signed_none_is_registered_without(signing):
    signing.policy(signed=("register",))
    unsigning(signing)
    result = signing.release("weak", key="first")
    assert (result["outcome"], result["version"]) == ("refused", None)
    assert list(signing.platform.versions.models()) == []
    assert signing.entry("register.refused").evidence["error"]["code"] == "sign.unsigned"
    assert result["verdict"] is None
    assert not {"check.passed", "check.refused"} & set(signing.actions())


def test_a_shadow_that_must_be_signed_is_refused_without_and_nothing_changes(signing):
    signing.release("weak", key="first")
    signing.policy(signed=("shadow",), canary_timeout=0)
    unsigning(signing)
    signing.release("good", key="second")
    assert signing.tell("rollback", key="back", model="tiny", to=None)["outcome"] == "rolled-back"
    with pytest.raises(RefusedError, match="not signed"):
        signing.tell("shadow", key="s", model="tiny", version="2")
    assert signing.platform.versions.alias("tiny", "shadow") == ""
    assert signing.entry("sign.refused").evidence["alias"] == "shadow"


def test_without_a_policy_nothing_is_asked(mill):
    assert mill.release("weak", key="first")["outcome"] == "promoted"
    assert mill.platform.routes.route("tiny").signed == ()


def packed(mill, kind, path, signer=None, created_at="2026-01-01T00:00:00+00:00"):
    """A package file of a model, made elsewhere and signed by ``signer`` (a private key)."""
    arguments = mill.arguments(kind)
    table = mill.platform.source.read(mill.folder / "validation.parquet").without("late")
    artifact = mill.folder / f"{kind}.joblib"
    conversion = mill.platform.frameworks[0].convert(artifact, Table(dict(table.columns)), target="late")
    package = build(conversion, name="tiny", examples=table, created_at=created_at)
    bundle = sign(package.manifest, signer) if signer else None
    write_zip(replace(package, bundle=bundle), path)
    return {**arguments, "artifact": str(path)}, package


def test_a_package_that_was_signed_elsewhere_is_released_as_it_is(signing, ada):
    unsigning(signing)
    arguments, package = packed(signing, "weak", signing.folder / "tiny.mw", ada[0])
    result = signing.tell("release", key="first", **arguments)
    assert (result["outcome"], result["digest"]) == ("promoted", package.digest), result["why"]
    assert signed_of(signing.platform, package.digest).signer == "ada"


def test_a_package_whose_signature_does_not_hold_is_never_registered_policy_or_not(signing, ada):
    signing.policy(signed=())
    arguments, package = packed(signing, "weak", signing.folder / "tiny.mw", ada[0])
    _, other = packed(signing, "good", signing.folder / "other.mw", ada[0])
    swapped = replace(package, bundle=sign(other.manifest, ada[0]))
    write_zip(swapped, signing.folder / "tiny.mw")
    with pytest.raises(CorruptError) as refused:
        signing.tell("release", key="first", **arguments)
    assert refused.value.code == "sign.invalid"
    assert signing.entry("pack.refused").evidence["error"]["code"] == "sign.invalid"
    assert list(signing.platform.versions.models()) == []


def test_a_stripped_signature_and_one_of_a_stranger_are_refused_for_the_champion(signing, ada, tmp_path):
    unsigning(signing)
    keys.new_key(tmp_path / "eve.key", tmp_path / "eve.pub")
    for number, signer in enumerate((None, tmp_path / "eve.key"), 1):
        arguments, _ = packed(signing, "weak", signing.folder / "tiny.mw", signer)
        result = signing.tell("release", key=f"try-{number}", **arguments)
        assert result["outcome"] == "refused"
        code = signing.entry("deploy.refused").evidence["error"]["code"]
        assert code == ("sign.unknown-key" if signer else "sign.unsigned")
    assert signing.champion() == ""


def test_an_old_version_with_its_old_signature_does_not_come_back_as_a_new_one(signing, ada):
    signing.policy(canary_timeout=0)
    old, _ = packed(signing, "weak", signing.folder / "old.mw", ada[0], "2026-01-01T00:00:00+00:00")
    new, _ = packed(signing, "good", signing.folder / "new.mw", ada[0], "2026-02-01T00:00:00+00:00")
    for key, arguments in (("old", old), ("new", new)):
        assert signing.tell("release", key=key, **arguments)["outcome"] == "promoted"
    for key, arguments in (("again", old), ("same", new)):
        with pytest.raises(RefusedError) as refused:
            signing.tell("release", key=key, **arguments)
        assert refused.value.code == "register.older-than-champion"
    assert signing.champion() == "2"
    assert signing.tell("rollback", key="on record", model="tiny", to=None)["version"] == "1"


def test_a_damaged_signature_blob_is_no_signature(signing, monkeypatch):
    result = signing.release("weak", key="first")
    blob = signing.platform.trust.bundles(result["digest"])[0]
    blobs = signing.platform.blobs
    damaged = hashlib.sha256(b"x").hexdigest()
    assert blobs.put(b"x") == damaged
    real = blobs.get
    monkeypatch.setattr(blobs, "get", lambda digest: b"x" if digest == blob else real(digest))
    assert signed_of(signing.platform, result["digest"]).state == "invalid"
