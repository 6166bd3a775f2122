import dataclasses
import hashlib
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core import package_codec as codec
from modelwright.core.errors import CorruptError, ModelwrightError
from modelwright.core.native import NATIVE_ROUTE, Native
from modelwright.core.package import Description, Golden, Parity, canonical_json
from modelwright.core.signature import CategoryProfile, Feature, NumberProfile, Reference, Signature, TensorSpec

DESCRIPTION = Description("m", "sklearn", "1.9", "Pipeline", "onnx", "2026-01-01T00:00:00+00:00", "3.11")
SIGNATURE = Signature(
    inputs=(TensorSpec("X", "FP32", (-1, 2), ("a", "b")),),
    outputs=(TensorSpec("label", "INT64", (-1,)), TensorSpec("probabilities", "FP32", (-1, 2))),
    features=(
        Feature("a", "number", True, low=-1.0, high=2.5),
        Feature("b", "category", categories=("x",), null_as=""),
    ),
    task="binary",
    classes=("0", "1"),
    label_output="label",
    score_output="probabilities",
    target="late",
)
GOLDEN = Golden({"X": [[1.0, 2.0]]}, {"label": [1], "probabilities": [[0.25, 0.75]]}, 1)
REFERENCE = Reference(
    10,
    {"a": NumberProfile((0.0, 1.0), (3, 3, 4), 0, 10, 0.5, 1.0, -1.0, 2.5, -1.0, 2.5, ((0.0, 2),))},
    {"b": CategoryProfile({"x": 9}, 0, 1, 10, 0)},
    base_rate=0.25,
)
PARITY = Parity(5, 1e-7, 1e-8, 3, 0, 1e-4, True, "FP32", ({"numeric_type": "FP32", "holds": True},))


def files(**changed):
    return {
        codec.DESCRIPTION: codec.description_json(DESCRIPTION),
        codec.SIGNATURE: codec.signature_json(SIGNATURE),
        codec.GOLDEN: codec.golden_json(GOLDEN),
        codec.REFERENCE: codec.reference_json(REFERENCE),
        codec.PARITY: codec.parity_json(PARITY),
        codec.MODEL: b"graph",
    } | changed


class Blobs(dict):
    def put(self, content):
        digest = hashlib.sha256(content).hexdigest()
        self[digest] = content
        return digest


def test_every_record_comes_back_as_it_was():
    package = codec.assemble("m", files())
    assert package.description == DESCRIPTION
    assert package.signature == SIGNATURE
    assert package.golden == GOLDEN
    assert package.reference == REFERENCE
    assert package.parity == PARITY


def test_a_stored_package_loads_by_its_digest_and_is_the_same_package():
    blobs = Blobs()
    package = codec.assemble("m", files())
    digest = codec.store(package, blobs.put)
    assert digest == package.digest
    assert codec.load(digest, blobs.__getitem__) == package


def test_the_manifest_is_put_last():
    order = []
    blobs = Blobs()

    def put(content):
        order.append(content)
        return blobs.put(content)

    package = codec.assemble("m", files())
    codec.store(package, put)
    assert order[-1] == canonical_json(package.manifest.to_json())
    assert len(order) == len(package.manifest.files) + 1


def test_equal_files_have_equal_digests_in_any_order():
    reversed_files = dict(reversed(list(files().items())))
    assert codec.assemble("m", files()).digest == codec.assemble("m", reversed_files).digest
    assert codec.assemble("m", files()).digest != codec.assemble("n", files()).digest


def test_any_changed_byte_of_any_file_is_found():
    blobs = Blobs()
    package = codec.assemble("m", files())
    digest = codec.store(package, blobs.put)
    for name, entry in package.manifest.files.items():
        original = blobs[entry.sha256]
        blobs[entry.sha256] = original[:-1] + bytes([original[-1] ^ 1])
        with pytest.raises(CorruptError) as caught:
            codec.load(digest, blobs.__getitem__).read(name)
        assert caught.value.code == "package.corrupt"
        blobs[entry.sha256] = original


def test_a_manifest_under_another_digest_is_corrupt():
    blobs = Blobs()
    digest = codec.store(codec.assemble("m", files()), blobs.put)
    other = codec.store(codec.assemble("m", files(extra=b"1")), blobs.put)
    blobs[digest] = blobs[other]
    with pytest.raises(CorruptError, match="does not match its digest"):
        codec.load(digest, blobs.__getitem__)


