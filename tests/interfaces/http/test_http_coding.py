"""Bodies in a content coding, in and out (row 15 of the conformance checklist)."""

import gzip
import json
import sys
import zlib

import pytest

from modelwright.interfaces.http.coding import FREE_BYTES, ZSTD_WINDOW_LOG, choose

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

INFER = "/v2/models/total/infer"
ROWS = 500
BODY = json.dumps(
    {"inputs": [{"name": "X", "datatype": "FP32", "shape": [ROWS, 3], "data": [0.25] * (3 * ROWS)}]}
).encode()
CODINGS = {
    "gzip": (gzip.compress, gzip.decompress),
    "deflate": (zlib.compress, zlib.decompress),
    "zstd": (zstd.compress, zstd.decompress),
}


def refusal(answer):
    assert list(answer.body) == ["error"]
    return answer.status, answer.headers["modelwright-error"]


@pytest.mark.parametrize("name", CODINGS)
def test_row_15_a_coding_is_taken_and_given(serve, sum_package, name):
    server = serve(sum_package())
    pack, unpack = CODINGS[name]
    answer = server.request("POST", INFER, pack(BODY), {"Content-Encoding": name, "Accept-Encoding": name})
    assert answer.headers["content-encoding"] == name
    assert answer.headers["vary"] == "accept-encoding"
    assert json.loads(unpack(answer.body))["outputs"][0]["data"] == [0.75] * ROWS
    for bad in (b"no archive", pack(BODY)[:-9], pack(BODY) + b"rest", pack(BODY)[:1]):
        answer = server.request("POST", INFER, bad, {"Content-Encoding": name})
        assert refusal(answer) == (400, "http.bad-encoding")


@pytest.mark.parametrize("name", CODINGS)
def test_row_15_a_body_in_parts_is_one_body_and_very_many_parts_are_refused(serve, sum_package, name):
    server, pack = serve(sum_package()), CODINGS[name][0]
    parts = pack(BODY[:1000]) + pack(b"") + pack(BODY[1000:])
    assert server.request("POST", INFER, parts, {"Content-Encoding": name}).status == 200
    answer = server.request("POST", INFER, pack(b"") * 1000, {"Content-Encoding": name})
    assert refusal(answer) == (400, "http.bad-encoding")


@pytest.mark.parametrize("name", CODINGS)
def test_row_15_a_bomb_is_refused_at_the_limit_or_where_it_unfolds_too_far(serve, sum_package, name):
    bomb = CODINGS[name][0](b" " * 50_000_000)
    assert len(bomb) < 100_000
    server = serve(sum_package(), max_body_bytes=100_000)
    assert refusal(server.request("POST", INFER, bomb, {"Content-Encoding": name})) == (413, "http.body-too-large")
    roomy = serve(sum_package(), max_body_bytes=100_000_000)
    assert refusal(roomy.request("POST", INFER, bomb, {"Content-Encoding": name})) == (413, "http.unfolds-too-far")


@pytest.mark.parametrize("name", CODINGS)
def test_row_15_a_small_body_may_unfold_far(serve, sum_package, name):
    server = serve(sum_package())
    padded = BODY + b" " * (FREE_BYTES - len(BODY))
    packed = CODINGS[name][0](padded)
    assert len(padded) > 500 * len(packed)
    assert server.request("POST", INFER, packed, {"Content-Encoding": name}).status == 200
    answer = server.request("POST", INFER, CODINGS[name][0](padded + b" "), {"Content-Encoding": name})
    assert refusal(answer) == (413, "http.unfolds-too-far")


def test_row_15_a_zstd_body_that_would_reserve_much_memory_is_refused(serve, sum_package):
    server = serve(sum_package())
    options = {zstd.CompressionParameter.window_log: ZSTD_WINDOW_LOG + 1}
    packer = zstd.ZstdCompressor(options=options | {zstd.CompressionParameter.content_size_flag: 0})
    wide = packer.compress(BODY) + packer.flush()
    assert refusal(server.request("POST", INFER, wide, {"Content-Encoding": "zstd"})) == (400, "http.bad-encoding")


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "gzip,zstd", "identity, gzip", "gzip;q=1"])
def test_row_15_other_codings_and_several_at_once_are_refused(serve, sum_package, encoding):
    server = serve(sum_package())
    answer = server.request("POST", INFER, gzip.compress(gzip.compress(BODY)), {"Content-Encoding": encoding})
    assert refusal(answer) == (415, "http.unsupported-encoding")


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZIP ; Q=0.5", "gzip"),
        ("gzip, deflate, br", "gzip"),
        ("gzip, deflate, br, zstd", "gzip"),
        ("gzip;q=0.5, zstd", "zstd"),
        ("zstd;q=0.5, gzip;q=0.8", "gzip"),
        ("deflate, gzip;q=0.999", "deflate"),
        ("gzip;q=0", ""),
        ("gzip;q=0.000, *", ""),
        ("*", "gzip"),
        ("*;q=0", ""),
        ("identity", ""),
        ("identity;q=1, gzip;q=0.5", ""),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("br", ""),
        ("", ""),
        ("gzip;q=nan", ""),
        ("gzip;q=2", ""),
        ("gzip;q=", ""),
        ("notgzip", ""),
    ],
)
def test_the_coding_is_the_one_the_client_likes_best(accepted, coding):
    assert choose(accepted.encode())[0] == coding


@pytest.mark.parametrize("accepted", ["gzip, identity;q=0", "gzip, *;q=0"])
def test_a_client_that_takes_no_plain_body_gets_a_short_one_packed(serve, sum_package, accepted):
    server = serve(sum_package())
    answer = server.request("GET", "/v2/health/live", headers={"Accept-Encoding": accepted})
    assert json.loads(gzip.decompress(answer.body)) == {"live": True}
    assert "content-encoding" not in server.request("GET", "/v2", headers={"Accept-Encoding": "gzip"}).headers


def test_a_very_long_wish_is_not_read(serve, sum_package):
    server = serve(sum_package())
    headers = {"Accept-Encoding": "gzip, " * 100 + "identity;q=0"}
    assert server.request("GET", "/v2/health/live", headers=headers).body == {"live": True}
