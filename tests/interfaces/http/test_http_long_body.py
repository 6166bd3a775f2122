"""Long bodies are received straight into their place."""

import json
import time

import numpy as np
import pytest

WIDTH = 50_000


@pytest.fixture
def wide(serve, echo_package):
    """A server that echoes rows of many numbers."""
    return serve(echo_package("wide", {"x": ("FP32", (-1, WIDTH))}), max_body_bytes=2**20)


def request_of(rows, *, more=b"", space=0):
    raw = rows.astype("<f4").tobytes()
    tensor = {"name": "x", "shape": list(rows.shape), "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode() + b" " * space
    lines = b"inference-header-content-length: %d\r\ncontent-length: %d\r\n" % (len(head), len(head) + len(raw))
    return b"POST /v2/models/wide/infer HTTP/1.1\r\nhost: x\r\n%b%b\r\n%b%b" % (lines, more, head, raw)


def answer_of(file):
    status, sizes = int(file.readline().split()[1]), {}
    while line := file.readline().strip():
        name, _, value = line.partition(b":")
        sizes[name.lower()] = value
    body = file.read(int(sizes[b"content-length"]))
    if status != 200:
        return status, json.loads(body)
    return status, np.frombuffer(body[int(sizes[b"inference-header-content-length"]) :], "<f4")


def rows_of(seed):
    return np.random.default_rng(seed).random((1, WIDTH), np.float32)


@pytest.mark.parametrize("piece", [1000, 70_000, 10**7])
def test_long_bodies_in_pieces_of_any_size_come_back_whole_with_short_requests_between(wide, piece):
    health = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n"
    stream = b"".join(request_of(rows_of(seed), space=seed) + health for seed in range(6))
    with wide.connect() as client:
        file = client.makefile("rb")
        for start in range(0, len(stream), piece):
            client.sendall(stream[start : start + piece])
        for seed in range(6):
            status, values = answer_of(file)
            assert status == 200
            np.testing.assert_array_equal(values, rows_of(seed)[0])
            assert answer_of_health(file) == {"live": True}


def answer_of_health(file):
    assert file.readline().startswith(b"HTTP/1.1 200")
    size = 0
    while line := file.readline().strip():
        if line.lower().startswith(b"content-length:"):
            size = int(line.split(b":")[1])
    return json.loads(file.read(size))


def test_a_long_json_body_is_read_as_a_short_one(wide):
    values = rows_of(1).reshape(-1).tolist()
    answer = wide.infer("wide", ("x", "FP32", [1, WIDTH], values), parameters={"binary_data_output": True})
    assert answer.status == 200


def test_a_long_body_on_a_route_for_short_ones_is_answered_there(wide):
    body = {"instances": [rows_of(1).reshape(-1).tolist()]}
    answer = wide.request("POST", "/v1/models/wide:predict", body)
    assert answer.status == 200
    assert len(answer.body["predictions"][0]) == WIDTH


def test_a_long_body_that_stays_away_is_given_up(serve, echo_package):
    package = echo_package("wide", {"x": ("FP32", (-1, WIDTH))})
    server = serve(package, max_body_bytes=2**20, request_seconds=0.5)
    with server.connect() as client:
        client.sendall(request_of(rows_of(1))[:150_000])
        status, body = answer_of(client.makefile("rb"))
    assert status == 408
    assert "too long" in body["error"]


def test_a_client_that_goes_in_the_middle_of_a_long_body_leaves_nothing(wide):
    with wide.connect() as client:
        client.sendall(request_of(rows_of(1))[:150_000])
        time.sleep(0.1)
    deadline = time.monotonic() + 10
    while wide.server.connections and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not wide.server.connections


def test_a_packed_long_body_is_unpacked(wide):
    import gzip

    values = rows_of(3).reshape(-1).tolist()
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, WIDTH], "data": values}
    body = gzip.compress(json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode(), 1)
    answer = wide.request("POST", "/v2/models/wide/infer", body, {"Content-Encoding": "gzip"})
    assert len(body) > 2**17
    assert answer.status == 200
