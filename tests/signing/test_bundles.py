"""Signatures of packages: what holds, and every way in which one does not (H7)."""

import base64
import json
import stat
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelwright.core import package_codec
from modelwright.core.errors import CorruptError
from modelwright.core.trust import TrustedKey, require_trusted
from modelwright.signing import keys, oms
from modelwright.signing.check import best, examine, require_sound, sign
from modelwright.testing.errors import error_code

NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """``made(name)``: the path of a private key, and the key as one that is trusted."""
    folder = tmp_path_factory.mktemp("keys")
    known = {}

    def key(name):
        if name not in known:
            private = folder / f"{name}.key"
            identity = keys.new_key(private, folder / f"{name}.key.pub")
            known[name] = private, TrustedKey(identity, keys.read_public(folder / f"{name}.key.pub"), name)
        return known[name]

    return key


@pytest.fixture
def signed(sum_package, made):
    """A package, and its signature by ada."""
    package = sum_package("total")
    return package, sign(package.manifest, made("ada")[0])


def state(package, bundle, *trusted):
    return examine(package.manifest, bundle, trusted, NOW).state


def test_a_signature_by_a_trusted_key_is_trusted(signed, made):
    found = examine(*parts(signed), [made("ada")[1], made("bob")[1]], NOW)
    assert (found.state, found.signer, found.key_id) == ("trusted", "ada", made("ada")[1].key_id)


def parts(signed):
    package, bundle = signed
    return package.manifest, bundle


def test_a_package_without_a_signature_is_unsigned(signed, made):
    found = best(signed[0].manifest, [], [made("ada")[1]], NOW)
    assert error_code(lambda: require_trusted(found, "It")) == "sign.unsigned"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"revoked_at": "2026-01-01T00:00:00Z"}, "sign.revoked-key"),
        ({"expires_at": NOW}, "sign.expired-key"),
        ({"expires_at": NOW - 1}, "sign.expired-key"),
        ({"models": ("fraud-*", "churn")}, "sign.other-model"),
    ],
)
def test_a_key_that_is_revoked_expired_or_for_other_models_is_refused(signed, made, change, code):
    found = examine(*parts(signed), [replace(made("ada")[1], **change)], NOW)
    assert error_code(lambda: require_trusted(found, "It")) == code


@pytest.mark.parametrize("models", [("*",), ("total",), ("fraud", "tot*")])
def test_a_key_signs_for_the_models_and_patterns_it_is_trusted_for(signed, made, models):
    assert state(*signed, replace(made("ada")[1], models=models, expires_at=NOW + 1)) == "trusted"


def test_a_key_that_nobody_trusts_is_refused(signed, made):
    found = examine(*parts(signed), [made("bob")[1]], NOW)
    assert error_code(lambda: require_trusted(found, "It")) == "sign.unknown-key"


def test_another_keys_signature_under_the_name_of_a_trusted_one_does_not_hold(signed, made):
    package, _ = signed
    forged = json.loads(sign(package.manifest, made("mallory")[0]))
    forged["verificationMaterial"]["publicKey"]["hint"] = made("ada")[1].key_id
    assert state(package, dumped(forged), made("ada")[1], made("mallory")[1]) == "invalid"


def dumped(bundle):
    return json.dumps(bundle).encode()


def test_the_signature_of_another_version_is_invalid_whoever_made_it(sum_package, signed, made):
    other = sum_package("total", bias=1.0)
    found = examine(other.manifest, signed[1], [made("ada")[1]], NOW)
    assert found.state == "invalid"
    assert "other bytes of golden.json, manifest.json, model.onnx" in found.why
    assert error_code(lambda: require_sound(replace(other, bundle=signed[1]))) == "sign.invalid"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda files: files | {"evil.so": b"x"}, "does not cover evil.so"),
        (lambda files: {name: content for name, content in files.items() if name != "model.onnx"}, "are not there"),
        (
            lambda files: {("other.onnx" if name == "model.onnx" else name): held for name, held in files.items()},
            "does not cover other.onnx",
        ),
    ],
    ids=["added", "removed", "renamed"],
)
def test_a_file_added_removed_or_renamed_breaks_the_signature(signed, made, change, words):
    package, bundle = signed
    files = {name: package.read(name) for name in package.manifest.files}
    other = package_codec.assemble(package.name, change(files))
    found = examine(other.manifest, bundle, [made("ada")[1]], NOW)
    assert (found.state, words in found.why) == ("invalid", True), found.why


