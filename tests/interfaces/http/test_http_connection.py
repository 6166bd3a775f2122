import gc
import json
import socket
import time

import pytest

from modelwright.interfaces.http import connection
from modelwright.interfaces.http.routes import Router

LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n"
INFER = b"POST /v2/models/total/infer HTTP/1.1\r\nHost: x\r\n"


def body_of(total):
    return json.dumps({"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": [total, 0, 0]}]}).encode()


def post(body, *headers):
    lines = b"".join(header + b"\r\n" for header in headers)
    return INFER + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


def answers(data):
    """(status, body) of each answer in a stream of answers."""
    found = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length"))
        found.append((int(lines[0].split()[1]), rest[:length]))
        data = rest[length:]
    return found


def test_pipelined_requests_are_answered_in_order(serve, sum_package):
    server = serve(sum_package())
    batch = b"".join(post(body_of(value)) for value in range(50)) + LIVE + b"Connection: close\r\n\r\n"
    found = answers(server.raw(batch))
    assert [json.loads(body)["outputs"][0]["data"][0] for _, body in found[:50]] == list(range(50))
    assert found[50] == (200, b'{"live":true}')


def test_what_was_asked_before_the_client_stopped_sending_is_answered(serve, sum_package):
    server = serve(sum_package())
    for count in range(1, 30):
        found = answers(server.raw(post(body_of(1)) * count, eof=True))
        assert [status for status, _ in found] == [200] * count


def test_a_request_may_come_byte_by_byte_and_in_chunks(serve, sum_package):
    server = serve(sum_package())
    body = body_of(5)
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:1], body[1:40], body[40:])) + b"0\r\n\r\n"
    request = INFER + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunks
    with server.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for index in range(len(request)):
            client.sendall(request[index : index + 1])
        data = b""
        while part := client.recv(65536):
            data += part
    assert answers(data)[0][0] == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        INFER + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        INFER + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        INFER + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        INFER + b"Content-Length: +5\r\n\r\nhello",
        INFER + b"Content-Length: -5\r\n\r\nhello",
        INFER + b"Content-Length: 99999999999999999999999999\r\n\r\nhello",
        INFER + b"Transfer-Encoding: gzip\r\n\r\nhello",
        INFER + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n",
        INFER + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        INFER + b"A: b\r\n folded\r\n\r\n",
        INFER + b"A: b\x00c\r\n\r\n",
        b"GET /v2/health/live HTTP/9.9\r\n\r\n",
        b"GET http://elsewhere/v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"nonsense\r\n\r\n",
    ],
)
def test_an_ambiguous_request_is_refused_and_never_followed_by_another(serve, sum_package, request_bytes):
    server = serve(sum_package())
    found = answers(server.raw(request_bytes + LIVE + b"\r\n", eof=True))
    assert 400 <= found[0][0] < 500
    assert list(json.loads(found[0][1])) == ["error"]
    if b"elsewhere" not in request_bytes and b"CONNECT" not in request_bytes:
        assert len(found) == 1


def test_a_body_that_is_too_large_is_refused_before_it_is_read(serve, sum_package):
    server = serve(sum_package(), max_body_bytes=1000)
    assert answers(server.raw(INFER + b"Content-Length: 1001\r\n\r\n"))[0][0] == 413
    endless = INFER + b"Transfer-Encoding: chunked\r\n\r\n" + b"100\r\n" + b" " * 256 + b"\r\n"
    assert answers(server.raw(endless + (b"100\r\n" + b" " * 256 + b"\r\n") * 4))[0][0] == 413


def test_the_refusal_arrives_although_the_client_goes_on_sending(serve, sum_package):
    server = serve(sum_package(), max_body_bytes=1000)
    body = b" " * 300_000
    assert server.request("POST", "/v2/models/total/infer", body).status == 413


