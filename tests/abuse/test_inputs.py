"""Bodies and heads that are too large, too deep or not what they seem (rows G1 to G6 of the abuse plan)."""

import contextlib
import gzip
import http.client
import json
import socket
import time
import zlib

import pytest
from backports import zstd

from kit.burden import secrets
from kit.gateways import serving
from kit.load import infer

PATH = "/v2/models/secrets/infer"
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n".encode()
CHUNK = b"10000\r\n" + b" " * 65_536 + b"\r\n"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("inputs"), secrets(), max_body_bytes=2**20) as gateway:
        for _ in range(5):
            ask(gateway, b"")
        yield gateway


def ask(gateway, body, headers=None, path=PATH):
    """Status, stable code and words of the answer to a body."""
    client = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    try:
        client.request("POST", path, body, headers or {})
        answer = client.getresponse()
        return answer.status, answer.headers.get("modelwright-error", ""), answer.read()
    finally:
        client.close()


def raw(gateway, data, times=1):
    """What comes back until the gateway closes; ``data`` is sent as often as it is taken."""
    received = b""
    with socket.create_connection(("127.0.0.1", gateway.port), 20) as client, contextlib.suppress(ConnectionError):
        client.sendall(data[0])
        with contextlib.suppress(ConnectionError):
            for _ in range(times - 1):
                client.sendall(data[-1])
        while part := client.recv(65536):
            received += part
    return received


@pytest.mark.parametrize(
    ("first", "rest", "times"),
    [
        (HEAD + b"Content-Length: 10000000000\r\n\r\n", b" " * 65_536, 1600),
        (HEAD + b"Content-Length: 104857600\r\n\r\n", b" " * 65_536, 1600),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", CHUNK, 1600),
    ],
    ids=["10 GB declared", "100 MB", "endless chunks"],
)
def test_g1_a_huge_body_is_refused_before_more_than_the_limit_is_read(gateway, first, rest, times):
    raw(gateway, (first, rest), times)
    gateway.forget_peak()
    before, cpu, began = gateway.rss, gateway.cpu, time.perf_counter()
    answer = raw(gateway, (first, rest), times)
    took = time.perf_counter() - began
    assert answer.startswith(b"HTTP/1.1 413 ") or not answer  # who goes on sending may miss it
    assert gateway.peak - before <= 4  # the limit is 1 MiB here, and a read is a quarter of one
    assert gateway.cpu - cpu <= 0.1
    assert took < 2


def test_g1_the_answer_to_a_huge_body_comes_at_once(gateway):
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", gateway.port), 20) as client:
        client.sendall(HEAD + b"Content-Length: 10000000000\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 413 ")
    assert time.perf_counter() - began < 0.05 * 2


ZEROS = b"\x00" * 20_000_000
PACKED = {
    "gzip": (gzip.compress(ZEROS), "gzip", 413),
    "deflate": (zlib.compress(ZEROS), "deflate", 413),
    "nested": (gzip.compress(gzip.compress(ZEROS)), "gzip", 400),
    "named twice": (gzip.compress(gzip.compress(ZEROS)), "gzip, gzip", 415),
    "cut off": (gzip.compress(b"x" * 1000)[:-20], "gzip", 400),
    "zstd": (zstd.compress(ZEROS), "zstd", 413),
    "no zstd": (b"\x28\xb5\x2f\xfd" + b"\x00" * 100, "zstd", 400),
    "not packed": (b"{}", "gzip", 400),
}


@pytest.mark.parametrize("kind", PACKED)
def test_g2_a_packed_body_never_takes_more_than_the_limit(gateway, kind):
    body, encoding, status = PACKED[kind]
    for _ in range(2):
        ask(gateway, body, {"Content-Encoding": encoding})
    gateway.forget_peak()
    before, cpu = gateway.rss, gateway.cpu
    assert ask(gateway, body, {"Content-Encoding": encoding})[0] == status
    assert gateway.peak - before <= 3  # 1 MiB allowed, 20 packed
    assert gateway.cpu - cpu <= 0.05


def tensor(data, shape="[1, 1]"):
    return f'{{"inputs": [{{"name": "secret", "shape": {shape}, "datatype": "INT64", "data": {data}}}]}}'.encode()


BAD_JSON = {
    "100,000 brackets": b"[" * 100_000,
    "100,000 brackets as data": tensor("[" * 100_000 + "]" * 100_000),
    "100,000 objects": b'{"a":' * 100_000,
    "many keys": b'{"inputs": [], "parameters": {' + b",".join(b'"%d": 1' % n for n in range(80_000)) + b"}}",
    "a number of a million digits": tensor("[" + "9" * 1_000_000 + "]"),
    "a float of a million digits": tensor("[1." + "9" * 1_000_000 + "]"),
    "the same key twice": b'{"inputs": [], "inputs": []}',
    "a lone surrogate": tensor('["\\ud800"]'),
    "a byte-order mark": b"\xef\xbb\xbf" + tensor("[1]"),
    "UTF-16": tensor("[1]").decode().encode("utf-16"),
    "bad UTF-8": b'{"inputs": "\xff"}',
    "NaN": tensor("[NaN]"),
    "Infinity": tensor("[Infinity]"),
    "1e999": tensor("[1e999]"),
    "over 64 bits": tensor("[9223372036854775808]"),
    "a bool": tensor("[true]"),
    "a text": tensor('["1"]'),
    "a fraction": tensor("[1.5]"),
    "null": tensor("[null]"),
    "too few": tensor("[]"),
    "too many": tensor("[1, 2]"),
    "a huge shape": tensor("[1]", "[9223372036854775807, 9223372036854775807]"),
    "no rows of much": tensor("[]", "[0, 9223372036854775807]"),
    "another letter that looks alike": tensor("[1]").replace(b"secret", "s\u0435cret".encode()),
    "trailing text": tensor("[1]") + b"x",
    "nothing": b"",
}


