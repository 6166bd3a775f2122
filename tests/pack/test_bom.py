"""The bill of materials, against the schema of CycloneDX 1.6 and against the package that it is in."""

import hashlib
import json

import joblib
import numpy as np
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from sklearn.linear_model import LogisticRegression

from modelwright.adapters.frameworks.sklearn import SklearnFramework
from modelwright.core.native import Native
from modelwright.core.table import Table
from modelwright.pack import Evidence, build
from modelwright.ports.framework import Conversion

AT = "2026-01-01T00:00:00+00:00"


@pytest.fixture(scope="module")
def conversion():
    random = np.random.default_rng(0)
    rows = random.normal(size=(80, 2))
    table = Table({"a": rows[:, 0], "b": rows[:, 1]})
    return SklearnFramework().convert(LogisticRegression().fit(rows, rows[:, 0] > 0), table, target="late"), table


def of(package):
    content = package.read("bom.cdx.json")
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(content.decode())
    assert problem is None, problem
    return json.loads(content)


SAID = Evidence(
    purpose="Tell gates which flights will be late.",
    license="Apache-2.0",
    data="Flights out of New York",
    limits="Snow is rare in it.",
    evaluation={"roc_auc": 0.81234567},
)


def test_a_bill_of_materials_is_strictly_valid_and_carries_the_model_card(conversion):
    package = build(conversion[0], name="late", examples=conversion[1], evidence=SAID, created_at=AT)
    held = of(package)
    model = held["metadata"]["component"]
    card = model["modelCard"]
    assert (model["type"], model["name"]) == ("machine-learning-model", "late")
    assert card["modelParameters"]["task"] == "binary classification"
    assert card["modelParameters"]["modelArchitecture"] == "LogisticRegression"
    assert card["modelParameters"]["datasets"][0]["description"] == "Flights out of New York"
    assert [one["format"].split(":")[0] for one in card["modelParameters"]["inputs"]] == [
        spec.name for spec in package.signature.inputs
    ]
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [{"type": "roc_auc", "value": "0.812346"}]
    assert card["considerations"]["useCases"] == [SAID.purpose]
    assert model["licenses"] == [{"license": {"name": "Apache-2.0"}}]


def test_a_schema_that_is_violated_is_found(conversion):
    package = build(conversion[0], name="late", examples=conversion[1], created_at=AT)
    held = of(package)
    held["metadata"]["component"]["modelCard"]["colour"] = "blue"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(held)) is not None


def test_every_distribution_of_the_environment_is_a_component_with_its_purl_and_digest(conversion):
    package = build(conversion[0], name="late", examples=conversion[1], created_at=AT)
    held = of(package)
    libraries = {part["name"]: part for part in held["components"] if part["type"] == "library"}
    locked = {row["name"]: row for row in json.loads(package.read("environment.json"))}
    assert libraries.keys() == locked.keys() >= {"scikit-learn", "numpy"}
    for name, row in locked.items():
        assert libraries[name]["purl"] == f"pkg:pypi/{name}@{row['version']}"
        (record,) = libraries[name]["components"]
        assert record["hashes"] == [{"alg": "SHA-256", "content": row["record_sha256"]}]
    assert set(held["dependencies"][0]["dependsOn"]) == {part["bom-ref"] for part in libraries.values()}


def test_the_model_s_file_is_named_with_the_digest_it_has(conversion):
    package = build(conversion[0], name="late", examples=conversion[1], created_at=AT)
    (file,) = [part for part in of(package)["components"] if part["type"] == "file"]
    digest = hashlib.sha256(package.read("model.onnx")).hexdigest()
    assert (file["name"], file["hashes"][0]["content"]) == ("model.onnx", digest)


def test_the_same_build_gives_the_same_bytes_and_another_another_serial_number(conversion):
    first, again = (build(conversion[0], name="late", examples=conversion[1], created_at=AT) for _ in range(2))
    other = build(conversion[0], name="late", examples=conversion[1], created_at="2026-01-02T00:00:00+00:00")
    assert first.digest == again.digest
    assert of(first)["serialNumber"] != of(other)["serialNumber"]


def test_a_model_that_runs_as_code_and_names_that_need_quoting_are_valid(conversion, tmp_path):
    given = conversion[0]
    joblib.dump({}, tmp_path / "m.joblib")
    native = Conversion(
        onnx=b"",
        signature=given.signature,
        parity=None,
        inputs={},
        outputs={},
        framework="sklearn",
        framework_version="1.9",
        model_class="Ünïcode <Model>",
        environment=({"name": "torch", "version": "2.13.0+cu130", "record_sha256": ""},),
        native=Native("sklearn", "model.joblib"),
        files={"model.joblib": (tmp_path / "m.joblib").read_bytes()},
    )
    held = of(build(native, name="odd", created_at=AT))
    (library,) = [part for part in held["components"] if part["type"] == "library"]
    assert library["purl"] == "pkg:pypi/torch@2.13.0%2Bcu130"
    assert {part["name"] for part in held["components"] if part["type"] == "file"} == {"model.joblib", "native.json"}
