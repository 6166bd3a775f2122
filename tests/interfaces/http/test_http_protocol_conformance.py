"""The conformance checklist of the Open Inference Protocol, row by row, over HTTP."""

import json
import socket
import struct
import threading
import time

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from modelwright.core.signature import DATATYPES
from modelwright.testing.runner import FunctionRunners

VALUES = {
    "BOOL": [True, False],
    "UINT8": [0, 255],
    "UINT16": [0, 65535],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1],
    "INT8": [-128, 127],
    "INT16": [-32768, 32767],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1],
    "FP16": [0.5, -2.0],
    "FP32": [0.5, -3.4e38],
    "FP64": [0.1, -1.7e308],
    "BYTES": ["grün", ""],
}
OUT_OF_RANGE = {
    "BOOL": [1],
    "UINT8": [256, -1],
    "UINT16": [65536],
    "UINT32": [2**32],
    "UINT64": [2**64, -1],
    "INT8": [128],
    "INT16": [-32769],
    "INT32": [2**31],
    "INT64": [2**63],
    "FP16": [1e6],
    "FP32": [1e39],
    "BYTES": [7],
}


def is_error(answer, status):
    return answer.status == status and list(answer.body) == ["error"] and isinstance(answer.body["error"], str)


def test_row_1_both_spellings_of_the_server_metadata(serve, sum_package):
    server = serve(sum_package())
    for path in ("/v2", "/v2/"):
        answer = server.request("GET", path)
        assert answer.status == 200
        assert answer.body["name"] == "modelwright"
        assert "binary_tensor_data" in answer.body["extensions"]
        assert isinstance(answer.body["version"], str)


def test_row_2_the_id_is_echoed_and_left_out_when_not_given(serve, sum_package):
    server = serve(sum_package())
    row = ("X", "FP32", [1, 3], [1, 2, 3])
    given = server.infer("total", row, id="my id ☃")
    assert given.body["id"] == "my id ☃"
    assert given.headers["modelwright-prediction-id"] == "my%20id%20%E2%98%83"
    absent = server.infer("total", row)
    assert "id" not in absent.body
    assert len(absent.headers["modelwright-prediction-id"]) == 32
    assert is_error(server.infer("total", row, id="x" * 129), 400)


def test_row_3_nested_and_flat_data_mean_the_same(serve, sum_package):
    server = serve(sum_package())
    for data in ([1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]], [[[1, 2, 3]], [[4, 5, 6]]]):
        answer = server.infer("total", ("X", "FP32", [2, 3], data))
        assert answer.body["outputs"] == [{"name": "total", "datatype": "FP32", "shape": [2, 1], "data": [6.0, 15.0]}]
    assert is_error(server.infer("total", ("X", "FP32", [2, 3], [[1, 2], [3, 4, 5, 6]])), 400)


def test_row_4_a_count_that_is_not_the_shapes_is_an_error(serve, sum_package):
    server = serve(sum_package())
    for shape in ([2, 3], [0, 3], [1, 4], [3], [1, 1, 3], [-1, 3], [2**40, 3], [1] * 99):
        assert is_error(server.infer("total", ("X", "FP32", shape, [1, 2, 3])), 400)


@pytest.mark.parametrize("datatype", OUT_OF_RANGE)
def test_row_5_a_value_out_of_its_datatypes_range_is_an_error(serve, echo_package, datatype):
    server = serve(echo_package("echo", {"x": (datatype, (-1,))}))
    for value in OUT_OF_RANGE[datatype]:
        assert is_error(server.infer("echo", ("x", datatype, [1], [value])), 400)


def test_row_6_every_error_has_the_one_shape(serve, sum_package):
    server = serve(sum_package())
    infer = "/v2/models/total/infer"
    whole = {"name": "X", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
    bodies = [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"\xff\xfe{\x00}\x00",
        b"[" * 100_000,
        b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"inputs": [NaN]}',
        b"{}",
        b'{"inputs": []}',
        b'{"inputs": {}}',
        *(json.dumps({"inputs": [{k: v for k, v in whole.items() if k != gone}]}).encode() for gone in whole),
        json.dumps({"inputs": [whole, whole]}).encode(),
        json.dumps({"inputs": [whole | {"name": "Y"}]}).encode(),
        json.dumps({"inputs": [whole, whole | {"name": "Y"}]}).encode(),
        json.dumps({"inputs": [whole | {"datatype": "BF16"}]}).encode(),
        json.dumps({"inputs": [whole | {"datatype": "FP64"}]}).encode(),
        json.dumps({"inputs": [whole | {"data": [1, "2", 3]}]}).encode(),
        json.dumps({"inputs": [whole | {"data": [1, True, 3]}]}).encode(),
        json.dumps({"inputs": [whole | {"data": [1, None, 3]}]}).encode(),
        json.dumps({"inputs": [whole], "parameters": {"a": {}}}).encode(),
        json.dumps({"inputs": [whole], "id": 7}).encode(),
    ]
    for body in bodies:
        assert is_error(server.request("POST", infer, body), 400), body[:100]
    assert is_error(server.request("GET", "/nowhere"), 404)
    assert is_error(server.request("GET", "/v2/%ff"), 400)
    wrong = server.request("GET", infer)
    assert is_error(wrong, 405)
    assert wrong.headers["allow"] == "POST"
    assert is_error(server.request("DELETE", "/v2/health/live"), 405)


