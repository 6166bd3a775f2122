from __future__ import annotations

import asyncio
from collections.abc import MutableMapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from modelwright.interfaces.control.guard import CONTENT_SECURITY_POLICY, Guard, host_allowed, origin_allowed


async def _echo(request: Request) -> Response:
    return Response(await request.body())


@pytest.fixture
def client() -> TestClient:
    routes = [Route("/", _echo, methods=["GET", "POST"])]
    app = Starlette(routes=routes, middleware=[Middleware(Guard, hosts=("mill.example",), max_body_bytes=100)])
    return TestClient(app, base_url="http://127.0.0.1:8081")


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8081", "localhost", "LOCALHOST:80", "[::1]:8081", "127.9.9.9", "mill.example"]
)
def test_loopback_names_and_configured_hosts_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "10.0.0.1", "[::1"),
        *("127.0.0.1:.evil.example", "127.0.0.1/.evil.example", "evil.example@127.0.0.1", "127.0.0.1?.evil.example"),
    ],
)
def test_any_other_host_is_refused(client: TestClient, host: str) -> None:
    answer = client.get("/", headers={"host": host})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "control.unknown-host")


@given(st.text(max_size=40))
def test_no_text_makes_the_host_check_fail_and_no_stranger_passes(host: str) -> None:
    assert not host_allowed(host + ".evil.example", ())
    host_allowed(host, ())


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_change_from_another_site_is_refused(client: TestClient, headers: dict[str, str]) -> None:
    answer = client.post("/", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "control.cross-origin")
    assert client.get("/", headers=headers).status_code == 200


def test_a_change_from_our_own_pages_or_from_a_program_passes(client: TestClient) -> None:
    ours = {"origin": "http://127.0.0.1:8081", "sec-fetch-site": "same-origin"}
    assert client.post("/", content=b"x", headers=ours).content == b"x"
    assert client.post("/", content=b"y").content == b"y"


@given(st.sampled_from(["POST", "PUT", "PATCH", "DELETE", "ANYTHING"]))
def test_every_method_that_is_not_known_safe_is_checked(method: str) -> None:
    assert not origin_allowed(method, "http://evil.example", "127.0.0.1", None)


def test_a_body_over_the_cap_is_refused_with_and_without_a_length(client: TestClient) -> None:
    assert client.post("/", content=b"x" * 101).status_code == 413
    assert client.post("/", content=iter([b"x" * 60, b"x" * 60])).status_code == 413
    assert client.post("/", content=iter([b"x" * 40, b"x" * 60])).content == b"x" * 100


def test_every_answer_carries_the_security_headers_refusals_too(client: TestClient) -> None:
    for answer in (
        client.get("/"),
        client.get("/", headers={"host": "evil.example"}),
        client.post("/", content=b"x" * 101),
    ):
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_a_body_that_does_not_come_is_not_waited_for_for_ever() -> None:
    sent: list[dict[str, object]] = []

    async def never(*_: object) -> dict[str, object]:
        await asyncio.sleep(60)
        return {"type": "http.request", "more_body": True}

    async def send(message: MutableMapping[str, object]) -> None:
        sent.append(dict(message))

    async def unreachable(*_: object) -> None:
        pytest.fail("an unfinished request was passed on")

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"host", b"localhost")]}
    asyncio.run(Guard(unreachable, body_seconds=0.05)(scope, never, send))
    assert sent[0]["status"] == 504
