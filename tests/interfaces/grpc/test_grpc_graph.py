"""A graph in a real gateway process, asked over REST and gRPC: both give the same answers, which NumPy agrees with."""

import json
import urllib.request

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from modelwright.core.graph import Case, Ensemble, Fallback, Node, Switch
from modelwright.core.package import Golden

ROWS = {
    "a": np.array([0.1, 1.2, -0.7], np.float32),
    "b": np.array([1.0, -1.0, 0.5], np.float32),
}


def _sigmoid(value):
    return 1 / (1 + np.exp(-value.astype(np.float64)))


def _expected():
    small, large = _sigmoid(ROWS["a"]), _sigmoid(ROWS["a"] + 2 * ROWS["b"])
    return np.where(ROWS["b"] < 0, small, (small + 3 * large) / 4)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, gateway_process, graph_package, linear_package):
    nodes = {
        "small": linear_package("small", ("a",), (1.0,)),
        "large": linear_package("large", ("a", "b"), (1.0, 2.0)),
        "both": Node(ensemble=Ensemble(("small", "large"), "mean", (1.0, 3.0))),
        "sides": Node(switch=Switch("b", (Case("small", high=0.0),), "both")),
        "safe": Node(fallback=Fallback("sides", "small", 30_000.0)),
    }
    chance = _expected()
    golden = Golden(
        {name: value.reshape(-1, 1).tolist() for name, value in ROWS.items()},
        {"label": (chance > 0.5).astype(int).tolist(), "probabilities": np.stack([1 - chance, chance], 1).tolist()},
        3,
    )
    package = graph_package("flights", nodes, "safe", golden=golden, row_independent=False)
    process = gateway_process(tmp_path_factory.mktemp("graph") / "home", [package], "--no-auth")
    yield process
    assert process.stop() == 0


def _ask(gateway, path, body=None):
    request = urllib.request.Request(gateway.http + path, data=None if body is None else json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def test_rest_and_grpc_answer_a_graph_as_one_model(gateway):
    inputs = [
        {"name": name, "datatype": "FP32", "shape": [3, 1], "data": value.tolist()} for name, value in ROWS.items()
    ]
    rest = {
        one["name"]: one["data"] for one in _ask(gateway, "/v2/models/flights/infer", {"inputs": inputs})["outputs"]
    }
    np.testing.assert_allclose(np.reshape(rest["probabilities"], (3, 2))[:, 1], _expected(), rtol=1e-5)

    request = service_pb2.ModelInferRequest(model_name="flights")
    for name, value in ROWS.items():
        tensor = request.inputs.add(name=name, datatype="FP32", shape=[3, 1])
        tensor.contents.fp32_contents.extend(value.tolist())
    reply = gateway.stub.ModelInfer(request, timeout=60, wait_for_ready=True)
    by_name = {output.name: output.contents for output in reply.outputs}
    np.testing.assert_allclose(list(by_name["probabilities"].fp32_contents), np.ravel(rest["probabilities"]), rtol=1e-6)


def test_the_metadata_and_the_openapi_document_are_those_of_one_model(gateway):
    metadata = _ask(gateway, "/v2/models/flights")
    assert [one["name"] for one in metadata["inputs"]] == ["a", "b"]
    assert [one["name"] for one in metadata["outputs"]] == ["label", "probabilities"]
    assert "flights" in json.dumps(_ask(gateway, "/v2/models/flights/openapi.json"))