def test_row_6_an_exception_of_ours_is_an_error_of_the_one_shape_too(serve, sum_package, monkeypatch):
    server = serve(sum_package())
    server.plane._recording._count = None
    answer = server.infer("total", ("X", "FP32", [1, 3], [1, 2, 3]))
    assert is_error(answer, 500)
    assert "NoneType" not in answer.body["error"]


def test_row_7_an_unknown_model_or_version_is_not_found(serve, sum_package):
    server = serve(sum_package())
    row = ("X", "FP32", [1, 3], [1, 2, 3])
    assert is_error(server.infer("nobody", row), 404)
    assert is_error(server.infer("total", row, version="9"), 404)
    for tail in ("", "/ready", "/versions/9", "/versions/9/ready"):
        assert is_error(server.request("GET", f"/v2/models/{'nobody' if '9' not in tail else 'total'}{tail}"), 404)
    assert server.infer("total", row, version="1").body["model_version"] == "1"


def test_row_8_only_the_outputs_asked_for_come_back(serve, echo_package):
    server = serve(echo_package("two", {"a": ("INT32", (-1, 1)), "b": ("INT32", (-1, 1))}))
    rows = (("a", "INT32", [1, 1], [1]), ("b", "INT32", [1, 1], [2]))
    answer = server.infer("two", *rows, outputs=[{"name": "b_out"}])
    assert [output["name"] for output in answer.body["outputs"]] == ["b_out"]
    assert answer.body["outputs"][0]["data"] == [2]
    assert [output["name"] for output in server.infer("two", *rows).body["outputs"]] == ["a_out", "b_out"]
    assert is_error(server.infer("two", *rows, outputs=[{"name": "c"}]), 400)


@pytest.mark.parametrize("datatype", VALUES)
def test_row_9_every_datatype_goes_round_in_json_and_in_binary(serve, echo_package, bytes_elements, datatype):
    server = serve(echo_package("echo", {"x": (datatype, (-1, 1))}))
    values = VALUES[datatype]
    answer = server.infer("echo", ("x", datatype, [2, 1], values))
    assert answer.status == 200, answer.body
    output = answer.body["outputs"][0]
    dtype = DATATYPES[datatype]
    assert output["datatype"] == datatype
    assert output["shape"] == [2, 1]
    assert output["data"] == np.array(values, dtype).tolist()
    if datatype == "BYTES":
        raw = bytes_elements(*(value.encode() for value in values))
    else:
        raw = np.array(values, dtype).tobytes()
    head = {
        "inputs": [{"name": "x", "datatype": datatype, "shape": [2, 1], "parameters": {"binary_data_size": len(raw)}}],
        "outputs": [{"name": "x_out", "parameters": {"binary_data": True}}],
    }
    binary = server.binary("echo", head, raw)
    assert binary.raw == raw
    assert binary.json["outputs"][0]["parameters"] == {"binary_data_size": len(raw)}
    assert "data" not in binary.json["outputs"][0]


def test_row_9_empty_tensors_and_scalars(serve, echo_package):
    server = serve(echo_package("rows", {"x": ("FP32", (-1, 2))}), echo_package("scalar", {"x": ("INT64", ())}))
    for data in ([], [[], []]):
        answer = server.infer("rows", ("x", "FP32", [0, 2], data if data == [] else []))
        assert answer.body["outputs"][0] == {"name": "x_out", "datatype": "FP32", "shape": [0, 2], "data": []}
    for data in ([7], 7):
        answer = server.infer("scalar", ("x", "INT64", [], data))
        assert answer.body["outputs"][0] == {"name": "x_out", "datatype": "INT64", "shape": [], "data": [7]}


def test_row_10_fp16_in_json_is_rounded_to_the_nearest_half(serve, echo_package):
    server = serve(echo_package("echo", {"x": ("FP16", (-1,))}))
    answer = server.infer("echo", ("x", "FP16", [1], [0.1]))
    assert answer.body["outputs"][0]["data"] == [float(np.float16(0.1))]


