"""The Open Inference Protocol over gRPC, against a real gateway process."""

import json
import socket
import subprocess
import sys

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from modelwright.adapters.stores.package_files import write_zip
from modelwright.record.log import DuckLog

VALUES = {
    "BOOL": [True, False],
    "UINT8": [0, 255],
    "UINT16": [0, 2**16 - 1],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1],
    "INT8": [-128, 127],
    "INT16": [-(2**15), 2**15 - 1],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1],
    "FP16": [0.5, -2.0],
    "FP32": [0.1, 3e38],
    "FP64": [0.1, 1e300],
    "BYTES": ["plain", "ünïcode"],
}
FIELD = {"BOOL": "bool", "UINT64": "uint64", "INT64": "int64", "FP32": "fp32", "FP64": "fp64", "BYTES": "bytes"}


def infer_input(name, datatype, values):
    tensor = triton.InferInput(name, [len(values), 1], datatype)
    dtype = {"BYTES": object, "BOOL": bool}.get(datatype) or triton_dtype(datatype)
    tensor.set_data_from_numpy(np.array(values, dtype=dtype).reshape(-1, 1))
    return tensor


def triton_dtype(datatype):
    from tritonclient.utils import triton_to_np_dtype

    return triton_to_np_dtype(datatype)


def status_of(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def request(model="total", **more):
    tensor = service_pb2.ModelInferRequest.InferInputTensor(name="X", datatype="FP32", shape=[1, 3])
    tensor.contents.fp32_contents.extend([1.0, 2.0, 3.0])
    return service_pb2.ModelInferRequest(model_name=model, inputs=[tensor], **more)


def test_tritonclient_works_unmodified(serving):
    with triton.InferenceServerClient(serving.grpc) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("total")
        assert client.get_server_metadata().name == "modelwright"
        metadata = client.get_model_metadata("total")
        assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [("X", "FP32", [-1, 3])]
        rows = triton.InferInput("X", [2, 3], "FP32")
        rows.set_data_from_numpy(np.arange(6, dtype=np.float32).reshape(2, 3))
        answer = client.infer("total", [rows], request_id="mine", outputs=[triton.InferRequestedOutput("total")])
        assert answer.as_numpy("total").tolist() == [[3.0], [12.0]]
        assert (answer.get_response().id, answer.get_response().model_version) == ("mine", "1")
        with pytest.raises(InferenceServerException, match="NOT_FOUND"):
            client.infer("nothing", [rows])
        rows.set_shape([3, 3])
        with pytest.raises(InferenceServerException, match="INVALID_ARGUMENT"):
            client.infer("total", [rows])


def test_every_datatype_comes_back_raw(serving):
    with triton.InferenceServerClient(serving.grpc) as client:
        answer = client.infer("every", [infer_input(t.lower(), t, values) for t, values in VALUES.items()])
    for datatype, values in VALUES.items():
        got = answer.as_numpy(f"{datatype.lower()}_out").reshape(-1)
        if datatype == "BYTES":
            assert [value.decode() for value in got] == values
        else:
            np.testing.assert_array_equal(got, np.array(values, dtype=triton_dtype(datatype)))


def test_typed_contents_come_back_typed_and_an_integer_out_of_range_does_not_wrap(serving):
    answer = serving.stub.ModelInfer(request())
    assert list(answer.outputs[0].contents.fp32_contents) == [6.0]
    assert not answer.raw_output_contents
    tensor = service_pb2.ModelInferRequest.InferInputTensor(name="x", datatype="INT8", shape=[1, 1])
    tensor.contents.int_contents.append(127)
    narrow = service_pb2.ModelInferRequest(model_name="narrow", inputs=[tensor])
    assert list(serving.stub.ModelInfer(narrow).outputs[0].contents.int_contents) == [127]
    tensor.contents.int_contents[0] = 128
    narrow = service_pb2.ModelInferRequest(model_name="narrow", inputs=[tensor])
    assert status_of(lambda: serving.stub.ModelInfer(narrow)).code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.raw_input_contents.append(b"\0" * 12), "both contents and raw"),
        (lambda r: r.raw_input_contents.extend([b"", b""]), "1 inputs and 2 raw"),
        (lambda r: r.inputs[0].contents.fp32_contents.append(4.0), "4 elements"),
        (lambda r: r.inputs[0].shape.__setitem__(0, -1), "shape"),
        (lambda r: setattr(r.inputs[0], "datatype", "FP64"), "0 elements"),
        (lambda r: setattr(r.inputs[0], "datatype", "FP7"), "no typed contents"),
        (lambda r: setattr(r.inputs[0], "name", "Y"), "Y"),
        (lambda r: r.inputs.append(r.inputs[0]), "twice"),
        (lambda r: r.outputs.add(name="nothing"), "no output"),
        (lambda r: setattr(r.parameters["event_time"], "string_param", "noon"), "event time"),
        (lambda r: setattr(r, "id", "x" * 129), "128"),
    ],
)
def test_a_request_that_does_not_fit_says_why(serving, change, words):
    wrong = request()
    change(wrong)
    error = status_of(lambda: serving.stub.ModelInfer(wrong))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert words in error.details()
    assert dict(error.trailing_metadata())["modelwright-error"].startswith("serve.")


