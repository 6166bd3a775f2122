"""What happens when the log breaks, a token is revoked, a caller leaves or a message is not one."""

import json
import queue
import socket
import threading
import time
from functools import partial

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from modelwright.core import errors

SERVICE = "/inference.GRPCInferenceService/"


def request(value=1.0, rows=1, model="times", **more):
    tensor = service_pb2.ModelInferRequest.InferInputTensor(name="x", datatype="FP64", shape=[rows, 1])
    tensor.contents.fp64_contents.extend([value] * rows)
    return service_pb2.ModelInferRequest(model_name=model, inputs=[tensor], **more)


class Talk:
    """An open stream, one request and one answer at a time."""

    def __init__(self, stub):
        self._sent = queue.Queue()
        self._answers = stub.ModelStreamInfer(iter(self._sent.get, None), timeout=30)

    def ask(self, asked):
        self._sent.put(asked)
        return next(self._answers)

    def close(self):
        self._sent.put(None)


def refused(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), dict(caught.value.trailing_metadata() or ()).get("modelwright-error")


def test_a_log_that_cannot_be_written_costs_a_stream_its_answers_but_not_itself(inside, function_package):
    with inside(function_package(factor=2.0)) as server:
        talk = Talk(server.stub)
        assert not talk.ask(request()).error_message
        server.sink.failing = True
        unlogged = talk.ask(request(id="lost"))
        assert "log cannot be written" in unlogged.error_message
        assert unlogged.infer_response.parameters["modelwright-error"].string_param == "record.unwritable"
        assert (unlogged.infer_response.id, list(unlogged.infer_response.outputs)) == ("lost", [])
        assert refused(lambda: server.stub.ModelInfer(request(), timeout=30)) == (
            grpc.StatusCode.UNAVAILABLE,
            "record.unwritable",
        )
        server.sink.failing = False
        answer = talk.ask(request(3.0)).infer_response
        assert list(answer.outputs[0].contents.fp64_contents) == [6.0]
        talk.close()
        assert server.errors["record.unwritable"] == 2


def test_a_token_revoked_in_the_middle_of_a_stream_ends_it(inside, function_package):
    with inside(function_package()) as server:
        talk = Talk(server.stub)
        assert not talk.ask(request()).error_message
        server.refused = errors.UnauthenticatedError("http.unknown-token", "The token is revoked.")
        assert refused(lambda: talk.ask(request())) == (grpc.StatusCode.UNAUTHENTICATED, "http.unknown-token")
        talk.close()
        assert server.plane.tally.statistics.served["times", "1"].total().requests == 1


def test_every_prediction_is_observed_with_the_status_of_its_kind(inside, function_package):
    with inside(function_package()) as server:
        server.stub.ModelInfer(request(), timeout=30)
        refused(lambda: server.stub.ModelInfer(request(model="nothing"), timeout=30))
        refused(lambda: server.stub.ModelInfer(request(model_version="9"), timeout=30))
        talk = Talk(server.stub)
        talk.ask(request())
        talk.close()
        assert [(series, status) for series, status, _ in server.observed] == [
            (("times", "1"), 200),
            (("times", ""), 404),
            (("times", "1"), 200),
        ]
        assert all(0 < seconds < 30 for *_, seconds in server.observed)
        assert server.errors == {"serve.unknown-model": 1, "serve.unknown-version": 1}


def test_a_caller_who_leaves_the_queue_costs_no_run(inside, function_package):
    package, function = function_package()
    free, entered = threading.Event(), threading.Event()
    free.set()

    def gated(inputs):
        time.sleep(0.005)  # long enough to be run in another thread
        entered.set()
        assert free.wait(20)
        return function(inputs)

    with inside((package, gated)) as server:
        free.clear()
        entered.clear()
        first = server.stub.ModelInfer.future(request(), timeout=30)
        assert entered.wait(20)
        second, third = (server.stub.ModelInfer.future(request(), timeout=30) for _ in range(2))
        while not server.plane.tally.runs or not second.running():
            time.sleep(0.01)
        time.sleep(0.2)  # both wait behind the first by now
        second.cancel()
        time.sleep(0.2)
        free.set()
        assert [one.result(20).id for one in (first, third)] == ["", ""]
        assert server.plane.tally.statistics.served["times", "1"].total().requests == 2


def test_what_is_no_call_of_ours_is_told_apart(inside, function_package):
    with inside(function_package()) as server:
        unknown = server.channel.unary_unary(f"{SERVICE}Nothing")
        assert refused(lambda: unknown(b"", timeout=30))[0] is grpc.StatusCode.UNIMPLEMENTED
        infer = server.channel.unary_unary(f"{SERVICE}ModelInfer")
        assert refused(lambda: infer(b"\xff\xff", timeout=30)) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "grpc.bad-message",
        )
        stream = server.channel.stream_stream(f"{SERVICE}ModelStreamInfer")
        assert refused(lambda: next(stream(iter([b"\xff\xff"]), timeout=30))) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "grpc.bad-message",
        )
        none = server.channel.stream_unary(f"{SERVICE}ModelInfer")
        assert refused(lambda: none(iter([]), timeout=30))[0] is grpc.StatusCode.UNIMPLEMENTED
        assert server.stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=30).live


