"""The same rows get the same verdict everywhere: REST in JSON and binary, V1, gRPC both ways, and Python."""

import json
import math
import struct
import urllib.error
import urllib.request
import warnings
from urllib.parse import unquote

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from modelwright.core.errors import ModelwrightError
from modelwright.core.signature import Feature, InputPolicy
from modelwright.interfaces.embedded import PackedModel

FEATURES = (
    Feature("temp", "number", low=-10.0, high=35.0),
    Feature("wind", "number", nullable=True, low=0.0, high=40.0),
    Feature("hour", "number", low=0, high=23),
    Feature("carrier", "category", categories=("AA", "UA"), null_as="?"),
    Feature("gate", "category", nullable=True, categories=("A1", "B2"), null_as="none"),
)
TYPES = {"temp": "FP64", "wind": "FP32", "hour": "INT64", "carrier": "BYTES", "gate": "BYTES"}
FIELDS = {"FP64": "fp64_contents", "FP32": "fp32_contents", "INT64": "int64_contents", "BYTES": "bytes_contents"}
PACK = {"FP64": "<d", "FP32": "<f", "INT64": "<q"}
POLICIES = {
    "taking": InputPolicy(not_finite="accept"),
    "plain": InputPolicy(),
    "warning": InputPolicy("warn", "warn"),
    "strict": InputPolicy("reject", "reject"),
    "mending": InputPolicy("coerce", "coerce"),
}


@pytest.fixture(scope="module")
def packages(echo_package):
    tensors = {name: (datatype, (-1, 1)) for name, datatype in TYPES.items()}
    return {name: echo_package(name, tensors, FEATURES, policy) for name, policy in POLICIES.items()}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, gateway_process, packages):
    process = gateway_process(tmp_path_factory.mktemp("verdict") / "home", list(packages.values()), "--no-auth")
    yield process
    assert process.stop() == 0


def post(gateway, path, body, headers):
    """Verdict of a REST request: its error's code, and what was reported."""
    request = urllib.request.Request(f"{gateway.http}{path}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return "", unquote(answer.headers.get("modelwright-warnings", ""))
    except urllib.error.HTTPError as error:
        if error.code >= 500:
            return f"HTTP {error.code}", ""
        return error.headers["modelwright-error"], ""


def as_json(gateway, model, columns):
    inputs = [
        {"name": name, "shape": [len(values), 1], "datatype": TYPES[name], "data": values}
        for name, values in columns.items()
    ]
    body = {"inputs": inputs, "parameters": {"binary_data_output": True}}
    return post(gateway, f"/v2/models/{model}/infer", json.dumps(body).encode(), {})


def as_instances(gateway, model, columns):
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    code, told = post(gateway, f"/v1/models/{model}:predict", json.dumps({"instances": rows}).encode(), {})
    return None if code == "serve.not-json" else (code, told)  # taken, but NaN cannot be said in the answer


def raw(name, values):
    if TYPES[name] == "BYTES":
        return b"".join(struct.pack("<I", len(value)) + value.encode() for value in values)
    return b"".join(struct.pack(PACK[TYPES[name]], math.nan if value is None else value) for value in values)


def as_binary(gateway, model, columns):
    tails = {name: raw(name, values) for name, values in columns.items()}
    inputs = [
        {
            "name": name,
            "shape": [len(values), 1],
            "datatype": TYPES[name],
            "parameters": {"binary_data_size": len(tails[name])},
        }
        for name, values in columns.items()
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    body = head + b"".join(tails.values())
    return post(gateway, f"/v2/models/{model}/infer", body, {"Inference-Header-Content-Length": str(len(head))})


def over_grpc(gateway, model, columns, *, typed):
    request = service_pb2.ModelInferRequest(model_name=model)
    for name, values in columns.items():
        tensor = request.inputs.add(name=name, datatype=TYPES[name], shape=[len(values), 1])
        if typed:
            elements = [
                value.encode() if isinstance(value, str) else math.nan if value is None else value for value in values
            ]
            getattr(tensor.contents, FIELDS[TYPES[name]]).extend(elements)
        else:
            request.raw_input_contents.append(raw(name, values))
    try:
        _, call = gateway.stub.ModelInfer.with_call(request, timeout=20)
    except grpc.RpcError as error:
        return dict(error.trailing_metadata())["modelwright-error"], ""
    told = ", ".join(unquote(value) for key, value in call.trailing_metadata() if key == "modelwright-warnings")
    (streamed,) = gateway.stub.ModelStreamInfer(iter([request]), timeout=20)
    parameters = streamed.infer_response.parameters
    assert told == (parameters["modelwright-warnings"].string_param if "modelwright-warnings" in parameters else "")
    return "", told


def in_python(package, columns):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            PackedModel(package).predict(columns)
        except ModelwrightError as error:
            return error.code, ""
    return "", ", ".join(str(warning.message).partition(": ")[2] for warning in caught)


numbers = st.one_of(st.floats(-60, 60, width=32), st.sampled_from([None, None, math.inf, -math.inf, 0.0, 35.0, 1e30]))
row = st.fixed_dictionaries(
    {
        "temp": numbers,
        "wind": numbers,
        "hour": st.integers(-3, 30),
        "carrier": st.sampled_from(["AA", "AA", "UA", "?", "ZZ", "", None]),
        "gate": st.sampled_from(["A1", "A1", "B2", "none", "C3", None]),
    }
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(POLICIES)), st.lists(row, min_size=1, max_size=3))
def test_the_same_rows_get_the_same_verdict_everywhere(gateway, packages, model, rows):
    columns = {name: [one[name] for one in rows] for name in TYPES}
    endless = any(value in (math.inf, -math.inf) for name in ("temp", "wind") for value in columns[name])
    holes = any(value is None for name in ("carrier", "gate") for value in columns[name])
    expected = in_python(packages[model], columns)
    told = {}
    if not endless:  # JSON has no infinity
        told["json"], told["v1"] = as_json(gateway, model, columns), as_instances(gateway, model, columns)
    if not holes:  # no binary form has a missing text
        told["binary"] = as_binary(gateway, model, columns)
        told["grpc raw"] = over_grpc(gateway, model, columns, typed=False)
        told["grpc typed"] = over_grpc(gateway, model, columns, typed=True)
    told = {way: verdict for way, verdict in told.items() if verdict is not None}
    assert told == dict.fromkeys(told, expected)