def test_every_byte_of_payload_and_signature_counts(signed, made):
    package, bundle = signed
    for place in ("payload", "sig"):
        held = json.loads(bundle)
        envelope = held["dsseEnvelope"]
        spot = envelope if place == "payload" else envelope["signatures"][0]
        content = bytearray(base64.b64decode(spot[place]))
        for index in range(0, len(content), 7):
            content[index] ^= 1
            spot[place] = base64.b64encode(bytes(content)).decode()
            assert state(package, dumped(held), made("ada")[1]) in {"invalid", "unknown-key"}
            content[index] ^= 1


def changed(bundle, *path, to):
    """The bundle with one value replaced, in the envelope's payload too; ``to`` None: taken away."""
    held = json.loads(bundle)
    inner = path[0] == "payload"
    spot = json.loads(base64.b64decode(held["dsseEnvelope"]["payload"])) if inner else held
    target = spot
    for step in path[inner:-1]:
        target = target[step]
    if to is None:
        del target[path[-1]]
    else:
        target[path[-1]] = to
    if inner:
        held["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(spot).encode()).decode()
    return dumped(held)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda bundle: b"",
        lambda bundle: b"not json",
        lambda bundle: bundle[: len(bundle) // 2],
        lambda bundle: b"[]",
        lambda bundle: b'{"a":' * 5000,
        lambda bundle: b"\xff\xfe",
        lambda bundle: b" " * (oms.MAX_BYTES + 1),
        lambda bundle: changed(bundle, "mediaType", to="application/json"),
        lambda bundle: changed(bundle, "dsseEnvelope", to=None),
        lambda bundle: changed(bundle, "dsseEnvelope", "payloadType", to="text/plain"),
        lambda bundle: changed(bundle, "dsseEnvelope", "signatures", to=[]),
        lambda bundle: changed(bundle, "dsseEnvelope", "signatures", to="ab"),
        lambda bundle: changed(bundle, "dsseEnvelope", "payload", to="%%%"),
        lambda bundle: changed(bundle, "verificationMaterial", to={"x509CertificateChain": {"certificates": []}}),
        lambda bundle: changed(bundle, "verificationMaterial", "publicKey", "hint", to="ada"),
        lambda bundle: changed(bundle, "payload", "_type", to="https://in-toto.io/Statement/v0.1"),
        lambda bundle: changed(bundle, "payload", "predicateType", to="https://slsa.dev/provenance/v1"),
        lambda bundle: changed(bundle, "payload", "subject", to=[]),
        lambda bundle: changed(bundle, "payload", "predicate", "resources", to=[]),
        lambda bundle: changed(bundle, "payload", "predicate", "resources", 0, "digest", to="AB"),
        lambda bundle: changed(bundle, "payload", "predicate", "resources", 0, "digest", to="0" * 64),
        lambda bundle: changed(bundle, "payload", "predicate", "resources", 0, "name", to="manifest.json"),
        lambda bundle: changed(bundle, "payload", "predicate", "serialization", to=None),
        lambda bundle: changed(bundle, "payload", "predicate", "serialization", "method", to="shards"),
        lambda bundle: changed(bundle, "payload", "predicate", "serialization", "hash_type", to="blake3"),
    ],
)
def test_what_is_no_bundle_of_the_format_is_invalid_and_never_a_traceback(signed, made, break_it):
    package, bundle = signed
    assert state(package, break_it(bundle), made("ada")[1]) == "invalid"


def test_a_bundle_of_an_early_release_that_names_no_key_is_tried_with_each(signed, made):
    package, bundle = signed
    held = json.loads(bundle)
    held["verificationMaterial"] = {"publicKey": {"rawBytes": "AAAA", "keyDetails": "PKIX_ECDSA_P256_SHA_256"}}
    assert state(package, dumped(held), made("bob")[1], made("ada")[1]) == "trusted"
    assert state(package, dumped(held), made("bob")[1]) == "unknown-key"


def test_fields_that_the_format_does_not_know_are_ignored(signed, made):
    package, bundle = signed
    held = json.loads(bundle)
    held["note"], held["dsseEnvelope"]["signatures"][0]["keyid"] = "new", None
    assert state(package, dumped(held), made("ada")[1]) == "trusted"


