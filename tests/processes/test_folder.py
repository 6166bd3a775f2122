"""A folder of packages: which of them are served, and what becomes of those that cannot be."""

import shutil

import pytest

from modelwright.adapters.runners.onnx import OnnxRunners
from modelwright.adapters.stores.package_files import write_directory, write_zip
from modelwright.core.errors import NotFoundError
from modelwright.processes.folder import PackageFolder, newest
from modelwright.serve import Plane
from modelwright.testing.errors import error_code
from modelwright.testing.record import InMemorySink


@pytest.fixture
def followed(tmp_path):
    """A folder, the plane that serves it, and ``look()``, which puts it into force."""

    class Followed:
        def __init__(self):
            self.root = tmp_path / "models"
            self.root.mkdir()
            self.woken = []
            self.folder = PackageFolder(self.root, (), lambda: self.woken.append(1))
            self.plane = Plane(InMemorySink(), OnnxRunners())

        def look(self, again=()):
            changed = self.folder.look(frozenset(again))
            self.plane.commit(self.plane.prepare(self.folder.table(), self.folder.package, self.folder.without))
            self.folder.settle()
            return changed

        def served(self):
            return {
                name: (route.champion.version, sorted(route.by_version)) for name, route in self.plane.routes.items()
            }

        def told(self):
            return {(entry.name, entry.version): entry.reason for entry in self.folder.entries()}

    return Followed()


def test_files_folders_and_versions_are_found_and_the_newest_is_the_champion(followed, sum_package):
    write_zip(sum_package("flat"), followed.root / "flat.mw")
    write_directory(sum_package("open"), followed.root / "open")
    for version in ("2", "9", "10"):
        (followed.root / "many").mkdir(exist_ok=True)
        write_zip(sum_package("many", bias=float(version)), followed.root / "many" / f"{version}.mw")
    write_directory(sum_package("many", bias=11.0), followed.root / "many" / "3")
    (followed.root / "README.txt").write_text("no package")
    (followed.root / ".half.mw").write_bytes(b"being written")
    assert followed.look()
    assert followed.served() == {"flat": ("1", ["1"]), "open": ("1", ["1"]), "many": ("10", ["10", "2", "3", "9"])}
    assert followed.told() == {}
    assert not followed.look()


def test_a_broken_package_fails_alone_and_says_why(followed, sum_package):
    write_zip(sum_package("good"), followed.root / "good.mw")
    write_zip(sum_package("liar", golden_error=1.0), followed.root / "liar.mw")
    (followed.root / "junk.mw").write_bytes(b"PK no zip")
    followed.look()
    assert followed.served() == {"good": ("1", ["1"])}
    told = followed.told()
    assert "golden answers" in told["liar", "1"]
    assert set(told) == {("liar", "1"), ("junk", "1")}


