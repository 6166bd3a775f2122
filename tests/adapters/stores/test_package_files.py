import io
import os
import stat
import struct
import zipfile
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelwright.adapters.stores import package_readers
from modelwright.adapters.stores.package_files import open_path, write_directory, write_zip
from modelwright.core import package_codec as codec
from modelwright.core.errors import ConflictError, ModelwrightError, NotFoundError
from modelwright.core.package import Description, canonical_json
from modelwright.core.signature import Signature, TensorSpec
from modelwright.testing.errors import error_code


def small(**extra):
    return codec.assemble(
        "small",
        {
            "package.json": codec.description_json(Description("small", "f", "1", "C", "onnx", "t", "3.11")),
            "signature.json": codec.signature_json(Signature((TensorSpec("X", "FP32", (-1,)),), ())),
            "model.onnx": b"graph" * 100,
            "extra/note.txt": b"note",
        }
        | extra,
    )


@pytest.fixture
def package():
    return small()


@pytest.fixture
def saved(package, tmp_path):
    path = tmp_path / "small.mw"
    write_zip(package, path)
    return path


def craft(path, entries, package=None):
    """A zip of our package with entries of an attacker's making added."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in _contents(package or small()):
            archive.writestr(name, content)
        for entry, content in entries:
            archive.writestr(entry, content)
    return path


def _contents(package):
    yield "manifest.json", canonical_json(package.manifest.to_json())
    for name in package.manifest.files:
        yield name, package.read(name)


def entry(name, mode=0, *, orig=None):
    made = zipfile.ZipInfo("placeholder")
    made.filename = name
    made.create_system = 3
    made.external_attr = mode << 16
    return made


def test_a_zip_gives_the_package_back(package, saved):
    back = open_path(saved)
    assert back == package
    assert all(back.read(name) == package.read(name) for name in package.manifest.files)


def test_a_directory_gives_the_package_back(package, tmp_path):
    write_directory(package, tmp_path / "d")
    back = open_path(tmp_path / "d")
    assert back == package
    assert back.read("extra/note.txt") == b"note"


def test_equal_packages_make_equal_zips(package, saved, tmp_path):
    write_zip(package, tmp_path / "again.mw")
    assert (tmp_path / "again.mw").read_bytes() == saved.read_bytes()


def test_files_are_private_and_nothing_else_is_left(package, saved, tmp_path):
    write_directory(package, tmp_path / "d")
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "d" / "model.onnx").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d", "small.mw"]


def test_saving_again_replaces_the_package_whole(package, tmp_path):
    other = small(**{"model.onnx": b"other"})
    for path, write in ((tmp_path / "d", write_directory), (tmp_path / "z.mw", write_zip)):
        write(package, path)
        write(other, path)
        assert open_path(path) == other


def test_a_directory_of_something_else_is_not_touched(package, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConflictError):
        write_directory(package, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_place_that_cannot_be_written_is_said_so(package, tmp_path):
    assert error_code(write_zip, package, tmp_path / "none" / "x.mw") == "package.unwritable"
    assert error_code(write_directory, package, tmp_path / "none" / "x") == "package.unwritable"


def test_what_is_not_there_is_not_found(tmp_path):
    with pytest.raises(NotFoundError):
        open_path(tmp_path / "none.mw")
    assert error_code(open_path, tmp_path) == "package.not-a-package"


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/evil",
        "a/../../evil",
        "..\\evil",
        "C:\\evil",
        "C:evil",
        "a//b",
        "a/b/c/d/e/f/g/h/i/j/k",
        "evil/",
        ".",
        "a\nb",
    ],
)
def test_names_that_lead_elsewhere_are_refused(name, tmp_path):
    path = craft(tmp_path / "evil.mw", [(entry(name), b"x")])
    assert error_code(open_path, path) == "package.unsafe-entry"


def test_a_name_with_nul_is_refused(tmp_path):
    path = craft(tmp_path / "evil.mw", [(entry("okQevil"), b"x")])
    path.write_bytes(path.read_bytes().replace(b"okQevil", b"ok\0evil"))
    assert error_code(open_path, path) in {"package.unsafe-entry", "package.malformed"}


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK, stat.S_IFDIR])
def test_links_pipes_and_devices_are_refused(kind, tmp_path):
    path = craft(tmp_path / "evil.mw", [(entry("evil", kind | 0o777), b"/etc/passwd")])
    assert error_code(open_path, path) == "package.unsafe-entry"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_occurs_twice_is_refused(tmp_path):
    path = craft(tmp_path / "evil.mw", [("model.onnx", b"other")])
    assert error_code(open_path, path) == "package.unsafe-entry"


def test_a_bomb_is_refused_by_its_ratio(tmp_path):
    path = tmp_path / "bomb.mw"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in _contents(small()):
            archive.writestr(name, content)
        archive.writestr("bomb", b"\0" * (20 << 20))
    assert error_code(open_path, path) == "package.too-large"


def test_a_bomb_that_lies_about_its_size_is_stopped_while_it_unpacks(tmp_path):
    path = tmp_path / "bomb.mw"
    package = small(bomb=b"\0" * (20 << 20))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in _contents(package):
            archive.writestr(name, content)
    content = path.read_bytes().replace(struct.pack("<I", 20 << 20), struct.pack("<I", 1000))
    path.write_bytes(content)
    assert error_code(lambda: open_path(path).read("bomb")) in {
        "package.too-large",
        "package.malformed",
        "package.corrupt",
    }


def test_the_total_is_capped(saved, tmp_path):
    assert error_code(lambda: open_path(saved, max_bytes=100)) == "package.too-large"


def test_too_many_entries_are_refused_before_they_are_parsed(saved, monkeypatch):
    monkeypatch.setattr(package_readers, "MAX_FILES", 2)
    assert error_code(open_path, saved) == "package.too-large"


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_compression_is_refused(compression, tmp_path):
    path = tmp_path / "odd.mw"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in _contents(small()):
            archive.writestr(name, content)
    assert error_code(open_path, path) == "package.unsafe-entry"


def test_a_changed_file_in_a_zip_is_corrupt(tmp_path):
    other = dict(_contents(small())) | {"model.onnx": b"other"}
    path = tmp_path / "changed.mw"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in other.items():
            archive.writestr(name, content)
    assert error_code(open_path(path).read, "model.onnx") == "package.corrupt"


def test_links_in_a_directory_are_not_followed(package, tmp_path):
    root = tmp_path / "d"
    write_directory(package, root)
    (root / "model.onnx").unlink()
    (root / "model.onnx").symlink_to("/etc/passwd")
    assert error_code(open_path(root).read, "model.onnx") == "package.unreadable"
    (root / "model.onnx").unlink()
    os.mkfifo(root / "model.onnx")
    assert error_code(open_path(root).read, "model.onnx") == "package.unsafe-entry"


def test_opening_unpacks_nothing_to_disk(saved, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    open_path(saved).read("model.onnx")
    assert sorted(tmp_path.rglob("*")) == before


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(st.data())
def test_a_mutated_zip_is_the_same_package_or_a_modelwright_error(saved, package, data):
    content = bytearray(saved.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    path = saved.with_name("mutated.mw")
    path.write_bytes(bytes(content))
    try:
        back = open_path(path)
        read = {name: back.read(name) for name in back.manifest.files}
    except ModelwrightError:
        return
    assert back.digest == package.digest
    assert read == {name: package.read(name) for name in package.manifest.files}


@given(st.binary(max_size=200))
def test_bytes_that_are_no_zip_are_a_modelwright_error(content):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "x.mw"
        path.write_bytes(content)
        assert error_code(open_path, path) in {"package.malformed", "package.not-a-package"}


def test_the_standard_library_can_read_what_we_write(saved):
    with zipfile.ZipFile(io.BytesIO(saved.read_bytes())) as archive:
        assert archive.testzip() is None


def signed(package, bundle=b"{}"):
    return replace(package, bundle=bundle)


def test_a_signature_lies_beside_the_manifest_and_changes_no_identity(package, tmp_path):
    for write, path in ((write_zip, tmp_path / "s.mw"), (write_directory, tmp_path / "s")):
        write(signed(package), path)
        again = open_path(path)
        assert (again.bundle, again.digest) == (b"{}", package.digest)
        assert "model.sig" not in again.manifest.files


def test_no_package_lists_a_signature_as_one_of_its_files():
    assert error_code(lambda: small(**{"model.sig": b"{}"})) == "package.malformed"


@pytest.mark.parametrize("name", ["evil.so", "extra/evil.so", "manifest.json.bak"])
def test_a_signed_zip_with_a_file_that_is_not_listed_is_refused_and_an_unsigned_one_reads_past_it(name, tmp_path):
    path = craft(tmp_path / "a.mw", [(name, b"x"), ("model.sig", b"{}")])
    assert error_code(lambda: open_path(path)) == "package.unlisted-file"
    assert open_path(craft(tmp_path / "b.mw", [(name, b"x")])).bundle is None


def test_a_signature_that_is_a_link_or_too_large_is_refused(package, tmp_path):
    root = tmp_path / "s"
    write_directory(package, root)
    (root / "model.sig").symlink_to("/etc/hostname")
    assert error_code(lambda: open_path(root)) in {"package.unreadable", "package.unsafe-entry"}
    (root / "model.sig").unlink()
    with (root / "model.sig").open("wb") as file:
        file.truncate(package_readers.MAX_MANIFEST_BYTES + 1)
    assert error_code(lambda: open_path(root)) == "package.too-large"