def test_a_newer_format_version_is_named():
    package = codec.assemble("m", files())
    manifest = package.manifest.to_json() | {"format_version": 2}
    with pytest.raises(CorruptError) as caught:
        codec.manifest_from_json(canonical_json(manifest))
    assert caught.value.code == "package.unknown-format-version"


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"name": "../x"},
        {"name": "Upper"},
        {"extra": 1},
        {"files": {"a": {"sha256": "0" * 64}}},
        {"files": {"a": {"sha256": "0" * 63, "size": 1}}},
        {"files": {"a": {"sha256": "0" * 64, "size": -1}}},
        {"files": {"a": {"sha256": "0" * 64, "size": True}}},
        {"files": {"manifest.json": {"sha256": "0" * 64, "size": 1}}},
        {"files": []},
    ],
)
def test_a_manifest_that_is_not_one_is_malformed(change):
    manifest = codec.assemble("m", files()).manifest.to_json() | change
    with pytest.raises(CorruptError) as caught:
        codec.manifest_from_json(canonical_json(manifest))
    assert caught.value.code == "package.malformed"


@pytest.mark.parametrize(
    "name", ["/a", "../a", "a/../b", "a//b", "a\\b", "C:a", "a\x00b", ".", "", "a/b/c/d/e/f/g/h/i/j/k", "a/"]
)
def test_unsafe_file_names_are_refused(name):
    assert not codec.is_safe_file_name(name)
    with pytest.raises(CorruptError):
        codec.assemble("m", files(**{name: b""}))


@pytest.mark.parametrize("name", ["a", "data/b.txt", "a/b/c/d", "model.onnx", ".hidden"])
def test_plain_relative_names_are_allowed(name):
    assert codec.is_safe_file_name(name)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"name": 1}',
        b"[" * 100_000,
        b'{"rows": NaN}',
        b'{"rows": 1, "rows": 2}',
        b"1" * 5000,
    ],
)
def test_bytes_that_are_no_record_are_malformed(content):
    with pytest.raises(CorruptError) as caught:
        codec.reference_from_json(content)
    assert caught.value.code == "package.malformed"


@pytest.mark.parametrize(
    "change",
    [
        {"task": "guess"},
        {"label_output": "nothing"},
        {"classes": ["only"]},
        {"inputs": [{"name": "X", "datatype": "FP31", "shape": [-1]}]},
        {"inputs": [{"name": "X", "datatype": "FP32", "shape": [-2]}]},
        {"inputs": [{"name": "X", "datatype": "FP32", "shape": ["n"]}]},
        {"inputs": [{"name": "X", "datatype": "FP32", "shape": [1]}] * 2},
        {"unknown": 1},
    ],
)
def test_a_signature_that_contradicts_itself_is_malformed(change):
    record = json.loads(codec.signature_json(SIGNATURE)) | change
    with pytest.raises(CorruptError) as caught:
        codec.signature_from_json(canonical_json(record))
    assert caught.value.code == "package.malformed"


def test_numbers_that_json_lacks_survive():
    odd = dataclasses.replace(REFERENCE.numbers["a"], mean=math.nan, low=-math.inf, high=math.inf)
    back = codec.reference_from_json(codec.reference_json(Reference(1, {"a": odd}))).numbers["a"]
    assert math.isnan(back.mean)
    assert (back.low, back.high) == (-math.inf, math.inf)
    golden = Golden({"X": [[math.nan], [math.inf]]}, {}, 2)
    stored = codec.golden_from_json(codec.golden_json(golden))
    tensor = codec.golden_tensors([TensorSpec("X", "FP32", (-1, 1))], stored.inputs)["X"]
    assert np.isnan(tensor[0, 0])
    assert tensor[1, 0] == np.inf
    assert tensor.dtype == np.float32


def test_golden_values_that_do_not_fit_their_datatype_are_malformed():
    with pytest.raises(CorruptError):
        codec.golden_tensors([TensorSpec("X", "INT64", (-1,))], {"X": ["word"]})


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**63 - 1), st.text())
def test_golden_values_are_exact(number, whole, text):
    golden = Golden({"a": [number], "b": [whole], "c": [text.encode(errors="replace").decode()]}, {}, 1)
    assert codec.golden_from_json(codec.golden_json(golden)) == golden


@given(st.data())
def test_a_mutated_record_decodes_or_is_a_modelwright_error(data):
    content = bytearray(codec.signature_json(SIGNATURE))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        codec.signature_from_json(bytes(content))
    except ModelwrightError as error:
        assert error.code == "package.malformed"  # noqa: PT017 - the other outcome is as good


def test_a_native_model_says_how_it_is_opened_and_no_other_package_does():
    native = Native("sklearn", "model.joblib", isolation="standard", idempotent=False)
    held = {
        codec.DESCRIPTION: codec.description_json(dataclasses.replace(DESCRIPTION, route=NATIVE_ROUTE)),
        codec.SIGNATURE: codec.signature_json(SIGNATURE),
        codec.NATIVE: codec.native_json(native),
        "model.joblib": b"pickled",
    }
    assert codec.assemble("m", held).native == native
    for broken in (
        {codec.DESCRIPTION: codec.description_json(DESCRIPTION)},
        {codec.NATIVE: codec.native_json(dataclasses.replace(native, file="another.joblib"))},
    ):
        with pytest.raises(CorruptError, match="cannot be read"):
            codec.assemble("m", held | broken)
