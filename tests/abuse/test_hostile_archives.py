"""Packages and graphs that a stranger made by hand (rows H1, H2, H3, H6 of the abuse plan)."""

import itertools
import stat
import struct
import time
import zipfile
from pathlib import PurePosixPath, PureWindowsPath

import onnx
import pytest
from onnx import TensorProto, helper

from modelwright.adapters.frameworks.onnx_file import OnnxFileFramework
from modelwright.adapters.stores.package_files import open_path, write_zip
from modelwright.core.errors import ModelwrightError
from modelwright.testing.errors import error_code

PARTS = [
    "../x",
    "..\\x",
    "/x",
    "\\x",
    "C:\\x",
    "C:/x",
    "a/../../x",
    "a\\..\\..\\x",
    "./x",
    "a//x",
    "a/./x",
    "x/",
    "~/x",
]
PARTS += ["..", ".", " ", "x ", "x.", " x", "x\0y", "x\ny", "x\ry", "x\x1b[2Jy", "%2e%2e/x", "..%2fx", "%00", "con\t"]
PARTS += [
    "\u2024\u2024/x",
    "\uff0e\uff0e/x",
    "\u2215x",
    "\uff0fx",
    "\u202ex",
    "é/x",
    "a" * 300,
    "a/" * 20 + "x",
    "-",
    "\ufeffx",
]
BEFORE = ["", "a/", "nodes/", "../", "/", "a/b/c/", "..\\"]
AFTER = ["", "/..", ".json"]
NAMES = sorted({before + part + after for before, part, after in itertools.product(BEFORE, PARTS, AFTER)})


def archive(path, entries):
    with zipfile.ZipFile(path, "w") as held:
        for name, content in entries:
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = name
            held.writestr(info, content)
    return path


def test_h1_hundreds_of_names_that_lead_elsewhere_are_refused_and_nothing_is_written(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    assert len(NAMES) >= 300
    taken = []
    for name in NAMES:
        path = archive(inside / "p.mw", [("manifest.json", b"{}"), (name, b"x")])
        before = set(tmp_path.rglob("*"))
        try:
            open_path(path)
            taken.append(name)
        except ModelwrightError as error:
            if error.code != "package.unsafe-entry":
                taken.append(name)
        assert set(tmp_path.rglob("*")) == before
    assert len(NAMES) - len(taken) >= 300
    for name in taken:  # odd, and below the folder on every system
        for kind in (PurePosixPath, PureWindowsPath):
            path = kind(name)
            assert not path.anchor, name
            assert ".." not in path.parts, name


def test_h2_whatever_is_no_regular_file_is_refused(tmp_path):
    kinds = (stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK, stat.S_IFDIR)
    for kind in kinds:
        path = tmp_path / "p.mw"
        with zipfile.ZipFile(path, "w") as held:
            held.writestr("manifest.json", b"{}")
            info = zipfile.ZipInfo("model.onnx")
            info.external_attr = (kind | 0o777) << 16
            held.writestr(info, b"/etc/passwd")
        assert error_code(open_path, path) == "package.unsafe-entry", oct(kind)


def test_h3_a_million_entries_are_refused_before_they_are_read(tmp_path):
    path = tmp_path / "p.mw"
    directory = b"".join(
        struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"x"
        for _ in range(1000)
    )
    directory *= 1000
    path.write_bytes(directory + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, len(directory), 0, 0))
    assert path.stat().st_size > 40_000_000
    assert error_code(open_path, path) == "package.too-large"


def test_h3_entries_that_share_their_bytes_give_no_more_than_the_limits(tmp_path, sum_package):
    write_zip(sum_package(), tmp_path / "p.mw")
    content = (tmp_path / "p.mw").read_bytes()
    end = content.rindex(b"PK\x05\x06")
    start = struct.unpack_from("<I", content, end + 16)[0]
    directory = content[start:end]
    first = directory[: directory.index(b"PK\x01\x02", 4)]
    doubled = directory + first * 3
    total = struct.unpack_from("<H", content, end + 10)[0] + 3
    tail = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, total, total, len(doubled), start, 0)
    (tmp_path / "q.mw").write_bytes(content[:start] + doubled + tail)
    assert error_code(open_path, tmp_path / "q.mw") == "package.unsafe-entry"


def graph(nodes, tensors=(), domain=""):
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        list(tensors),
    )
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString()


def outside(location):
    tensor = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return graph([helper.make_node("Add", ["x", "w"], ["y"])], [tensor])


HOSTILE = {
    "data-up": outside("../secret.bin"),
    "data-absolute": outside("/etc/hostname"),
    "data-link": outside("link"),
    "data-long": outside("a/" * 3000),
    "custom-operator": graph([helper.make_node("Evil", ["x"], ["y"], domain="evil")], domain="evil"),
    "cycle": graph([helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Add", ["a", "y"], ["b"])]),
    "self": graph([helper.make_node("Add", ["x", "y"], ["y"])]),
    "says-4-gigabytes": b"\x08\x08\x3a" + b"\xff\xff\xff\xff\x0f" + b"x" * 100,
    "says-more-than-there-is": b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    "groups-for-ever": b"\x3b" * 100_000,
    "nested-for-ever": b"\x3a\x7f" * 10_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_h6_hostile_graphs_are_refused_in_words_and_read_nothing_beside_them(tmp_path, name):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(struct.pack("<f", 42.5))
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "link").symlink_to(secret)
    (folder / "m.onnx").write_bytes(HOSTILE[name])
    began = time.monotonic()
    with pytest.raises(ModelwrightError) as refused:
        OnnxFileFramework().convert(folder / "m.onnx", None)
    assert refused.value.what
    assert "42.5" not in str(refused.value.to_json())
    assert time.monotonic() - began < 60  # a hang, not a speed
