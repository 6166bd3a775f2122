import io
import os

import pytest

from modelwright.core.content import (
    LARGE_BYTES,
    StoredFile,
    content_of,
    pieces,
    private_folder,
    sha256,
    stored,
    whole,
)


@pytest.mark.parametrize("size", [0, 1, LARGE_BYTES - 1, LARGE_BYTES, LARGE_BYTES + 1])
@pytest.mark.parametrize("claims", [0, LARGE_BYTES])
def test_a_content_is_the_bytes_of_its_file_whatever_size_it_claims_to_have(size, claims):
    wanted = os.urandom(size)
    content = content_of(io.BytesIO(wanted), expected=claims)
    assert isinstance(content, StoredFile) == (max(size, claims) >= LARGE_BYTES)
    assert len(content) == size
    assert whole(content) == wanted
    assert sha256(content) == sha256(wanted)


@pytest.mark.parametrize("limit", [0, 10, LARGE_BYTES])
def test_no_more_is_read_than_shows_that_it_is_too_large(limit):
    file = io.BytesIO(bytes(2 * LARGE_BYTES))
    assert len(content_of(file, expected=0, limit=limit)) == limit + 1
    assert file.tell() == limit + 1


def test_a_large_content_keeps_its_bytes_when_its_file_is_overwritten(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(bytes(LARGE_BYTES))
    with path.open("rb") as file:
        content = content_of(file, expected=LARGE_BYTES)
    path.write_bytes(b"other")
    assert whole(content) == bytes(LARGE_BYTES)


def test_two_readers_of_a_content_do_not_disturb_each_other():
    content = stored([bytes(3 * 2**20)])
    one, other = content.pieces(), content.pieces()
    next(one)
    assert sum(map(len, other)) == 3 * 2**20
    assert sum(map(len, one)) == 2 * 2**20


def test_a_private_folder_holds_the_files_and_nothing_after_it_is_left():
    part = StoredFile(stored([b"0123456789"]).file, 3, 4)
    with private_folder({"a": b"bytes", "b": stored([b"file"]), "c": part}) as folder:
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == {"a": b"bytes", "b": b"file", "c": b"456"}
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()
    assert list(pieces(b"x")) == [b"x"]
