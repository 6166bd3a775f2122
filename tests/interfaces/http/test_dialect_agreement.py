"""The verdict on a row is the same in every dialect, and whatever is sent, a dialect answers in its own words."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EVENT = {"specversion": "1.0", "id": "e", "source": "s", "type": "t"}
CE_HEADERS = {f"ce-{name}": value for name, value in EVENT.items()}
ROUTES = {"predict_route": "/vertex", "health_route": "/up"}

DIALECTS = {
    "mlflow": ("/invocations", lambda rows: {"instances": rows}, {}),
    "mlflow inputs": ("/invocations", lambda rows: {"inputs": rows}, {}),
    "mlflow split": ("/invocations", lambda rows: {"dataframe_split": {"data": rows}}, {}),
    "sagemaker": ("/models/total/invoke", lambda rows: rows, {}),
    "vertex": ("/vertex", lambda rows: {"instances": rows}, {}),
    "azure": ("/score", lambda rows: {"data": rows}, {}),
    "azure input_data": ("/score", lambda rows: {"input_data": rows}, {}),
    "seldon": ("/api/v1.0/predictions", lambda rows: {"data": {"ndarray": rows}}, {}),
    "event": ("/v2/models/total/events", lambda rows: {"instances": rows}, CE_HEADERS),
    "kserve v1": ("/v1/models/total:predict", lambda rows: {"instances": rows}, {}),
    "kserve v1 inputs": ("/v1/models/total:predict", lambda rows: {"inputs": rows}, {}),
}
NUMBERS = ["1e999", "1E+2", "-0.0", "0.10000000000000001", "1e-400", "9" * 400, "01", "1.", '"\\ud800"']
ERROR_KEYS = {
    "/invocations": {"error_code", "message"},
    "/models/total/invoke": {"error"},
    "/vertex": {"error"},
    "/score": {"error"},
    "/api/v1.0/predictions": {"status"},
    "/v2/models/total/events": {"error"},
    "/v1/models/total:predict": {"error"},
}
TYPES = [
    "application/json",
    "application/json; charset=utf-16",
    "text/csv",
    "text/csv; header=absent",
    "application/jsonlines",
    "application/x-parquet",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "application/x-npy",
    "",
]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["X", "0", "1", "2"]) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)
ROWS = st.lists(st.lists(st.floats(-5, 5, width=16), min_size=3, max_size=3), min_size=1, max_size=3)
WORDS = [
    "instances", "inputs", "dataframe_split", "dataframe_records", "params", "parameters", "data", "input_data",
    "columns", "index", "ndarray", "tensor", "shape", "values", "names", "meta", "puid", "strData", "specversion", "id",
    "source", "type", "time", "subject", "data_base64", "datacontenttype",
]  # fmt: skip
BODIES = st.recursive(
    JSON | ROWS,
    lambda inner: st.dictionaries(st.sampled_from(WORDS), inner, max_size=4) | st.lists(inner, max_size=3),
    max_leaves=8,
)
CELLS = st.sampled_from(["0", "1", "2", "X", "", '"', "1e5", "-3.5", "nan", "a,b", "\r", "\0", "\ufeff"])
CSV = st.lists(st.lists(CELLS, max_size=4)).map(lambda rows: "\n".join(",".join(row) for row in rows).encode())
PARQUET = st.binary(max_size=60).map(lambda inner: b"PAR1" + inner + len(inner).to_bytes(4, "little") + b"PAR1")
HEADERS = st.dictionaries(
    st.sampled_from(["Accept", "Modelwright-Model", "ce-subject", "ce-time", "ce-id", "ce-specversion"]),
    st.sampled_from(["total", "", "1.0", "text/csv", "*/*;q=0", "%ff", "%0d%0a", "a;b=c,,", "2020-01-01", "x" * 200]),
)
SETTINGS = settings(
    max_examples=max(60, settings.default.max_examples),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def server(serve, sum_package):
    return serve(sum_package(bias=0.5), **ROUTES)


def flattened(value):
    """Every number in a body, in its order."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for inner in value for number in flattened(inner)]
    return [value] if isinstance(value, float) else []


