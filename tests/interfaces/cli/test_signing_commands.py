"""keys, sign, verify and bom, as a person types them."""

import json
import shutil
import stat

import pytest

from modelwright.adapters.stores.package_files import open_path, write_directory, write_zip
from modelwright.interfaces.cli import main


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """``run(*words)``: exit code, and what was printed as JSON (the error's code where it failed)."""
    monkeypatch.setenv("MODELWRIGHT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODELWRIGHT_OPERATOR", "ann")
    monkeypatch.chdir(tmp_path)

    def call(*words):
        code = main([*map(str, words), "--json"])
        told = capsys.readouterr()
        body = json.loads(told.out or told.err)
        return code, body if code == 0 else body["error"]["code"]

    return call


@pytest.fixture
def package(sum_package, tmp_path):
    path = tmp_path / "total.mw"
    write_zip(sum_package("total"), path)
    return path


def test_a_package_is_signed_trusted_and_verified(run, package, tmp_path):
    _, made = run("keys", "new", "--out", "ada.key")
    assert stat.S_IMODE((tmp_path / "ada.key").stat().st_mode) == 0o600
    before = open_path(package).digest
    assert run("verify", package) == (3, "sign.unsigned")
    code, signed = run("sign", package, "--key", "ada.key")
    assert (code, signed["digest"], signed["key_id"]) == (0, before, made["key_id"])
    assert run("verify", package) == (3, "sign.unknown-key")
    assert run("verify", package, "--key", "ada.key.pub")[0] == 0
    assert run("keys", "trust", "ada.key.pub", "--name", "ada", "--model", "tot*", "--reason", "hired")[0] == 0
    code, told = run("verify", package)
    assert (code, told["signature"]["signer"]) == (0, "ada")
    assert run("inspect", package)[1]["signed"]["state"] == "trusted"
    assert run("keys", "revoke", "ada", "--reason", "left")[1]["revoked_why"] == "left"
    assert run("verify", package) == (3, "sign.revoked-key")
    assert run("keys", "trust", "ada.key.pub")[1] == "keys.revoked"
    assert [key["name"] for key in run("keys", "list")[1]] == ["ada"]
    acts = [(entry["action"], entry["actor"], entry["reason"]) for entry in run("ledger", "show")[1]]
    assert acts == [("sign.trust-key", "ann", "hired"), ("sign.revoke-key", "ann", "left")]


def test_a_key_that_is_trusted_for_other_models_or_until_yesterday_does_not_verify(run, package):
    run("keys", "new", "--out", "ada.key")
    run("sign", package, "--key", "ada.key")
    run("keys", "trust", "ada.key.pub", "--model", "churn")
    assert run("verify", package) == (3, "sign.other-model")
    run("keys", "trust", "ada.key.pub", "--days", "0.0000001")
    assert run("verify", package) == (3, "sign.expired-key")


def test_what_was_tampered_with_is_damaged_and_nothing_else(run, sum_package, tmp_path):
    run("keys", "new", "--out", "ada.key")
    folder = tmp_path / "total"
    write_directory(sum_package("total"), folder)
    run("sign", folder, "--key", "ada.key")

    def broken(change):
        copy = tmp_path / "copy"
        shutil.copytree(folder, copy)
        change(copy)
        told = run("verify", copy, "--key", "ada.key.pub")
        shutil.rmtree(copy)
        return told

    assert broken(lambda copy: None)[0] == 0
    assert broken(lambda copy: (copy / "model.onnx").write_bytes(b"x")) == (6, "package.corrupt")
    assert broken(lambda copy: (copy / "evil.so").write_bytes(b"x")) == (6, "package.unlisted-file")
    assert broken(lambda copy: (copy / "evil").symlink_to("/etc")) == (6, "package.unlisted-file")
    assert broken(lambda copy: (copy / "model.onnx").unlink())[0] == 6
    assert broken(lambda copy: (copy / "model.onnx").rename(copy / "m.onnx"))[0] == 6
    assert broken(lambda copy: (copy / "model.sig").write_text("{}")) == (6, "sign.invalid")
    assert broken(lambda copy: (copy / "model.sig").unlink()) == (3, "sign.unsigned")
    other = tmp_path / "other"
    write_directory(sum_package("total", bias=1.0), other)
    run("sign", other, "--key", "ada.key")
    assert broken(lambda copy: shutil.copy(other / "model.sig", copy)) == (6, "sign.invalid")


def test_a_passphrase_comes_from_the_environment_and_is_asked_of_nobody_in_a_script(run, package, monkeypatch):
    monkeypatch.setenv("MODELWRIGHT_SIGNING_PASSPHRASE", "correct horse")
    assert run("keys", "new", "--out", "ada.key")[1]["sealed"]
    assert run("sign", package, "--key", "ada.key")[0] == 0
    monkeypatch.delenv("MODELWRIGHT_SIGNING_PASSPHRASE")
    assert run("sign", package, "--key", "ada.key") == (2, "keys.passphrase-needed")


def test_the_private_key_given_for_the_public_one_is_said_so(run, package):
    run("keys", "new", "--out", "ada.key")
    run("sign", package, "--key", "ada.key")
    assert run("verify", package, "--key", "ada.key") == (2, "keys.unreadable")
    assert run("sign", package) == (2, "sign.no-key")
    assert run("keys", "revoke", "nobody", "--reason", "x")[1] == "keys.unknown"
    assert run("keys", "new", "--out", "ada.key")[1] == "keys.exists"


def test_pack_signs_and_writes_a_bill_of_materials(run, sum_package, tmp_path):
    run("keys", "new", "--out", "ada.key")
    (tmp_path / "sum.onnx").write_bytes(sum_package().read("model.onnx"))
    assert run("pack", "sum.onnx", "--name", "sum", "--key", "ada.key", "-o", "sum.mw")[0] == 0
    assert run("verify", "sum.mw", "--key", "ada.key.pub")[0] == 0
    assert run("bom", "sum.mw")[1]["metadata"]["component"]["name"] == "sum"


def test_a_package_without_a_bill_of_materials_says_so(run, package):
    assert run("bom", package)[1] == "bom.none"


def test_a_signed_package_keeps_its_signature_through_zip_and_directory(run, package, tmp_path):
    run("keys", "new", "--out", "ada.key")
    run("sign", package, "--key", "ada.key")
    signed = open_path(package)
    write_directory(signed, tmp_path / "open")
    again = open_path(tmp_path / "open")
    assert (again.digest, again.bundle) == (signed.digest, signed.bundle)
    assert run("verify", tmp_path / "open", "--key", "ada.key.pub")[0] == 0
