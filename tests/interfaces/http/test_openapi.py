import json
from dataclasses import replace

import jsonschema
import numpy as np
import pandas as pd
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import modelwright as mw
from modelwright.core import package_codec
from modelwright.core.examples import complete_rows, flat, whole
from modelwright.core.package import Golden
from modelwright.core.signature import DATATYPES, Feature, InputPolicy, Signature, TensorSpec
from modelwright.core.version import Arm, Route, RoutingTable
from modelwright.interfaces.http import openapi, openapi_schemas
from modelwright.interfaces.http.openapi_dialects import BODIES, ERRORS, SCHEMAS
from modelwright.interfaces.http.routes import ROUTES


@pytest.fixture(scope="module")
def delay():
    """Text and number columns; label and probabilities come back."""
    random = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "carrier": random.choice(["UA", "AA", "DL"], 60),
            "hour": random.integers(0, 24, 60).astype(float),
            "temp": random.normal(10, 5, 60),
        }
    )
    late = (rows["hour"] > 15).astype(int)
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["carrier"]), (StandardScaler(), ["hour", "temp"])
    )
    model = make_pipeline(columns, LogisticRegression()).fit(rows, late)
    return mw.pack(model, examples=rows, name="delay").package


@pytest.fixture(scope="module")
def plane_fit():
    """One input that holds both features."""
    rows = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    return mw.pack(LinearRegression().fit(rows, rows.sum(axis=1)), examples=rows, name="plane").package


@pytest.fixture
def served(serve, delay, plane_fit, sum_package, echo_package):
    kinds = {name: (name, (-1, 1)) for name in ("BOOL", "INT8", "UINT64", "BYTES", "FP64")}
    return serve(
        delay, plane_fit, sum_package(), echo_package("echo", kinds), echo_package("cube", {"x": ("FP32", (2, 3))})
    )


MODELS = ("delay", "plane", "total", "echo", "cube")
PATHS = ["/openapi.json"] + [
    f"/v2/models/{model}{version}/openapi.json" for model in MODELS for version in ("", "/versions/1")
]


def _operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _validator(document, name):
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return jsonschema.Draft202012Validator(schema)


def _posts(server):
    """Every operation of every model's document that has an example."""
    for path in PATHS[1:]:
        document = server.request("GET", path).body
        for address, method, operation in _operations(document):
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if "examples" in content:
                answer = operation["responses"]["200"]["content"]["application/json"]["examples"]
                yield (
                    document,
                    method.upper(),
                    address,
                    content["examples"]["golden"]["value"],
                    answer["golden"]["value"],
                )


def test_the_documents_are_valid_openapi(served):
    for path in PATHS:
        answer = served.request("GET", path)
        assert answer.status == 200, path
        assert not list(OpenAPIV31SpecValidator(answer.body).iter_errors()), path


def test_every_route_is_in_the_document_with_a_summary_its_permission_and_known_bodies():
    paths = openapi.document()["paths"]
    for route in ROUTES:
        operation = paths[route.pattern][route.method.decode().lower()]
        assert operation["summary"]
        assert operation["x-modelwright-permission"] == route.permission
        assert (operation.get("security") == []) is (route.permission is None)
        bodies = BODIES[route.endpoint]
        assert {bodies.gives, bodies.takes or bodies.gives, ERRORS[route.errors]} <= set(SCHEMAS)