@pytest.mark.parametrize("kind", BAD_JSON)
def test_g3_g4_what_is_no_request_is_a_client_s_mistake_in_no_time_and_without_a_traceback(gateway, kind):
    ask(gateway, BAD_JSON[kind])
    cpu = gateway.cpu
    status, code, words = ask(gateway, BAD_JSON[kind])
    assert 400 <= status < 500
    assert gateway.cpu - cpu <= 0.1
    assert b"Traceback" not in words
    assert b"/src/" not in words
    assert len(words) < 2000
    assert code.startswith(("serve.", "http."))
    assert list(json.loads(words)) == ["error"]


VALUES = ("1", "-0", "0", "1.0", "1.5", "true", '"1"', "null", "NaN", "1e999", "1e3", "9223372036854775807", "1e19")


@pytest.mark.parametrize("value", VALUES)
def test_g4_v1_and_v2_give_the_same_verdict_on_the_same_value(gateway, value):
    """What gRPC says to the same is in tests/interfaces/grpc."""
    nested = ask(gateway, tensor(f"[[{value}]]"))
    flat = ask(gateway, tensor(f"[{value}]"))
    instances = ask(gateway, f'{{"instances": [[{value}]]}}'.encode(), path="/v1/models/secrets:predict")
    assert (nested[0], nested[1]) == (flat[0], flat[1])
    assert nested[0] == instances[0]
    if nested[0] == 200:
        assert json.loads(nested[2])["outputs"][0]["data"] == [
            number for row in json.loads(instances[2])["predictions"] for number in row
        ]


def test_g5_keys_made_to_collide_and_repeated_words_take_linear_time(gateway):
    def seconds(body, headers=None):
        cpu = gateway.cpu
        for _ in range(10):
            assert 400 <= ask(gateway, body, headers)[0] < 500
        return (gateway.cpu - cpu) / 10

    collide = b",".join(b'"%d": 1' % (n * (2**61 - 1)) for n in range(30_000))
    assert seconds(b'{"parameters": {' + collide + b'}, "inputs": []}') < 0.1
    assert seconds(tensor("[" + "1," * 400_000 + "1]")) < 0.1
    words = {"Content-Encoding": "gzip," * 3000, "Modelwright-Timeout-Ms": "9" * 10_000}
    assert seconds(b"", dict(list(words.items())[:1])) < 0.1
    assert seconds(infer("secrets", 1).partition(b"\r\n\r\n")[2], dict(list(words.items())[1:])) < 0.1


HIDDEN = b"GET /v2/health/live HTTP/1.1\r\nHost: hidden\r\n\r\n"
SMUGGLED = {
    "length and chunks, 1.0": HEAD.replace(b"1.1", b"1.0") + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two lengths in one": HEAD + b"Content-Length: 5, 5\r\n\r\nhello",
    "a length in hexadecimal": HEAD + b"Content-Length: 0x5\r\n\r\nhello",
    "a length with an underscore": HEAD + b"Content-Length: 1_0\r\n\r\nhello",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "two encodings": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "almost chunked": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked, then not": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a vertical tab": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a tab before the colon": HEAD + b"Content-Length\t: 5\r\n\r\nhello",
    "a bare carriage return": HEAD + b"A: b\rContent-Length: 5\r\n\r\nhello",
    "a bare line feed in a value": HEAD + b"A: b\nContent-Length: 5\r\n\r\nhello",
    "a nameless header": HEAD + b": x\r\n\r\n",
    "a chunk size with a sign": HEAD + b"Transfer-Encoding: chunked\r\n\r\n+1\r\nx\r\n0\r\n\r\n",
    "a chunk size in 0x": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n",
    "a chunk size over 64 bits": HEAD + b"Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\nx\r\n0\r\n\r\n",
    "a chunk longer than it says": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n0\r\n\r\n",
    "a chunk ended by a line feed": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n",
    "an extension with a line feed": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;a\nx\r\n0\r\n\r\n",
    "a space before the first header": b"POST / HTTP/1.1\r\n Host: x\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("kind", SMUGGLED)
def test_g6_what_two_servers_could_read_differently_is_refused_and_the_connection_closed(gateway, kind):
    with socket.create_connection(("127.0.0.1", gateway.port), 20) as client:
        client.sendall(SMUGGLED[kind] + HIDDEN)
        client.settimeout(5)
        received = b""
        with contextlib.suppress(ConnectionError):
            while part := client.recv(65536):
                received += part
    statuses = [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]
    assert statuses
    assert all(400 <= status < 500 for status in statuses)
    assert b"live" not in received
