"""Damaged streams of requests: every answer is one of ours, and nothing is left behind."""

import json
import socket
import time
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

BODY = json.dumps({"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}).encode()
REQUESTS = (
    b"POST /v2/models/total/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
    b"POST /v2/models/total/infer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    % (len(BODY), BODY),
    b"GET /v2/models/total HTTP/1.1\r\nAccept-Encoding: gzip\r\n\r\n",
    b"POST /record/truth HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /metrics HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 4\r\n\r\nabcd",
    b"HEAD /v2/health/live HTTP/1.0\r\n\r\n",
)
PIECES = (
    *(b"\r\n", b"\n", b"\r", b"\x00", b"\xff", b" ", b":", b"[", b"{", b"-1", b"99999999999"),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n"),
    *(b"Connection: upgrade\r\nUpgrade: x\r\n", b"Content-Encoding: gzip\r\n", b"Connection: close\r\n"),
)
MOST = max(300, settings.default.max_examples)
DAMAGE = st.tuples(st.integers(0, 600), st.integers(0, 12), st.sampled_from(PIECES))


@pytest.mark.hypothesis  # its function is inside: `make fuzz` would not see it
def test_a_damaged_stream_gets_no_answer_above_499_and_leaves_nothing_open(serve, sum_package):
    server = serve(sum_package())

    @settings(max_examples=MOST, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=4), st.lists(DAMAGE, max_size=4), st.integers(0, 99)
    )
    def send(requests, damages, cut):
        stream = b"".join(requests)
        for at, gone, piece in damages:
            stream = stream[:at] + piece + stream[at + gone :]
        with server.connect() as client:
            received = b""
            with suppress(ConnectionError):
                client.sendall(stream[:cut])
                client.sendall(stream[cut:])
                with suppress(OSError):  # already closed by the server
                    client.shutdown(socket.SHUT_WR)
                while part := client.recv(65536):
                    received += part
        lines = received.split(b"HTTP/1.1 ")[1:]
        assert all(line[:3].isdigit() and int(line[:3]) < 500 for line in lines)

    send()
    deadline = time.monotonic() + 10
    while server.server.connections and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not server.server.connections
    assert server.request("GET", "/v2/health/live").status == 200
