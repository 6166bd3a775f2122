"""The cases of the conformance suite of OpenSSF Model Signing for its method ``key``.

Each bundle is made by the reference library over one of our packages, and then changed as the case says; each test is
called as its case. What the suite calls a malformed statement is signed anew here, so that nothing but the statement
speaks against it. Cases about ignored paths and links are left out: a package has neither.
"""

import base64
import json
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from modelwright.adapters.stores.package_files import open_path, write_directory
from modelwright.core import package_codec
from modelwright.core.errors import CorruptError
from modelwright.core.trust import TrustedKey
from modelwright.signing import keys, oms
from modelwright.signing.check import examine

pytestmark = pytest.mark.clients
MORE = {
    "subdir/adapter.bin": b"adapter",
    ".cache/weights.bin": bytes(range(256)) * 3,
    ".config": b"a dotfile",
    "empty.bin": b"",
    "file (copy).bin": b"\x89PNG\r\n\x1a\n\0\0",
    "path with spaces/model.bin": b"x",
    "模型.bin": b"unicode",
}
CURVES = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1}


def new_key(folder, curve):
    private, public = folder / f"{curve}.key", folder / f"{curve}.pub"
    made = ec.generate_private_key(CURVES[curve]())
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private.write_bytes(made.private_bytes(*form))
    public.write_text(keys.public_pem(made.public_key()))
    return private, public


@pytest.fixture(scope="module")
def cases(ask, iris_package, tmp_path_factory):
    """``cases(curve)``: a package's folder that the library signed, the private key, and the key as a trusted one."""
    files = {name: iris_package.read(name) for name in iris_package.manifest.files}
    package = package_codec.assemble("iris", files | MORE)
    known = {}

    def signed(curve):
        if curve not in known:
            place = tmp_path_factory.mktemp(curve)
            private, public = new_key(place, curve)
            write_directory(package, place / "iris")
            assert ask("model_signing", "sign", place / "iris", private) == {"done": True}
            pem = keys.read_public(public)
            bundle = (place / "iris" / oms.FILE).read_bytes()
            trusted = TrustedKey(keys.key_id(pem), pem, curve)
            known[curve] = SimpleNamespace(
                package=package, folder=place / "iris", private=private, trusted=trusted, bundle=bundle
            )
        return known[curve]

    return signed


def verdict(case, bundle=None, *trusted):
    bundle = case.bundle if bundle is None else bundle
    return examine(case.package.manifest, bundle, trusted or [case.trusted], 0.0).state


@pytest.mark.parametrize("curve", CURVES)
def test_key_simple_and_multi_file_of_every_curve_with_the_signature_inside_the_model(cases, curve):
    case = cases(curve)
    held = open_path(case.folder)
    assert examine(held.manifest, held.bundle, [case.trusted], 0.0).state == "trusted"
    covered = oms.read(case.bundle).files
    assert set(MORE) < set(covered)
    assert oms.FILE not in covered
    assert list(covered) == sorted(covered)


def test_key_simple_deterministic(ask, cases, tmp_path):
    case = cases("p256")
    write_directory(case.package, tmp_path / "again")
    assert ask("model_signing", "sign", tmp_path / "again", case.private) == {"done": True}
    again = (tmp_path / "again" / oms.FILE).read_bytes()
    assert oms.read(again).files == oms.read(case.bundle).files
    assert verdict(case, again) == "trusted"


def test_key_simple_wrong_key_fail(cases):
    assert verdict(cases("p256"), None, cases("p384").trusted) == "unknown-key"
    forged = json.loads(cases("p256").bundle)
    forged["verificationMaterial"]["publicKey"]["hint"] = cases("p384").trusted.key_id
    assert verdict(cases("p256"), json.dumps(forged).encode(), cases("p384").trusted) == "invalid"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda folder: (folder / "empty.bin").write_bytes(b"TAMPERED"), id="tampered-content"),
        pytest.param(lambda folder: (folder / "subdir" / "adapter.bin").unlink(), id="missing-file"),
        pytest.param(lambda folder: (folder / "injected.bin").write_bytes(b"injected"), id="extra-file"),
    ],
)
def test_key_simple_changed_model_fail(cases, tmp_path, change):
    case = cases("p256")
    write_directory(case.package, tmp_path / "iris")
    (tmp_path / "iris" / oms.FILE).write_bytes(case.bundle)
    change(tmp_path / "iris")
    with pytest.raises(CorruptError):
        read_whole(tmp_path / "iris")