def test_an_event_time_may_be_any_of_the_parameter_types_and_each_answer_is_on_record(serving):
    moments = {"int64_param": 1362096000, "double_param": 1362096000.5, "string_param": "2013-03-01T00:00:00Z"}
    for kind, value in moments.items():
        asked = request(id=f"at-{kind}")
        setattr(asked.parameters["event_time"], kind, value)
        _, call = serving.stub.ModelInfer.with_call(asked)
        assert dict(call.trailing_metadata())["modelwright-prediction-id"] == f"at-{kind}"
    from modelwright.core.signature import Signature, TensorSpec

    signature = Signature((TensorSpec("X", "FP32", (-1, 3)),), (TensorSpec("total", "FP32", (-1, 1)),))
    rows = DuckLog(serving.home / "log").joined("total", signature=signature)
    recorded = dict(zip(rows["prediction_id"], rows["event_time"], strict=True))
    assert recorded["at-int64_param"] == recorded["at-string_param"] == 1362096000.0
    assert recorded["at-double_param"] == 1362096000.5


def test_both_protocols_give_the_same_verdict(serving):
    for values in ([1.0, 2.0, 3.0], [0.5, -1.0, 1e30]):
        asked = request()
        asked.inputs[0].contents.fp32_contents[:] = values
        over_grpc = list(serving.stub.ModelInfer(asked).outputs[0].contents.fp32_contents)
        body = {"inputs": [{"name": "X", "datatype": "FP32", "shape": [1, 3], "data": values}]}
        over_http = httpx.post(f"{serving.http}/v2/models/total/infer", content=json.dumps(body)).json()
        assert np.float32(over_http["outputs"][0]["data"]) == np.float32(over_grpc)


def test_a_message_over_the_limit_is_refused(serving):
    asked = service_pb2.ModelInferRequest(model_name="total", raw_input_contents=[b"\0" * (9 * 2**20)])
    assert status_of(lambda: serving.stub.ModelInfer(asked)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_without_its_token_nothing_but_health_is_answered(tmp_path, sum_package, gateway_process):
    gateway = gateway_process(tmp_path / "home", [sum_package("total")])
    try:
        assert gateway.stub.ServerLive(service_pb2.ServerLiveRequest()).live
        assert gateway.stub.ModelReady(service_pb2.ModelReadyRequest(name="total")).ready
        for call, asked in (
            (gateway.stub.ModelInfer, request()),
            (gateway.stub.ModelMetadata, service_pb2.ModelMetadataRequest(name="total")),
            (gateway.stub.ServerMetadata, service_pb2.ServerMetadataRequest()),
        ):
            for metadata in ((), (("authorization", "Bearer mw_wrong"),)):
                error = status_of(lambda call=call, asked=asked, metadata=metadata: call(asked, metadata=metadata))
                assert error.code() is grpc.StatusCode.UNAUTHENTICATED
            call(asked, metadata=(("authorization", f"Bearer {gateway.token}"),))
    finally:
        assert gateway.stop() == 0


@pytest.mark.parametrize("address", ["0.0.0.0:0", "taken"])
def test_an_address_that_cannot_be_used_is_said_so(tmp_path, sum_package, address):
    write_zip(sum_package("total"), tmp_path / "total.mw")
    with socket.create_server(("127.0.0.1", 0)) as other:
        given = f"127.0.0.1:{other.getsockname()[1]}" if address == "taken" else address
        done = subprocess.run(
            [
                *(sys.executable, "-m", "modelwright.processes.gateway", "--home", str(tmp_path / "home")),
                *("--http", "127.0.0.1:0", "--grpc", given, "--package", str(tmp_path / "total.mw")),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode in {2, 3}
    assert ("serve.port-taken" if address == "taken" else "serve.refused-bind") in done.stderr
    assert "Traceback" not in done.stderr
