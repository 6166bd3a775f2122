"""OpenSSF's own library of the signing format, unmodified: it verifies what we sign, and we what it signs."""

from dataclasses import replace

import pytest

from modelwright.adapters.stores.package_files import open_path, write_directory
from modelwright.core.trust import TrustedKey
from modelwright.signing import keys
from modelwright.signing.check import examine, sign

pytestmark = pytest.mark.clients


@pytest.fixture
def key(tmp_path):
    keys.new_key(tmp_path / "ada.key", tmp_path / "ada.pub")
    return tmp_path / "ada.key", tmp_path / "ada.pub"


@pytest.fixture
def folder(iris_package, key, tmp_path):
    """A package's directory, signed by us."""
    write_directory(replace(iris_package, bundle=sign(iris_package.manifest, key[0])), tmp_path / "iris")
    return tmp_path / "iris"


def test_the_library_verifies_our_signature(ask, folder, key):
    assert ask("model_signing", "verify", folder, key[1]) == {"done": True}


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "model.onnx").write_bytes(b"x"),
        lambda folder: (folder / "extra").write_bytes(b"x"),
        lambda folder: (folder / "card.md").unlink(),
    ],
    ids=["changed", "added", "removed"],
)
def test_the_library_finds_what_was_done_to_our_package(ask, folder, key, change):
    change(folder)
    assert not ask("model_signing", "verify", folder, key[1])["done"]


def test_the_library_refuses_our_signature_under_another_key(ask, folder, key, tmp_path):
    keys.new_key(tmp_path / "eve.key", tmp_path / "eve.pub")
    assert not ask("model_signing", "verify", folder, tmp_path / "eve.pub")["done"]


def test_we_verify_the_librarys_signature_of_our_package(ask, iris_package, key, tmp_path):
    write_directory(iris_package, tmp_path / "iris")
    assert ask("model_signing", "sign", tmp_path / "iris", key[0]) == {"done": True}
    package = open_path(tmp_path / "iris")
    pem = keys.read_public(key[1])
    found = examine(package.manifest, package.bundle, [TrustedKey(keys.key_id(pem), pem, "ada")], 0.0)
    assert (found.state, found.signer) == ("trusted", "ada")