def read_whole(folder):
    """Open a package and read every file of it, as registering does."""
    held = open_path(folder)
    for name in held.manifest.files:
        held.read(name)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda files: files | {"empty.bin": b"TAMPERED"}, id="tampered-content"),
        pytest.param(lambda files: {name: files[name] for name in files if name != "empty.bin"}, id="missing-file"),
        pytest.param(lambda files: files | {"injected.bin": b"injected"}, id="extra-file"),
    ],
)
def test_key_simple_changed_model_fail_where_the_manifest_was_changed_with_it(cases, change):
    case = cases("p256")
    files = {name: case.package.read(name) for name in case.package.manifest.files}
    other = package_codec.assemble("iris", change(files))
    assert examine(other.manifest, case.bundle, [case.trusted], 0.0).state == "invalid"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: "{this is no JSON", id="corrupted-bundle"),
        pytest.param(lambda text: text[:100], id="truncated-bundle"),
        pytest.param(lambda text: "", id="malformed-empty-bundle"),
        pytest.param(lambda text: without(text, "dsseEnvelope"), id="malformed-missing-envelope"),
        pytest.param(lambda text: text.replace("bundle.v0.3+json", "bundle.v0.1+json"), id="wrong-mediatype"),
        pytest.param(lambda text: envelope_with(text, signatures=[]), id="no-signature"),
        pytest.param(lambda text: envelope_with(text, payloadType="application/octet-stream"), id="payload-type-alone"),
        pytest.param(
            lambda text: material(text, {"x509CertificateChain": {"certificates": [{"rawBytes": "AAAA"}]}}),
            id="certificate-verify-as-key",
        ),
        pytest.param(
            lambda text: material(text, {"certificate": {"rawBytes": "AAAA"}, "tlogEntries": [{}]}),
            id="sigstore-verify-as-key",
        ),
    ],
)
def test_key_simple_malformed_bundle_fail(cases, change):
    case = cases("p256")
    bundle = change(case.bundle.decode()).encode()
    assert bundle != case.bundle
    assert verdict(case, bundle) == "invalid"


def without(text, name):
    return json.dumps({key: value for key, value in json.loads(text).items() if key != name})


def envelope_with(text, **changes):
    held = json.loads(text)
    return json.dumps(held | {"dsseEnvelope": held["dsseEnvelope"] | changes})


def material(text, other):
    return json.dumps(json.loads(text) | {"verificationMaterial": other})


def resigned(case, change, payload_type=oms.PAYLOAD_TYPE):
    """The bundle with another statement, of which the trusted key says that it is its own."""
    held = json.loads(case.bundle)
    said = json.loads(base64.b64decode(held["dsseEnvelope"]["payload"]))
    change(said)
    payload = json.dumps(said).encode()
    message = b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode(), len(payload), payload)
    signature = keys.sign(keys.read_private(case.private), message)
    held["dsseEnvelope"] = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type,
        "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
    }
    return json.dumps(held).encode()


def test_a_statement_that_is_signed_anew_without_a_change_holds(cases):
    assert verdict(cases("p384"), resigned(cases("p384"), lambda said: None)) == "trusted"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda said: said.update(predicateType="https://example.org/other/v1"), id="wrong-predicate"),
        pytest.param(lambda said: said.update(_type="https://in-toto.io/Statement/v0.1"), id="wrong-statement-type"),
        pytest.param(lambda said: said.pop("predicate"), id="no-predicate"),
        pytest.param(lambda said: said.pop("subject"), id="no-subject"),
        pytest.param(lambda said: said["predicate"].pop("serialization"), id="missing-serialization"),
        pytest.param(lambda said: said["predicate"].update(resources=[]), id="empty-resources"),
        pytest.param(lambda said: said["subject"][0]["digest"].update(sha256="0" * 64), id="wrong-root-digest"),
        pytest.param(lambda said: said["predicate"]["resources"].pop(), id="a-resource-less"),
        pytest.param(lambda said: said["predicate"]["resources"][0].update(name="../up"), id="a-path-out-of-the-model"),
    ],
)
def test_key_simple_wrong_statement_fail_though_the_signature_holds(cases, change):
    assert verdict(cases("p256"), resigned(cases("p256"), change)) == "invalid"


def test_key_simple_wrong_payload_type_fail_though_the_signature_holds(cases):
    bundle = resigned(cases("p256"), lambda said: None, "application/octet-stream")
    assert verdict(cases("p256"), bundle) == "invalid"