def test_row_10_bf16_is_refused_by_name_in_json_and_in_binary(serve, sum_package):
    server = serve(sum_package())
    refused = server.infer("total", ("X", "BF16", [1, 3], [1, 2, 3]))
    assert is_error(refused, 400)
    assert "Send FP32" in refused.body["error"]
    tensor = {"name": "X", "datatype": "BF16", "shape": [1, 3], "parameters": {"binary_data_size": 6}}
    assert server.binary("total", {"inputs": [tensor]}, bytes(6)).headers["modelwright-error"] == (
        "serve.unsupported-datatype"
    )


def test_row_11_bytes_must_be_utf8(serve, echo_package, bytes_elements):
    server = serve(echo_package("echo", {"x": ("BYTES", (-1, 1))}))
    for bad in (bytes_elements(b"\xff\xfe\x00", b"plain"), b"\x01", bytes_elements(b"a", b"b") + b"\x09\x00\x00\x00x"):
        tensor = {"name": "x", "datatype": "BYTES", "shape": [2, 1], "parameters": {"binary_data_size": len(bad)}}
        assert is_error(server.binary("echo", {"inputs": [tensor]}, bad), 400)
    good = bytes_elements("☃".encode(), b"a\x00b")
    tensor = {"name": "x", "datatype": "STRING", "shape": [2, 1], "parameters": {"binary_data_size": len(good)}}
    assert server.binary("echo", {"inputs": [tensor], "parameters": {"binary_data_output": True}}, good).raw == good


def test_row_12_json_and_binary_inputs_and_outputs_mix(serve, echo_package):
    server = serve(echo_package("two", {"a": ("INT32", (-1, 1)), "b": ("FP64", (-1, 1))}))
    raw = np.array([0.25, 4.0]).tobytes()
    head = {
        "inputs": [
            {"name": "b", "datatype": "FP64", "shape": [2, 1], "parameters": {"binary_data_size": 16}},
            {"name": "a", "datatype": "INT32", "shape": [2, 1], "data": [5, 6]},
        ],
        "outputs": [
            {"name": "a_out", "parameters": {"binary_data": False}},
            {"name": "b_out"},
        ],
        "parameters": {"binary_data_output": True},
    }
    answer = server.binary("two", head, raw)
    assert answer.json["outputs"][0]["data"] == [5, 6]
    assert answer.raw == raw


def test_row_13_a_raw_request_is_the_single_input(serve, sum_package, echo_package):
    server = serve(
        sum_package(),
        echo_package("text", {"x": ("BYTES", (-1, 1))}),
        echo_package("two", {"a": ("INT32", (-1, 1)), "b": ("FP64", (-1, 1))}),
    )
    answer = server.binary("total", None, np.array([1, 2, 3], np.float32).tobytes())
    assert np.frombuffer(answer.raw, np.float32).tolist() == [6.0]
    assert answer.json["outputs"][0]["shape"] == [1, 1]
    assert server.binary("text", None, b"whole body").raw == b"\x0a\x00\x00\x00whole body"
    assert is_error(server.binary("total", None, b"123"), 400)
    assert is_error(server.binary("two", None, b"1234"), 400)


def test_row_14_a_wrong_json_length_is_an_error(serve, sum_package):
    server = serve(sum_package())
    raw = np.array([1, 2, 3], np.float32).tobytes()
    tensor = {"name": "X", "datatype": "FP32", "shape": [1, 3], "parameters": {"binary_data_size": 12}}
    head = {"inputs": [tensor]}
    assert server.binary("total", head, raw).status == 200
    size = len(json.dumps(head))
    for length in (-1, size + 13, size - 1, size + 1, "x", "", 10**30, "1.5"):
        assert is_error(server.binary("total", head, raw, length), 400), length
    for size in (-4, 11, 13, 2**70, "12", 12.0, True, None):
        wrong = {"inputs": [tensor | {"parameters": {"binary_data_size": size}}]}
        assert is_error(server.binary("total", wrong, raw), 400), size
    both = {"inputs": [tensor | {"data": [1, 2, 3]}]}
    assert is_error(server.binary("total", both, raw), 400)
    assert is_error(server.binary("total", head, raw + b"more"), 400)


def test_row_16_tritonclient_works_unmodified_with_every_extension(serve, iris_package):
    server = serve(iris_package)
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("iris", "1")
        rows = triton.InferInput("X", [2, 3], "FP32").set_data_from_numpy(np.eye(3, dtype=np.float32)[:2])
        for coding in (None, "gzip", "deflate"):
            answer = client.infer(
                "iris", [rows], request_compression_algorithm=coding, response_compression_algorithm=coding
            )
            assert answer.as_numpy("X_out").tolist() == [[1, 0, 0], [0, 1, 0]]
        for binary in (True, False):
            classes = triton.InferRequestedOutput("X_out", binary_data=binary, class_count=2)
            given = client.infer("iris", [rows], outputs=[classes]).as_numpy("X_out")
            best = [one.decode() if binary else one for one in given[:, 0]]
            assert best == ["1.000000:0:setosa", "1.000000:1:versicolor"]
        assert client.get_model_metadata("iris")["outputs"][0]["name"] == "X_out"
        assert client.get_model_config("iris", "1")["output"][0]["dims"] == [-1, 3]
        assert client.get_inference_statistics("iris")["model_stats"][0]["inference_count"] == 10
        assert client.get_model_repository_index()[0]["state"] == "READY"
        for change in (client.load_model, client.unload_model):
            with pytest.raises(InferenceServerException, match="registry decides"):
                change("iris")