def test_a_half_written_file_is_tried_again_when_it_has_grown(followed, sum_package, tmp_path):
    write_zip(sum_package("total"), tmp_path / "whole.mw")
    content = (tmp_path / "whole.mw").read_bytes()
    for end in range(0, len(content), max(1, len(content) // 5)):
        (followed.root / "total.mw").write_bytes(content[:end])
        followed.look()
        assert followed.served() == {}
    (followed.root / "total.mw").write_bytes(content)
    assert followed.look()
    assert (followed.served(), followed.told()) == ({"total": ("1", ["1"])}, {})


def test_a_half_copied_directory_is_tried_again_when_its_model_has_come(followed, sum_package, tmp_path):
    write_directory(sum_package("total"), tmp_path / "whole")
    (followed.root / "total").mkdir()
    for name in ("manifest.json", "package.json", "signature.json", "golden.json"):
        shutil.copy(tmp_path / "whole" / name, followed.root / "total")
    followed.look()
    assert followed.served() == {}
    shutil.copy(tmp_path / "whole" / "model.onnx", followed.root / "total")
    followed.look()
    assert followed.served() == {"total": ("1", ["1"])}


def test_what_was_served_stays_while_something_broken_lies_in_its_place(followed, sum_package):
    path = followed.root / "total.mw"
    write_zip(sum_package("total"), path)
    followed.look()
    first = followed.plane.route("total").champion.loaded.digest
    for breaking in (
        lambda: path.write_bytes(b"half"),
        lambda: write_zip(sum_package("total", bias=1.0, golden_error=1.0), path),
        lambda: path.write_bytes(b"another half"),
    ):
        breaking()
        followed.look()
        assert followed.plane.route("total").champion.loaded.digest == first
        assert followed.told()["total", "1"]
    write_zip(sum_package("total", bias=1.0), path)
    followed.look()
    assert followed.plane.route("total").champion.loaded.digest != first
    assert followed.told() == {}


def test_the_newest_version_that_fails_leaves_the_one_before_it_champion(followed, sum_package):
    (followed.root / "total").mkdir()
    write_zip(sum_package("total"), followed.root / "total" / "1.mw")
    write_zip(sum_package("total", bias=1.0, golden_error=1.0), followed.root / "total" / "2.mw")
    followed.look()
    assert followed.served() == {"total": ("1", ["1"])}
    assert set(followed.told()) == {("total", "2")}
    assert followed.folder.failure("total").code == "serve.golden-mismatch"


def test_what_is_removed_is_served_no_more(followed, sum_package):
    write_zip(sum_package("a"), followed.root / "a.mw")
    write_zip(sum_package("b"), followed.root / "b.mw")
    followed.look()
    (followed.root / "a.mw").unlink()
    assert followed.look()
    assert set(followed.served()) == {"b"}


def test_two_packages_of_one_version_are_told_apart_by_path_until_one_goes(followed, sum_package):
    write_zip(sum_package("total"), followed.root / "a.mw")
    write_zip(sum_package("total", bias=1.0), followed.root / "b.mw")
    followed.look()
    assert followed.plane.route("total").champion.loaded.package.golden.outputs["total"] == [[3.0], [6.0], [9.0]]
    assert followed.folder.failure("total").code == "serve.duplicate-version"
    (followed.root / "a.mw").unlink()
    followed.look()
    assert followed.plane.route("total").champion.loaded.package.golden.outputs["total"] == [[4.0], [7.0], [10.0]]
    assert followed.told() == {}


def test_a_model_unloaded_by_request_stays_so_until_it_is_loaded_by_request(followed, sum_package):
    write_zip(sum_package("total"), followed.root / "total.mw")
    followed.look()
    followed.folder.change("total", load=False, done=print)
    assert [change.model for change in followed.folder.take_changes()] == ["total"]
    followed.look()
    assert (followed.served(), followed.told()) == ({}, {("total", "1"): "unloaded by request"})
    write_zip(sum_package("total", bias=1.0), followed.root / "total.mw")
    followed.look()
    assert followed.served() == {}
    followed.folder.change("total", load=True, done=print)
    followed.folder.take_changes()
    followed.look()
    assert set(followed.served()) == {"total"}
    assert len(followed.woken) == 2


def test_what_is_not_there_cannot_be_unloaded_and_fails_to_load(followed):
    followed.look()
    with pytest.raises(NotFoundError):
        followed.folder.change("nobody", load=False, done=print)
    assert followed.folder.failure("nobody").code == "serve.unknown-model"


def test_a_folder_that_cannot_be_read_says_so(tmp_path):
    assert error_code(PackageFolder(tmp_path / "nowhere", (), print).look) == "package.unreadable"


def test_numbers_in_a_version_count_as_numbers():
    assert newest(["2", "10", "9"]) == "10"
    assert newest(["v2", "v10"]) == "v10"
    assert newest(["2026-01-31", "2026-02-01"]) == "2026-02-01"
    assert newest(["candidate", "7"]) == "7"