def test_a_document_asks_for_a_token_where_the_server_does(serve, sum_package):
    server = serve(sum_package(), authenticate=True)
    told = server.request("GET", "/openapi.json", token="mw_predictor").body
    assert told["security"] == [{"token": []}]
    assert told["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert openapi.document(authenticate=False)["security"] == []


def test_every_example_fits_its_schema_and_gets_the_documented_answer(served):
    seen = set()
    for document, method, address, asked, told in _posts(served):
        v2 = address.endswith("/infer")
        taken, given = ("InferRequest", "InferAnswer") if v2 else ("PredictRequest", "PredictAnswer")
        _validator(document, taken).validate(asked)
        _validator(document, given).validate(told)
        answer = served.request(method, address, asked)
        assert answer.status == 200, answer.body
        _validator(document, given).validate(answer.body)
        assert _near(answer.body, told)
        seen.add(address.replace("/versions/1", "").rpartition("/")[2] + address.split("/")[1])
    assert seen == {"inferv2", "delay:predictv1", "plane:predictv1", "total:predictv1"}


def _near(left, right):
    """Equal but for the last digits of numbers."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_near(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_near, left, right))
    return left == pytest.approx(right, rel=1e-5, abs=1e-5) if isinstance(left, float) else left == right


def test_what_the_server_refuses_does_not_fit_the_schema(served):
    document, _, address, asked, _ = next(found for found in _posts(served) if found[2] == "/v2/models/delay/infer")
    schema = _validator(document, "InferRequest")

    def changed(change):
        body = json.loads(json.dumps(asked))
        change(body["inputs"])
        return body

    for change in (
        lambda inputs: inputs.pop(),
        lambda inputs: inputs[0].update(name="nobody"),
        lambda inputs: inputs[0].update(datatype="INT8"),
        lambda inputs: inputs[0].update(data=[[1.5], [2.5]]),
        lambda inputs: inputs[1].update(data=["text", "text"]),
        lambda inputs: inputs[1].update(shape=[2, 2]),
        lambda inputs: inputs[1].pop("data"),
        lambda inputs: inputs.append(inputs[0]),
    ):
        body = changed(change)
        assert served.request("POST", address, body).status == 400
        assert list(schema.iter_errors(body)), body
    for change in (
        lambda inputs: inputs.reverse(),
        lambda inputs: inputs[1].update(data=[[3.0], [4.0]]),
        lambda inputs: inputs[1].update(shape=[2]),
        lambda inputs: inputs[0].update(datatype="STRING", data=["never seen", "UA"]),
    ):
        body = changed(change)
        assert served.request("POST", address, body).status == 200
        schema.validate(body)


def test_the_schema_tells_what_was_seen_and_demands_none_of_it(served, delay):
    text = json.dumps(served.request("GET", "/v2/models/delay/openapi.json").body)
    schema = served.request("GET", "/v2/models/delay/openapi.json").body["components"]["schemas"]["PredictRequest"]
    fields = schema["properties"]["instances"]["items"]["anyOf"][0]["properties"]
    hour = fields["hour"]["anyOf"][0]
    seen = next(feature for feature in delay.signature.features if feature.name == "hour")
    assert hour["x-modelwright-seen"] == {"low": seen.low, "high": seen.high}
    assert "minimum" not in hour
    assert sorted(fields["carrier"]["anyOf"][0]["examples"]) == ["AA", "DL", "UA"]
    assert "Classes: 0, 1." in text


def test_null_is_a_number_where_no_feature_describes_the_tensor(serve, sum_package):
    server = serve(sum_package())
    schema = _validator(server.request("GET", "/v2/models/total/openapi.json").body, "PredictRequest")
    body = {"instances": [[1.0, 2.0, None]]}
    said = server.request("POST", "/v1/models/total:predict", body).headers["modelwright-error"]
    assert said == "serve.not-json"  # taken, and the sum is no number
    schema.validate(body)


@pytest.mark.parametrize("datatype", DATATYPES)
def test_the_schema_of_an_element_has_the_bounds_of_its_datatype(serve, echo_package, datatype):
    server = serve(echo_package("echo", {"x": (datatype, (-1, 1))}))
    schema = jsonschema.Draft202012Validator(openapi_schemas.element(datatype))
    for value in (True, 1, 0, -1, 127, 128, 255, 256, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 0.5, "a", None):
        taken = server.infer("echo", ("x", datatype, [1, 1], [value])).status == 200
        if datatype != "FP16":  # a number may be too large for it, which a schema of numbers does not say
            assert schema.is_valid(value) is taken, value


def test_null_is_in_the_schema_exactly_where_the_server_takes_it(serve, echo_package):
    kinds = {name: (name, (-1, 1)) for name in ("FP32", "INT64", "BYTES")}
    features = tuple(Feature(name, "number", nullable=True, null_as="none") for name in kinds)
    server = serve(echo_package("echo", kinds, features))
    values = {"FP32": 1.5, "INT64": 1, "BYTES": "a"}
    document = server.request("GET", "/v2/models/echo/openapi.json").body
    schema = _validator(document, "InferRequest")
    for hole in kinds:
        body = {
            "inputs": [
                {"name": name, "datatype": name, "shape": [1, 1], "data": [None if name == hole else values[name]]}
                for name in kinds
            ]
        }
        # the echo of a missing number is NaN, which no JSON answer can hold
        said = server.request("POST", "/v2/models/echo/infer", body).headers.get("modelwright-error", "")
        taken = said in {"", "serve.not-json"}
        assert taken is (hole != "INT64")
        assert schema.is_valid(body) is taken, hole


@pytest.mark.parametrize("action", ["accept", "warn", "reject", "coerce"])
def test_the_schema_demands_what_was_seen_exactly_where_the_policy_refuses_the_rest(serve, echo_package, action):
    features = (
        Feature("temp", "number", low=float(np.float32(0.1)), high=35.0),
        Feature("carrier", "category", categories=("AA", "UA"), nullable=True, null_as="none"),
        Feature("origin", "category", categories=("EWR",)),
    )
    kinds = {"temp": ("FP32", (-1, 1)), "carrier": ("BYTES", (-1, 1)), "origin": ("BYTES", (-1, 1))}
    plain = echo_package("echo", kinds, features)
    signature = replace(plain.signature, policy=InputPolicy(action, action))
    held = {name: plain.read(name) for name in plain.manifest.files}
    server = serve(package_codec.assemble("echo", held | {"signature.json": package_codec.signature_json(signature)}))
    document = server.request("GET", "/v2/models/echo/openapi.json").body
    schema = _validator(document, "InferRequest")
    good = {"temp": 0.1, "carrier": "AA", "origin": "EWR"}
    for change in (
        {},
        {"temp": 99},
        {"temp": 35},
        {"carrier": "XX"},
        {"carrier": None},
        {"carrier": "none"},
        {"origin": "X"},
    ):
        body = {
            "inputs": [
                {"name": name, "datatype": kinds[name][0], "shape": [1, 1], "data": [value]}
                for name, value in (good | change).items()
            ]
        }
        taken = server.request("POST", "/v2/models/echo/infer", body).status == 200
        assert schema.is_valid(body) is taken, change
    assert not list(OpenAPIV31SpecValidator(document).iter_errors())


def test_an_unknown_model_or_version_has_no_document(served):
    assert served.request("GET", "/v2/models/none/openapi.json").status == 404
    assert served.request("GET", "/v2/models/total/versions/9/openapi.json").status == 404


def test_a_new_table_renews_the_documents(serve, sum_package):
    old, new = sum_package(), sum_package(width=2)
    server = serve(old)
    assert 'maxItems": 3' in json.dumps(server.request("GET", "/v2/models/total/openapi.json").body)
    server._packages[new.digest] = new
    route = Route("total", (Arm("2", new.digest, 1.0, "champion"),))
    server._table = RoutingTable(2, {"total": route}, (), authenticate=False)
    server.load()
    told = server.request("GET", "/v2/models/total/openapi.json").body
    assert told["info"]["version"] == "2"
    assert 'maxItems": 3' not in json.dumps(told)


def test_a_golden_row_with_a_gap_is_no_example():
    signature = Signature((TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1,)),))
    golden = Golden({"x": [[1.0, None], [1.0, 2.0], [3.0, 4.0]]}, {"y": [1.0, "Infinity", 7.0]}, 3)
    assert complete_rows(golden, signature, most=2) == Golden({"x": [[3.0, 4.0]]}, {"y": [7.0]}, 1)
    assert whole(golden, signature) is None
    assert complete_rows(Golden({"x": []}, {"y": []}, 0), signature, most=2) is None
    assert flat([[1, [2]], 3]) == [1, 2, 3]