def test_row_18_parameters_of_every_type_are_let_pass(serve, sum_package):
    server = serve(sum_package())
    every = {"a": "text", "b": 7, "c": 0.5, "d": True, "e": None, "sequence_id": 1, "triton_x": "y", "f": 2**64 - 1}
    tensor = {"name": "X", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3], "parameters": every}
    body = {"inputs": [tensor], "outputs": [{"name": "total", "parameters": every}], "parameters": every}
    answer = server.request("POST", "/v2/models/total/infer", body)
    assert answer.body["outputs"][0]["data"] == [6.0]
    for bad in ([], {}):
        assert is_error(server.request("POST", "/v2/models/total/infer", body | {"parameters": {"a": bad}}), 400)


def test_row_19_ready_only_after_loading_and_live_always(serve, sum_package):
    server = serve(sum_package(), loaded=False)
    assert server.request("GET", "/v2/health/live").status == 200
    assert server.request("GET", "/v2/health/ready").status == 503
    server.load()
    for path in ("health/ready", "models/total/ready", "models/total/versions/1/ready"):
        assert server.request("GET", f"/v2/{path}").status == 200
    assert server.request("GET", "/v2/models/total/ready").body == {"name": "total", "ready": True}
    server.server.dispatcher.draining = True
    assert server.request("GET", "/v2/health/ready").status == 503


def test_metadata_and_index_name_every_loaded_version(serve, sum_package):
    server = serve(sum_package())
    answer = server.request("GET", "/v2/models/total")
    assert answer.body == {
        "name": "total",
        "versions": ["1"],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "X", "datatype": "FP32", "shape": [-1, 3]}],
        "outputs": [{"name": "total", "datatype": "FP32", "shape": [-1, 1]}],
    }
    index = server.request("POST", "/v2/repository/index")
    assert index.body == [{"name": "total", "version": "1", "state": "READY", "reason": ""}]


def test_a_flat_column_is_taken_for_a_column_tensor(serve, echo_package):
    server = serve(echo_package("echo", {"x": ("FP32", (-1, 1)), "y": ("FP32", (-1, 1))}))
    answer = server.infer("echo", ("x", "FP32", [2], [1, 2]), ("y", "FP32", [2, 1], [3, 4]))
    assert answer.body["outputs"][0]["shape"] == [2, 1]
    assert is_error(server.infer("echo", ("x", "FP32", [2], [1, 2]), ("y", "FP32", [1, 1], [3])), 400)


def test_nan_leaves_in_binary_but_not_in_json(serve, echo_package):
    server = serve(echo_package("echo", {"x": ("FP32", (-1,))}))
    raw = np.array([np.nan, np.inf], np.float32).tobytes()
    tensor = {"name": "x", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}
    assert server.binary("echo", {"inputs": [tensor], "parameters": {"binary_data_output": True}}, raw).raw == raw
    assert is_error(server.binary("echo", {"inputs": [tensor]}, raw), 400)


def test_row_22_a_deadline_and_a_client_that_leaves_free_the_worker(serve, function_package):
    package, run = function_package()
    free = threading.Event()
    free.set()

    def slow(inputs):
        time.sleep(0.005)  # long enough to be run in another thread
        free.wait(10)
        return run(inputs)

    loader = FunctionRunners({package.digest: slow})
    server = serve(package, loader=loader, aside=True)
    row = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 1], "data": [2.0]}]}
    assert server.request("POST", "/v2/models/times/infer", row).status == 200
    free.clear()
    late = server.request("POST", "/v2/models/times/infer", row, {"Modelwright-Timeout-Ms": "50"})
    assert is_error(late, 504)
    before = loader.runners[package.digest].calls
    body = json.dumps(row).encode()
    with server.connect() as client:
        client.sendall(b"POST /v2/models/times/infer HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        loaded = server.plane.route("times").champion.loaded
        wait_until(lambda: loaded.in_flight == 2)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset: it reads no more
    wait_until(lambda: not server.server.connections)
    free.set()
    assert server.request("POST", "/v2/models/times/infer", row).body["outputs"][0]["data"] == [2.0]
    assert loader.runners[package.digest].calls == before + 1


def wait_until(holds):
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)