def test_a_call_that_runs_when_the_server_stops_gets_its_answer(inside, function_package):
    package, function = function_package()

    def slow(inputs):
        time.sleep(0.1)
        return function(inputs)

    with inside((package, slow)) as server:
        asked = server.stub.ModelInfer.future(request(), timeout=30)
        while not server.plane.tally.runs:
            time.sleep(0.01)
        server.stop()
        assert list(asked.result(20).outputs[0].contents.fp64_contents) == [1.0]


def test_neither_a_silent_connection_nor_callers_who_keep_coming_hold_up_a_stop(inside, function_package):
    with inside(function_package()) as server:
        host, _, port = server.address.partition(":")
        coming, ended = threading.Event(), []

        def keep_asking():
            while not coming.is_set():
                try:
                    server.stub.ModelInfer(request(), timeout=30)
                except grpc.RpcError as error:
                    ended.append(error.code())
                    return

        with socket.create_connection((host, int(port))):
            callers = [threading.Thread(target=keep_asking) for _ in range(8)]
            for caller in callers:
                caller.start()
            time.sleep(0.1)
            server.stop()
            server.join(10)
        coming.set()
        for caller in callers:
            caller.join(10)
        assert set(ended) <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


def test_an_id_that_metadata_cannot_carry_is_written_as_in_a_url(inside, function_package):
    with inside(function_package()) as server:
        answer, call = server.stub.ModelInfer.with_call(request(id="a b\nü%"), timeout=30)
        assert answer.id == "a b\nü%"
        assert dict(call.trailing_metadata())["modelwright-prediction-id"] == "a b%0A%C3%BC%"


def test_a_stopped_server_leaves_no_thread_behind(inside, function_package):
    with inside(function_package()) as server:
        server.stub.ModelInfer(request(), timeout=30)
        assert [thread for thread in threading.enumerate() if thread.name == "grpc-wait"]
    for thread in threading.enumerate():
        if thread.name == "grpc-wait":
            thread.join(10)
            assert not thread.is_alive()


def test_many_callers_at_once_get_their_own_answers(inside, function_package):
    with inside(function_package(factor=2.0)) as server:
        calls = [server.stub.ModelInfer.future(request(float(number)), timeout=30) for number in range(500)]
        told = [one.result(30).outputs[0].contents.fp64_contents[0] for one in calls]
        assert told == (np.arange(500) * 2.0).tolist()


def test_rows_fail_by_themselves_where_the_caller_asks_for_that(inside, function_package):
    package, _ = function_package()

    def positive(inputs):
        if (inputs["x"] < 0).any():
            raise ValueError("negative")
        return {"y": inputs["x"]}

    def asked(*numbers):
        made = request(rows=len(numbers), id="ab")
        made.inputs[0].contents.fp64_contents[:] = numbers
        made.parameters["row_errors"].bool_param = True
        return made

    with inside((package, positive)) as server:
        talk = Talk(server.stub)
        for answer in (
            server.stub.ModelInfer(asked(4.0, -1.0, 9.0), timeout=30),
            talk.ask(asked(4.0, -1.0, 9.0)).infer_response,
        ):
            np.testing.assert_array_equal(answer.outputs[0].contents.fp64_contents, [4.0, np.nan, 9.0])
            (error,) = json.loads(answer.parameters["row_errors"].string_param)
            assert (error["row"], error["code"]) == (1, "serve.model-rejected-input")
        assert {record.prediction_id for record in server.sink.records} == {"ab.0", "ab.1", "ab.2"}
        every = partial(server.stub.ModelInfer, asked(-4.0, -1.0), timeout=30)
        assert refused(every) == (grpc.StatusCode.INVALID_ARGUMENT, "serve.model-rejected-input")
        assert "rejected its input" in talk.ask(asked(-4.0)).error_message
        talk.close()


def test_streams_are_bounded_and_one_that_ends_makes_room(inside, function_package):
    with inside(function_package()) as server:
        talks = [Talk(server.stub) for _ in range(3)]
        for talk in talks:
            assert not talk.ask(request()).error_message
        assert refused(lambda: Talk(server.stub).ask(request())) == (
            grpc.StatusCode.UNAVAILABLE,
            "grpc.too-many-streams",
        )
        assert server.stub.ModelInfer(request(), timeout=30).outputs
        talks[0].close()
        assert list(talks[0]._answers) == []
        again = Talk(server.stub)
        assert not again.ask(request()).error_message
        for talk in (again, *talks[1:]):
            talk.close()