def test_a_head_that_is_too_large_is_refused(serve, sum_package):
    server = serve(sum_package(), max_header_bytes=2000)
    assert answers(server.raw(LIVE + b"A: " + b"b" * 3000))[0][0] == 431
    assert answers(server.raw(LIVE + b"A: " + b"b" * 3000 + b"\r\n\r\n"))[0][0] == 431
    many = b"".join(b"H%d: v\r\n" % number for number in range(connection.MAX_HEADERS + 1))
    assert answers(server.raw(LIVE + many + b"\r\n"))[0][0] == 431
    assert answers(server.raw(b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\n\r\n"))[0][0] == 431


def test_a_client_that_does_not_finish_its_request_is_let_go(serve, sum_package):
    server = serve(sum_package(), header_seconds=0.2, request_seconds=0.2)
    assert server.raw(b"") == b""
    assert answers(server.raw(LIVE))[0][0] == 408
    assert answers(server.raw(INFER + b"Content-Length: 10\r\n\r\nabc"))[0][0] == 408
    assert server.request("GET", "/v2/health/live").status == 200


def test_a_body_that_comes_too_slowly_is_given_up_long_before_the_deadline(serve, sum_package, monkeypatch):
    monkeypatch.setattr(connection, "GRACE_SECONDS", 0.3)
    server, patient = serve(sum_package()), serve(sum_package(), body_bytes_per_second=0)
    head = INFER + b"Content-Length: 100000\r\n\r\n"
    with server.connect() as slow, server.connect() as steady, patient.connect() as allowed:
        for client in (slow, steady, allowed):
            client.sendall(head)
        for _ in range(12):
            steady.sendall(b" " * 2000)
            time.sleep(0.1)
        assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")
        for client in (steady, allowed):
            client.settimeout(0.01)
            with pytest.raises(TimeoutError):
                client.recv(1000)


def test_an_idle_connection_is_closed_without_a_word(serve, sum_package, monkeypatch):
    monkeypatch.setattr(connection, "IDLE_SECONDS", 0.1)
    server = serve(sum_package())
    assert len(answers(server.raw(LIVE + b"\r\n"))) == 1


def test_more_connections_than_allowed_are_told_so(serve, sum_package):
    server = serve(sum_package(), max_connections=2)
    held = [server.connect() for _ in range(2)]
    for client in held:
        client.sendall(LIVE + b"\r\n")
        assert client.recv(1000)
    assert answers(server.raw(b""))[0][0] == 503
    assert answers(server.raw(post(b" " * 300_000)))[0][0] == 503
    for client in held:
        client.close()
    deadline = time.monotonic() + 10
    while (status := server.request("GET", "/v2/health/live").status) == 503 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert status == 200


@pytest.mark.parametrize("unfinished", [b"", LIVE, INFER + b"Content-Length: 100\r\n\r\nabc"])
def test_where_there_are_too_many_connections_the_slowest_request_makes_room(serve, sum_package, unfinished):
    server = serve(sum_package(), max_connections=4)
    idle, *slow = [server.connect() for _ in range(4)]
    idle.sendall(LIVE + b"\r\n")
    assert idle.recv(1000)
    for client in slow:
        client.sendall(unfinished)
        time.sleep(0.02)
    time.sleep(0.15)
    with server.connect() as newcomer:
        newcomer.sendall(post(body_of(1)))
        assert newcomer.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert slow[0].recv(1000).startswith(b"HTTP/1.1 503 ")
        idle.sendall(LIVE + b"\r\n")
        assert idle.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert server.server.connections.dropped == 1


def test_who_was_refused_and_lingers_takes_no_newcomer_s_place(serve, sum_package, monkeypatch):
    monkeypatch.setattr(connection, "LINGER_SECONDS", 30)
    server = serve(sum_package(), max_connections=2)
    lingering = [server.connect() for _ in range(2)]
    for client in lingering:
        client.sendall(b"nonsense\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert server.request("GET", "/v2/health/live").status == 200
    for client in lingering:
        client.close()


def test_one_address_may_be_kept_from_taking_all_connections(serve, sum_package):
    server = serve(sum_package(), max_connections_per_address=2)
    held = [server.connect() for _ in range(2)]
    time.sleep(0.05)
    [(status, body)] = answers(server.raw(b""))
    assert (status, b"from your address" in body) == (503, True)
    with socket.create_connection(("127.0.0.1", server.port), 20, ("127.0.0.2", 0)) as elsewhere:
        elsewhere.sendall(LIVE + b"\r\n")
        assert elsewhere.recv(1000).startswith(b"HTTP/1.1 200 ")
    for client in held:
        client.close()
    deadline = time.monotonic() + 10
    while server.server.connections.addresses and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not server.server.connections.addresses
    assert server.request("GET", "/v2/health/live").status == 200


def test_http_1_0_closes_unless_asked_to_stay(serve, sum_package):
    server = serve(sum_package())
    old = LIVE.replace(b"1.1", b"1.0")
    assert b"connection: close" in server.raw(old + b"\r\n")
    both = server.raw(old + b"Connection: keep-alive\r\n\r\n" + old + b"\r\n")
    assert both.count(b'{"live":true}') == 2
    assert b"connection: keep-alive" in both


def test_head_is_get_without_the_body(serve, sum_package):
    server = serve(sum_package())
    answer = server.raw(LIVE.replace(b"GET", b"HEAD") + b"Connection: close\r\n\r\n")
    assert b"content-length: 13" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_a_client_that_expects_to_be_asked_is_asked(serve, sum_package):
    server = serve(sum_package())
    body = body_of(1)
    with server.connect() as client:
        client.sendall(INFER + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert client.recv(1000).startswith(b"HTTP/1.1 100 ")
        client.sendall(body)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_an_offer_to_upgrade_is_ignored(serve, sum_package):
    server = serve(sum_package())
    offer = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
    with server.connect() as client:
        for value in (1, 2):
            client.sendall(post(body_of(value), *offer))
            answer = client.recv(1000)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b'"data":[%d.0]' % value in answer


def test_a_client_that_leaves_harms_nobody(serve, sum_package):
    server = serve(sum_package())
    for _ in range(50):
        with server.connect() as client:
            client.sendall(post(body_of(1)) * 20)
    assert server.request("GET", "/v2/health/live").status == 200


def test_requests_and_connections_leave_nothing_for_the_garbage_collector(serve, sum_package):
    server = serve(sum_package(), max_body_bytes=10_000)
    server.request("POST", "/v2/models/total/infer", body_of(1))
    gc.collect()
    gc.disable()
    try:
        for body in (body_of(1), b"{", b" " * 10_001):
            server.request("POST", "/v2/models/total/infer", body)
        server.request("POST", "/v1/models/total:predict", {"instances": [[1, 2, 3]]})
        server.raw(b"nonsense\r\n\r\n")
        for _ in range(20):
            with server.connect() as client:
                client.sendall(post(body_of(1)) * 20)
        deadline = time.monotonic() + 10
        while server.server.connections and time.monotonic() < deadline:
            time.sleep(0.01)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        ours = {type(found).__name__ for found in gc.garbage if type(found).__module__.startswith("modelwright")}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert ours == set()


def test_a_client_that_never_reads_is_given_up(serve, sum_package):
    server = serve(sum_package(), request_seconds=0.3)
    with server.connect() as client:
        client.settimeout(0.05)
        request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 200
        deadline = time.monotonic() + 120
        with pytest.raises((ConnectionResetError, BrokenPipeError)):  # noqa: PT012 - it ends at some turn of the loop
            while time.monotonic() < deadline:
                try:
                    client.sendall(request)
                except TimeoutError:
                    continue


def test_an_answer_that_comes_late_gives_a_client_that_does_not_read_no_more_time(serve, sum_package):
    server = serve(sum_package(), request_seconds=0.3)
    with server.connect() as client:
        client.sendall(post(body_of(1)))
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        [held] = server.server.connections
        server.loop.call_soon_threadsafe(lambda: (held.pause_writing(), held.send_ready()))
        client.settimeout(5)
        assert client.recv(1000) == b""


def test_a_stopping_server_answers_what_has_begun(serve, sum_package):
    server = serve(sum_package())
    body = body_of(9)
    with server.connect() as client:
        client.sendall(post(body)[:-4])
        while not server.server.connections.busy:
            time.sleep(0.005)
        server.loop.call_soon_threadsafe(server._stop.set)
        while not server.server.dispatcher.draining:
            time.sleep(0.005)
        client.sendall(body[-4:])
        answer = client.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in answer
        assert client.recv(10) == b""


def test_a_trailer_is_no_header(serve, sum_package):
    body = body_of(5)
    request = (
        INFER
        + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(body), body)
        + b"Inference-Header-Content-Length: 3\r\nContent-Encoding: br\r\n\r\n"
    )
    [(status, answer)] = answers(serve(sum_package()).raw(request))
    assert status == 200
    assert json.loads(answer)["outputs"][0]["data"] == [5]


@pytest.mark.parametrize("endless", [b"0\r\nx: ", b"1;x="])
def test_a_trailer_or_a_chunk_extension_that_does_not_end_is_refused(serve, sum_package, endless):
    server = serve(sum_package())
    with server.connect() as client:
        client.sendall(INFER + b"Transfer-Encoding: chunked\r\n\r\n" + endless)
        client.sendall(b"y" * (connection.READ_BYTES + 2**19))
        assert client.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_body_in_very_many_chunks_is_refused_and_one_in_many_is_taken(serve, sum_package, monkeypatch):
    monkeypatch.setattr(connection, "MAX_CHUNKS", 200)
    monkeypatch.setattr(connection, "MAX_PARTS", 50)
    server = serve(sum_package())
    for length, status in ((200, 200), (201, 400)):
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body_of(5).ljust(length)) + b"0\r\n\r\n"
        request = INFER + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunks
        assert [found[0] for found in answers(server.raw(request))] == [status]


def test_the_body_of_a_connect_is_not_taken_for_the_next_request(serve, sum_package):
    hidden = LIVE + b"\r\n"
    stream = b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(hidden), hidden)
    assert [status for status, _ in answers(serve(sum_package()).raw(stream))] == [405]


def test_long_targets_are_not_remembered():
    router = Router()
    for number in range(3):
        assert router.match(b"GET", b"/v2/health/live?%d%b" % (number, b"x" * 16_000))[0].pattern == "/v2/health/live"
    assert sum(len(target) for _, target in router._cache) == 0


def test_a_head_that_comes_in_two_parts_behind_many_requests_is_not_too_large(serve, sum_package):
    server = serve(sum_package())
    with server.connect() as client:
        client.sendall((LIVE + b"\r\n") * 1000 + LIVE)
        data = b""
        while data.count(b"HTTP/1.1 ") < 1000:
            data += client.recv(65536)
        client.sendall(b"Connection: close\r\n\r\n")
        while part := client.recv(65536):
            data += part
    assert [status for status, _ in answers(data)] == [200] * 1001
