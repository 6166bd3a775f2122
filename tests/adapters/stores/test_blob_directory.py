import os
import stat
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.adapters.stores.local_blobs import LocalBlobs
from modelwright.core.errors import CorruptError, UnavailableError
from modelwright.testing.blobs import BlobStoreConformance


class TestLocalBlobs(BlobStoreConformance):
    @pytest.fixture
    def blobs(self, tmp_path):
        return LocalBlobs(tmp_path / "home" / "blobs")


def everything(root):
    return sorted(path for path in root.rglob("*") if path.is_file())


def test_only_the_owner_may_look(tmp_path):
    root = tmp_path / "home" / "blobs"
    LocalBlobs(root).put(b"secret")
    for path in [tmp_path / "home", *(tmp_path / "home").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_a_blob_lies_under_its_digest(tmp_path):
    digest = LocalBlobs(tmp_path).put(b"content")
    assert (tmp_path / "sha256" / digest[:2] / digest).read_bytes() == b"content"


@settings(max_examples=30, deadline=None)
@given(content=st.binary(min_size=1, max_size=200), data=st.data())
def test_any_damage_is_found_and_healed_by_storing_again(tmp_path_factory, content, data):
    root = tmp_path_factory.mktemp("blobs")
    blobs = LocalBlobs(root)
    digest = blobs.put(content)
    (path,) = everything(root)
    damaged = bytearray(content)
    if data.draw(st.booleans()):
        damaged[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        del damaged[data.draw(st.integers(0, len(content) - 1)) :]
    path.write_bytes(damaged)
    with pytest.raises(CorruptError) as raised:
        blobs.get(digest)
    assert raised.value.code == "blobs.corrupt"
    assert blobs.put(content) == digest
    assert blobs.get(digest) == content


@pytest.mark.parametrize("failing", ["write", "fsync", "replace"])
def test_a_failed_put_leaves_nothing_behind(tmp_path, monkeypatch, failing):
    blobs = LocalBlobs(tmp_path)

    def full(*_arguments, **_named):
        raise OSError(28, "No space left on device")

    if failing == "write":
        # The smallest real full disk: a limit on the size of a file this process may write.
        import resource
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        try:
            with pytest.raises(UnavailableError):
                blobs.put(b"x" * 5000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    else:
        monkeypatch.setattr(os, "fsync" if failing == "fsync" else "rename", full)
        if failing == "replace":
            monkeypatch.setattr("pathlib.Path.replace", full)
        with pytest.raises(UnavailableError) as raised:
            blobs.put(b"x" * 5000)
        assert raised.value.code == "blobs.unavailable"
        monkeypatch.undo()
    assert everything(tmp_path) == []
    assert list(blobs.digests()) == []


def test_what_a_crash_left_in_staging_is_cleaned_after_a_day(tmp_path):
    LocalBlobs(tmp_path)
    old, young = tmp_path / "staging" / "old", tmp_path / "staging" / "young"
    for path in (old, young):
        path.write_bytes(b"half")
    yesterday = time.time() - 90_000
    os.utime(old, (yesterday, yesterday))
    assert list(LocalBlobs(tmp_path).digests()) == []
    assert everything(tmp_path) == [young]


def test_a_directory_that_cannot_be_made_is_an_error_in_words(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnavailableError) as raised:
        LocalBlobs(tmp_path / "file" / "blobs")
    assert raised.value.code == "blobs.unavailable"
    assert "Not a directory" in raised.value.why
