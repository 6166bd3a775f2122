"""Traces at a real OTLP/HTTP receiver on loopback, which decodes the real protobuf."""

import gzip
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("opentelemetry.sdk")
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from modelwright.adapters.observers.otlp import OtlpTraces
from modelwright.core.trace_context import continued
from modelwright.testing.events_conformance import EventSinkConformance, example_event

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(ThreadingHTTPServer):
    """Keeps what it is sent; ``answers`` is set while it answers at all."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Receiver)
        self.requests, self.answers, self.asked = [], threading.Event(), threading.Event()
        self.answers.set()
        self.endpoint = f"http://127.0.0.1:{self.server_port}"

    def spans(self):
        scopes = [scope for one in self.requests for part in one.resource_spans for scope in part.scope_spans]
        return [span for scope in scopes for span in scope.spans]


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        assert self.path == "/v1/traces"
        self.server.asked.set()
        self.server.answers.wait(30)
        self.server.requests.append(ExportTraceServiceRequest.FromString(body))
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@pytest.fixture
def collector():
    server = Collector()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.answers.set()
    server.shutdown()
    thread.join()
    server.server_close()


def attributes(holder):
    return {one.key: one.value.string_value or one.value.int_value for one in holder.attributes}


class TestOtlpTraces(EventSinkConformance):
    @pytest.fixture
    def make_sink(self, collector):
        return lambda bound: OtlpTraces(collector.endpoint, "g0", bound=bound)

    @pytest.fixture
    def delivered(self, collector):
        key = "modelwright.prediction_id"
        return lambda: [attributes(span)[key] for span in collector.spans() if key in attributes(span)]


def test_a_request_is_three_spans_and_the_callers_is_their_parent(collector):
    sink = OtlpTraces(f"{collector.endpoint}/", "g7")
    trace = continued(f"00-{TRACE}-{PARENT}-01".encode(), b"vendor=1")
    sink.put(example_event(7)._replace(trace=trace))
    sink.close()
    request, queue, run = collector.spans()
    assert [span.name for span in (request, queue, run)] == ["POST /v2/models/{model}/infer", "queue", "run"]
    assert {span.trace_id.hex() for span in (request, queue, run)} == {TRACE}
    assert (request.span_id.hex(), request.parent_span_id.hex()) == (trace.span_id, PARENT)
    assert {queue.parent_span_id, run.parent_span_id} == {request.span_id}
    assert {span.trace_state for span in (request, queue, run)} == {"vendor=1"}
    told = attributes(request)
    assert (told["http.route"], told["http.response.status_code"]) == ("/v2/models/{model}/infer", 200)
    assert attributes(run) == {
        "modelwright.model": "flight-delay",
        "modelwright.version": "3",
        "modelwright.rows": 2,
        "modelwright.batch_requests": 4,
    }
    assert request.start_time_unix_nano < queue.start_time_unix_nano < run.start_time_unix_nano
    assert queue.end_time_unix_nano == run.start_time_unix_nano
    assert run.end_time_unix_nano <= request.end_time_unix_nano
    resource = attributes(collector.requests[0].resource_spans[0].resource)
    assert (resource["service.name"], resource["service.instance.id"]) == ("modelwright", "g7")


def test_a_collector_that_does_not_answer_holds_nobody_up(collector):
    collector.answers.clear()
    sink = OtlpTraces(collector.endpoint, "g0", bound=100)
    sink.put(example_event())
    assert collector.asked.wait(30)
    for number in range(10_000):
        sink.put(example_event(number))
    assert sink.dropped >= 9_900
    began = time.monotonic()
    sink.close()
    assert time.monotonic() - began < 30


def test_a_collector_that_is_not_there_costs_traces_and_nothing_else():
    sink = OtlpTraces("http://127.0.0.1:1", "g0")
    sink.put(example_event())
    began = time.monotonic()
    sink.close()
    assert time.monotonic() - began < 30
