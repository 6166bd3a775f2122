"""What is told of predictions over gRPC."""

import grpc
import pytest
from tritonclient.grpc import service_pb2

from modelwright.serve.observe import Observer
from modelwright.testing.events import InMemoryEvents

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = (("traceparent", f"00-{TRACE}-{PARENT}-01"),)
INFER = "inference.GRPCInferenceService/ModelInfer"


def request(model="times", rows=1):
    tensor = service_pb2.ModelInferRequest.InferInputTensor(name="x", datatype="FP64", shape=[rows, 1])
    tensor.contents.fp64_contents.extend([1.0] * rows)
    return service_pb2.ModelInferRequest(model_name=model, inputs=[tensor])


@pytest.fixture
def told():
    return Observer(InMemoryEvents(), 1.0, InMemoryEvents(), 0.0)


def test_a_unary_answer_is_told_and_names_its_trace(inside, function_package, told):
    with inside(function_package(), observer=told) as server:
        asked = request(rows=2)
        answer, call = server.stub.ModelInfer.with_call(asked, metadata=SAMPLED)
    (event,) = told.access.events
    assert told.traces.events == [event]
    assert (event.protocol, event.route, event.status, event.actor) == ("grpc", INFER, 200, "tester")
    assert (event.model, event.version, event.rows, event.batch) == ("times", "1", 2, 1)
    assert (event.bytes_in, event.bytes_out) == (asked.ByteSize(), answer.ByteSize())
    assert min(event.stages) > 0
    assert dict(call.trailing_metadata())["modelwright-trace-id"] == event.trace.trace_id == TRACE
    assert event.trace.parent_id == PARENT


def test_a_refused_call_is_told_with_its_code_and_without_a_name_that_is_not_ours(inside, function_package, told):
    with inside(function_package(), observer=told) as server, pytest.raises(grpc.RpcError) as caught:
        server.stub.ModelInfer(request(model="no-such"), metadata=SAMPLED)
    (event,) = told.access.events
    assert (event.status, event.error, event.model) == (404, "serve.unknown-model", "")
    trailing = dict(caught.value.trailing_metadata())
    assert (trailing["modelwright-trace-id"], trailing["modelwright-error"]) == (TRACE, "serve.unknown-model")


def test_each_answer_of_a_stream_is_told(inside, function_package, told):
    with inside(function_package(), observer=told) as server:
        asked = [request(), request(model="no-such"), request(rows=3)]
        answers = list(server.stub.ModelStreamInfer(iter(asked), metadata=SAMPLED))
    assert [event.status for event in told.access.events] == [200, 404, 200]
    assert [event.rows for event in told.access.events] == [1, 0, 3]
    named = [one.infer_response.parameters["modelwright-trace-id"].string_param for one in answers]
    assert named == [TRACE] * 3