def test_one_good_signature_is_enough_beside_bad_ones(signed, made):
    package, bundle = signed
    found = best(package.manifest, [b"{}", sign(package.manifest, made("bob")[0]), bundle], [made("ada")[1]], NOW)
    assert (found.state, found.signer) == ("trusted", "ada")


@pytest.mark.parametrize("curve", [ec.SECP256R1, ec.SECP384R1, ec.SECP521R1])
def test_every_curve_of_the_format_signs_and_verifies(sum_package, tmp_path, curve):
    private = ec.generate_private_key(curve())
    path = written(tmp_path, private)
    pem = keys.public_pem(private.public_key())
    package = sum_package("total")
    assert state(package, sign(package.manifest, path), TrustedKey(keys.key_id(pem), pem, "eve")) == "trusted"


def written(folder, private):
    path = folder / "any.key"
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(private.private_bytes(*form))
    return path


def test_a_private_key_is_for_its_owner_only_and_never_overwritten(tmp_path):
    private, public = tmp_path / "k.key", tmp_path / "k.key.pub"
    identity = keys.new_key(private, public)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert keys.key_id(public.read_text()) == identity
    held = private.read_bytes()
    assert error_code(lambda: keys.new_key(private, public)) == "keys.exists"
    assert private.read_bytes() == held


def test_a_key_with_a_passphrase_opens_with_it_alone(sum_package, tmp_path):
    private = tmp_path / "k.key"
    keys.new_key(private, tmp_path / "k.pub", "correct horse")
    manifest = sum_package("total").manifest
    assert sign(manifest, private, "correct horse")
    assert error_code(lambda: sign(manifest, private)) == "keys.passphrase-needed"
    assert error_code(lambda: sign(manifest, private, "wrong")) == "keys.wrong-passphrase"


def test_what_is_no_key_of_the_format_is_said_so(sum_package, tmp_path):
    manifest = sum_package("total").manifest
    (tmp_path / "text").write_text("hello")
    assert error_code(lambda: sign(manifest, tmp_path / "text")) == "keys.unreadable"
    assert error_code(lambda: keys.read_public(tmp_path / "text")) == "keys.unreadable"
    assert error_code(lambda: keys.read_public(tmp_path / "absent")) == "keys.missing-file"
    for private in (ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256K1())):
        path = written(tmp_path, private)
        assert error_code(lambda path=path: sign(manifest, path)) == "keys.unreadable"
        assert error_code(lambda path=path: keys.read_public(path)) == "keys.unreadable"


def test_a_folder_of_public_keys_trusts_each_by_its_file_s_name(tmp_path):
    for name in ("ada", "bob"):
        keys.new_key(tmp_path / f"{name}.key", tmp_path / f"{name}.pub")
    assert [key.name for key in keys.read_trusted(tmp_path)] == ["ada", "bob"]


def test_a_bundle_s_own_reader_says_what_is_wrong():
    with pytest.raises(CorruptError, match="signature"):
        oms.read(b"{}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PLACES = (
    ("mediaType",),
    ("dsseEnvelope",),
    ("dsseEnvelope", "payload"),
    ("dsseEnvelope", "signatures"),
    ("dsseEnvelope", "signatures", 0),
    ("dsseEnvelope", "signatures", 0, "sig"),
    ("payload", "subject"),
    ("payload", "subject", 0),
    ("payload", "subject", 0, "digest"),
    ("payload", "predicate"),
    ("payload", "predicate", "serialization"),
    ("payload", "predicate", "resources"),
    ("payload", "predicate", "resources", 0),
    ("payload", "predicate", "resources", 0, "name"),
    ("payload", "predicate", "resources", 0, "digest"),
)


@given(place=st.sampled_from(PLACES), value=JSON)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_value_anywhere_in_a_bundle_makes_it_trusted_or_breaks_the_reader(signed, made, place, value):
    package, bundle = signed
    broken = changed(bundle, *place, to=value)
    assert state(package, broken, made("ada")[1]) in {"invalid", "unknown-key", "unsigned"}


@given(st.binary(max_size=400))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_break_the_reader(signed, made, content):
    assert state(signed[0], content, made("ada")[1]) == "invalid"