def ask(server, dialect, rows):
    path, wrap, headers = DIALECTS[dialect]
    return server.request("POST", path, json.dumps(wrap(rows)), headers)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "rows",
    [
        [[1.0, 2.0, 3.0], [4.25, -5.0, 0.0]],
        [[1, 2, 3]],
        [[1, 2, "3"]],
        [[1, 2, True]],
        [[1, 2, None]],
        [[1, 2, 1e39]],
        [[1, 2, 10**30]],
        [[1, 2, [3]]],
        [[1, 2]],
        [[1, 2, 3], [1, 2]],
        [[[1, 2, 3]]],
        [[1, 2, float("nan")]],
    ],
    ids=str,
)
def test_the_verdict_is_that_of_the_open_inference_protocol(server, dialect, rows):
    shape, inner = [], rows
    while isinstance(inner, list):
        shape.append(len(inner))
        inner = inner[0]
    second = server.infer("total", ("X", "FP32", shape, rows))
    answer = ask(server, dialect, rows)
    assert answer.status == second.status
    assert answer.headers.get("modelwright-error") == second.headers.get("modelwright-error")
    if answer.status == 200:
        assert flattened(answer.body) == second.body["outputs"][0]["data"]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "value", ["1e999", "1E+2", "-0.0", "0.10000000000000001", "1e-400", "9" * 400, "01", "1.", '"\\ud800"']
)
def test_the_verdict_on_a_number_as_it_is_written_is_the_same(server, dialect, value):
    rows = f"[[1, 2, {value}]]"
    path, wrap, headers = DIALECTS[dialect]
    question = {"inputs": [{"name": "X", "datatype": "FP32", "shape": [1, 3], "data": "@"}]}
    second = server.request("POST", "/v2/models/total/infer", json.dumps(question).replace('"@"', rows))
    answer = server.request("POST", path, json.dumps(wrap("@")).replace('"@"', rows), headers)
    assert answer.headers.get("modelwright-error") == second.headers.get("modelwright-error")
    if answer.status == 200:
        assert flattened(answer.body) == second.body["outputs"][0]["data"]


def settle(server, path, body, headers):
    """Whatever is asked, the answer is a prediction or a refusal in the dialect's form."""
    answer = server.request("POST", path, body, headers)
    assert answer.status < 500
    if answer.status != 200:
        assert answer.headers["content-type"] == "application/json"
        assert answer.body.keys() == ERROR_KEYS[path]
        assert "Traceback" not in json.dumps(answer.body)


@pytest.mark.parametrize("path", ERROR_KEYS)
@SETTINGS
@given(body=BODIES, media=st.sampled_from(TYPES), headers=HEADERS)
def test_any_json_is_answered_in_the_form_of_the_dialect(server, path, body, media, headers):
    settle(server, path, json.dumps(body), {"Content-Type": media, **headers})


@pytest.mark.parametrize("path", ERROR_KEYS)
@SETTINGS
@given(body=st.binary(max_size=80) | CSV | PARQUET, media=st.sampled_from(TYPES), headers=HEADERS)
def test_any_bytes_are_answered_in_the_form_of_the_dialect(server, path, body, media, headers):
    settle(server, path, body, {"Content-Type": media, **headers})


@SETTINGS
@given(changes=st.dictionaries(st.sampled_from([*EVENT, "data", "time", "subject"]), JSON, max_size=3), rows=ROWS)
def test_any_event_of_a_batch_gets_an_event(server, changes, rows):
    batch = [{**EVENT, "data": {"instances": rows}, **changes}, {**EVENT, "data": {"instances": rows}}]
    media = {"Content-Type": "application/cloudevents-batch+json"}
    answer = server.request("POST", "/v2/models/total/events", json.dumps(batch), media)
    first, second = json.loads(answer.body)
    assert first["type"].startswith("org.modelwright.prediction")
    assert second["type"] == "org.modelwright.prediction"
    assert flattened(second["data"]) == server.rows("total", rows)
