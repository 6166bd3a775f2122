"""A real gateway, its access log, its traces and ``modelwright top``."""

import http.client
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from modelwright.adapters.stores.package_files import write_zip
from modelwright.core.errors import UnavailableError
from modelwright.processes.observing import require_usable
from modelwright.settings import load

BODY = json.dumps({"inputs": [{"name": "X", "datatype": "FP32", "shape": [1, 3], "data": [1.0, 2.0, 3.0]}]})
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Gateway:
    def __init__(self, home, package, **environment):
        write_zip(package, path := home.parent / "total.mw")
        command = [sys.executable, "-m", "modelwright.processes.gateway", "--home", home, "--http", "127.0.0.1:0"]
        self.popen = subprocess.Popen(
            [*map(str, command), "--package", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        self.token = self.url = ""
        for line in self.popen.stdout:
            if line.startswith("token "):
                self.token = line.split()[1]
            if match := re.match(r"ready (http://(\S+))", line):
                self.url, self.http = match.groups()
                break

    def ask(self, method="POST", path="/v2/models/total/infer", body=BODY, **headers):
        connection = http.client.HTTPConnection(self.http, timeout=20)
        connection.request(method, path, body, {"Authorization": f"Bearer {self.token}"} | headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer

    def stop(self):
        """What it said on stderr."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        _, errors = self.popen.communicate(timeout=60)
        assert self.popen.returncode == 0, errors
        return errors


@pytest.fixture
def gateway(tmp_path, sum_package):
    started = []

    def start(**environment):
        started.append(Gateway(tmp_path / "home", sum_package("total"), **environment))
        return started[-1]

    yield start
    for one in started:
        if one.popen.poll() is None:
            one.stop()


def top(gateway, *arguments, token=None):
    environment = os.environ | {"MODELWRIGHT_TOKEN": gateway.token if token is None else token}
    return subprocess.run(
        [sys.executable, "-m", "modelwright", "top", "--url", gateway.url, "--interval", "0.1", *arguments],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_every_request_is_one_line_of_the_access_log_and_no_line_holds_a_token_or_a_body(gateway, tmp_path):
    server = gateway(MODELWRIGHT_ACCESS_LOG=str(tmp_path / "access.jsonl"))
    for number in range(20):
        server.ask(traceparent=f"00-{TRACE}-{PARENT}-01")
        server.ask(path=f"/no/such/{number}?token={server.token}")
    server.ask(body=BODY.replace("[1.0", "[424242.0"))
    server.stop()
    text = (tmp_path / "access.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert len(lines) == 41
    assert [line["status"] for line in lines].count(404) == 20
    assert all(line["trace_id"] == TRACE for line in lines if line["status"] == 200 and "trace_id" in line)
    assert server.token not in text
    assert "424242" not in text
    assert "\x1b" not in text


def test_the_access_log_on_stderr_stands_between_the_other_lines(gateway):
    server = gateway(MODELWRIGHT_ACCESS_LOG="stderr", MODELWRIGHT_ACCESS_LOG_RATIO="0")
    server.ask()
    server.ask(path="/nothing")
    told = [json.loads(line) for line in server.stop().splitlines()]
    assert [line["status"] for line in told if line["event"] == "request"] == [404]
    assert any(line["event"] == "stopped" for line in told)


def test_a_gateway_that_traces_nothing_imports_nothing_for_it():
    code = "import modelwright.processes.gateway, sys; print([m for m in sys.modules if 'opentelemetry' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


class Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def collector():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    server.bodies = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_spans_of_a_gateway_reach_its_collector_in_the_trace_of_the_caller(gateway, collector):
    service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    endpoint = f"http://127.0.0.1:{collector.server_port}"
    server = gateway(MODELWRIGHT_OTLP_ENDPOINT=endpoint, MODELWRIGHT_TRACE_RATIO="0")
    server.ask()
    answer = server.ask(traceparent=f"00-{TRACE}-{PARENT}-01")
    server.stop()
    requests = [service.ExportTraceServiceRequest.FromString(body) for body in collector.bodies]
    spans = [span for one in requests for span in one.resource_spans[0].scope_spans[0].spans]
    assert {span.name: span.trace_id.hex() for span in spans} == dict.fromkeys(
        ["POST /v2/models/{model}/infer", "queue", "run"], TRACE
    )
    assert answer.headers["modelwright-trace-id"] == TRACE


def test_a_collector_that_is_not_there_costs_no_answer(gateway):
    pytest.importorskip("opentelemetry.sdk")
    server = gateway(MODELWRIGHT_OTLP_ENDPOINT="http://127.0.0.1:1", MODELWRIGHT_TRACE_RATIO="1")
    answers = [server.ask() for _ in range(20)]
    assert [answer.status for answer in answers] == [200] * 20
    assert len({answer.headers["modelwright-trace-id"] for answer in answers}) == 20
    server.stop()


def test_top_says_once_what_a_server_does(gateway):
    server = gateway()
    server.ask()
    done = top(server, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    (model,) = told["models"]
    assert (told["gateways"], model["model"]) == (1, "total")
    assert model["versions"] == [{"version": "1", "role": "champion", "share": 1.0}]
    plain = top(server)  # no terminal: once
    assert plain.returncode == 0
    assert "total" in plain.stdout
    assert "1 champion 100%" in plain.stdout
    assert "\x1b" not in plain.stdout


def test_top_without_a_good_token_or_a_server_says_what_to_do(gateway):
    server = gateway()
    refused = top(server, token="mw_wrong")
    assert (refused.returncode, "token issue" in refused.stderr) == (4, True)
    server.stop()
    gone = top(server)
    assert (gone.returncode, "modelwright serve" in gone.stderr) == (5, True)
    assert "Traceback" not in refused.stderr + gone.stderr


def test_top_on_a_terminal_goes_on_until_ctrl_c_and_leaves_it_as_it_was(gateway):
    server = gateway()
    child, terminal = pty.fork()
    if child == 0:
        os.environ["MODELWRIGHT_TOKEN"] = server.token
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, [sys.executable, "-m", "modelwright", "top", "--url", server.url, "--interval", "0.1"])
    seen, deadline = b"", time.monotonic() + 60
    while seen.count(b"gateways 1") < 2 and time.monotonic() < deadline:
        if select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 65536)
    assert seen.count(b"gateways 1") >= 2
    os.write(terminal, b"\x03")
    while time.monotonic() < deadline:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the child has closed it
            break
        seen += part
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l")  # the cursor is shown again,
    assert seen.rindex(b"\x1b[?1049l") > seen.rindex(b"\x1b[?1049h")  # and what stood there before


@pytest.mark.parametrize("plane", ["gateway", "supervisor"])
def test_an_access_log_that_cannot_be_written_is_said_before_anything_is_served(tmp_path, plane):
    command = [sys.executable, "-m", f"modelwright.processes.{plane}", "--home", tmp_path / "home"]
    environment = os.environ | {"MODELWRIGHT_ACCESS_LOG": str(tmp_path / "no" / "such" / "file")}
    done = subprocess.run(
        [*command, "--http", "127.0.0.1:0"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "settings.access-log-unusable" in done.stderr
    assert "Traceback" not in done.stderr


def test_traces_without_the_extra_say_what_to_install(tmp_path):
    settings = load({"home": tmp_path, "otlp_endpoint": "http://127.0.0.1:4318"}, {})
    with pytest.raises(UnavailableError) as caught:
        require_usable(settings, traced_by=("opentelemetry_that_is_not_there",))
    assert "modelwright[otel]" in str(caught.value.fix)
