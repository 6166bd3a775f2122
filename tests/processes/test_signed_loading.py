"""What a gateway loads: signed by a trusted key where the table or a setting asks for it (H7, at load)."""

import hashlib
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import httpx
import pytest

from modelwright.adapters.stores.local_blobs import LocalBlobs
from modelwright.adapters.stores.package_files import write_zip
from modelwright.adapters.targets.process import ProcessTarget
from modelwright.core import package_codec
from modelwright.core.errors import RefusedError
from modelwright.core.trust import TrustedKey
from modelwright.core.version import Arm, Route, RoutingTable, SignatureRef, TokenGrant
from modelwright.processes.folder import PackageFolder
from modelwright.processes.signatures import checked, checked_on_table
from modelwright.settings import environment_of
from modelwright.signing import keys
from modelwright.signing.check import sign
from modelwright.testing.errors import error_code

TOKEN = "mw_test"
GRANT = TokenGrant(hashlib.sha256(TOKEN.encode()).hexdigest(), "tester", "admin")


@pytest.fixture
def ada(tmp_path):
    keys.new_key(tmp_path / "ada.key", tmp_path / "ada.pub")
    pem = keys.read_public(tmp_path / "ada.pub")
    return TrustedKey(keys.key_id(pem), pem, "ada")


@pytest.fixture
def blobs(tmp_path):
    return LocalBlobs(tmp_path / "home" / "blobs")


def table(epoch, package, *, trusted=(), bundles=(), signed=("champion",)):
    route = Route(package.name, (Arm(str(epoch), package.digest, 1.0, "champion"),), signed=signed)
    references = tuple(SignatureRef(package.digest, bundle) for bundle in bundles)
    return RoutingTable(epoch, {package.name: route}, (GRANT,), trusted=trusted, signatures=references)


def test_a_version_that_must_be_signed_is_loaded_with_a_trusted_signature_alone(sum_package, ada, blobs, tmp_path):
    package = sum_package("total")
    package_codec.store(package, blobs.put)
    good = blobs.put(sign(package.manifest, tmp_path / "ada.key"))
    swapped = blobs.put(sign(sum_package("total", bias=1.0).manifest, tmp_path / "ada.key"))
    keys.new_key(tmp_path / "eve.key", tmp_path / "eve.pub")
    strange = blobs.put(sign(package.manifest, tmp_path / "eve.key"))
    load = partial(checked_on_table, "")

    def code(**more):
        return error_code(lambda: load(table(1, package, **more), package, blobs.get))

    assert load(table(1, package, trusted=(ada,), bundles=(good,)), package, blobs.get) is package
    assert code(trusted=(ada,)) == "sign.unsigned"
    assert code(bundles=(good,)) == "sign.unknown-key"
    assert code(trusted=(ada,), bundles=(swapped,)) == "sign.invalid"
    assert code(trusted=(ada,), bundles=(strange,)) == "sign.unknown-key"
    assert code(trusted=(replace(ada, revoked_at="2026"),), bundles=(good,)) == "sign.revoked-key"
    assert code(trusted=(replace(ada, expires_at=time.time() - 1),), bundles=(good,)) == "sign.expired-key"
    assert code(trusted=(replace(ada, models=("churn",)),), bundles=(good,)) == "sign.other-model"
    assert load(table(1, package, signed=()), package, blobs.get) is package


def test_the_keys_of_the_setting_count_whatever_the_table_says(sum_package, ada, blobs, tmp_path):
    package = sum_package("total")
    package_codec.store(package, blobs.put)
    keys.new_key(tmp_path / "eve.key", tmp_path / "eve.pub")
    eve = keys.read_public(tmp_path / "eve.pub")
    bundle = blobs.put(sign(package.manifest, tmp_path / "eve.key"))
    hers = table(1, package, trusted=(TrustedKey(keys.key_id(eve), eve, "eve"),), bundles=(bundle,))
    pinned = str(tmp_path / "ada.pub")
    assert checked_on_table("", hers, package, blobs.get) is package
    assert error_code(lambda: checked_on_table(pinned, hers, package, blobs.get)) == "sign.unknown-key"
    unasked = table(1, package, signed=())
    assert error_code(lambda: checked_on_table(pinned, unasked, package, blobs.get)) == "sign.unsigned"


def test_a_folder_serves_what_is_signed_and_keeps_the_newer_one(sum_package, ada, tmp_path):
    root = tmp_path / "models"
    root.mkdir()
    key = tmp_path / "ada.key"
    folder = PackageFolder(root, (), lambda: None, partial(checked, str(tmp_path / "ada.pub")))

    def put(package, *, signed=True):
        write_zip(replace(package, bundle=sign(package.manifest, key) if signed else None), root / "total.mw")
        folder.look()
        return {name: route.arms[0].digest for name, route in folder.table().routes.items()}

    package = sum_package("total")
    assert put(package, signed=False) == {}
    assert "not signed" in folder.entries()[0].reason
    assert put(package) == {"total": package.digest}
    described = replace(package.description, created_at="2025-01-01T00:00:00Z")
    files = {name: package.read(name) for name in package.manifest.files}
    older = package_codec.assemble("total", files | {"package.json": package_codec.description_json(described)})
    assert put(older) == {"total": package.digest}
    assert "older than the one that is served" in folder.entries()[0].reason


def gateway(tmp_path, *arguments, **settings):
    command = [sys.executable, "-m", "modelwright.processes.gateway", "--home", tmp_path / "home"]
    return subprocess.Popen(
        [*map(str, command), "--http", "127.0.0.1:0", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment_of(settings),
    )


def test_a_real_gateway_refuses_an_unsigned_package_and_serves_a_signed_one(sum_package, ada, tmp_path):
    package = sum_package("total")
    path = tmp_path / "total.mw"
    write_zip(package, path)
    with gateway(tmp_path, "--no-auth", "--package", path, trusted_keys=tmp_path / "ada.pub") as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "sign.unsigned" in errors
    assert "Traceback" not in errors
    write_zip(replace(package, bundle=sign(package.manifest, tmp_path / "ada.key")), path)
    with gateway(tmp_path, "--no-auth", "--package", path, trusted_keys=tmp_path / "ada.pub") as process:
        ready = next(line for line in process.stdout if line.startswith("ready"))
        assert httpx.get(f"{ready.split()[1]}/v2/models/total").status_code == 200
        process.terminate()
        assert process.wait(60) == 0


def test_a_real_gateway_keeps_the_signed_version_when_an_unsigned_one_is_put_on_the_table(
    sum_package, ada, blobs, tmp_path
):
    first, second = sum_package("total"), sum_package("total", bias=1.0)
    for package in (first, second):
        package_codec.store(package, blobs.put)
    bundle = blobs.put(sign(first.manifest, tmp_path / "ada.key"))
    target = ProcessTarget(tmp_path / "home" / "run")
    target.publish(table(1, first, trusted=(ada,), bundles=(bundle,)))
    with gateway(tmp_path) as process:
        ready = next(line for line in process.stdout if line.startswith("ready"))
        target.publish(table(2, second, trusted=(ada,), bundles=()))
        with pytest.raises(RefusedError, match="not signed"):
            target.wait(2, timeout=30.0)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        versions = httpx.get(f"{ready.split()[1]}/v2/models/total", headers=headers).json()["versions"]
        assert versions == ["1"]
        process.terminate()
        assert process.wait(60) == 0
