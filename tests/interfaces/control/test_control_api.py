from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from modelwright.core.access import ROLES, Act
from modelwright.core.errors import InternalError
from modelwright.interfaces.control.app import control_app, route_table
from modelwright.interfaces.control.routes import RouteRow, checked
from modelwright.ports.platform import Platform
from modelwright.ports.workflow import Json, Steps
from modelwright.settings import Settings
from modelwright.testing.record import InMemoryLog
from modelwright.testing.workflow import InlineWorkflow

BASE = "http://127.0.0.1:8081"


@pytest.fixture
def tokens(platform: Platform) -> dict[str, str]:
    return {role: platform.tokens.issue(role, role, act=Act("admin")) for role in ROLES}


@pytest.fixture
def client(platform: Platform, workflow: InlineWorkflow, settings: Settings, tokens: dict[str, str]) -> TestClient:
    app = control_app(platform, workflow, settings=settings)
    return TestClient(app, base_url=BASE, headers={"authorization": f"Bearer {tokens['admin']}"})


def _address(row: RouteRow) -> str:
    values = {"model": "flight-delay", "version": "2", "key": "no-such-story", "subject": "predictor"}
    return re.sub(r"{(\w+)}", lambda match: values[match[1]], row.path)


def test_every_route_refuses_a_request_without_a_valid_token(
    platform: Platform, workflow: InlineWorkflow, settings: Settings
) -> None:
    client = TestClient(control_app(platform, workflow, settings=settings), base_url=BASE)
    for row in route_table(platform, workflow):
        for headers in ({}, {"authorization": "Bearer mw_wrong"}, {"authorization": "Basic YTpi"}):
            answer = client.request(row.method, _address(row), headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "control.no-token"), row
            assert answer.headers["www-authenticate"].startswith("Bearer")


def test_every_route_refuses_every_role_that_lacks_its_permission(
    client: TestClient, platform: Platform, workflow: InlineWorkflow, tokens: dict[str, str]
) -> None:
    tried = 0
    for row in route_table(platform, workflow):
        for role, token in tokens.items():
            if row.permission in ROLES[role]:
                continue
            answer = client.request(row.method, _address(row), headers={"authorization": f"Bearer {token}"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "govern.forbidden"), (row, role)
            tried += 1
    assert tried > 20


def test_a_route_without_a_permission_keeps_the_server_from_starting(
    platform: Platform, workflow: InlineWorkflow
) -> None:
    row = route_table(platform, workflow)[0]
    with pytest.raises(InternalError, match="no permission"):
        checked([replace(row, permission=None)])
    with pytest.raises(InternalError, match="twice"):
        checked([row, row])


def test_every_read_answers_with_json(client: TestClient, platform: Platform, workflow: InlineWorkflow) -> None:
    for row in route_table(platform, workflow):
        if row.method == "GET" and "{key}" not in row.path and row.path != "/metrics":
            answer = client.get(_address(row))
            assert answer.status_code == 200, row
            assert answer.headers["content-type"] == "application/json"
            assert isinstance(answer.json(), dict)


def test_the_openapi_document_names_every_route_and_body(
    client: TestClient, platform: Platform, workflow: InlineWorkflow
) -> None:
    document = client.get("/api/openapi.json").json()
    for row in route_table(platform, workflow):
        operation = document["paths"][row.path][row.method.lower()]
        assert f"`{row.permission}`" in operation["description"]
        if row.body:
            assert row.body.__name__ in document["components"]["schemas"]


def test_a_rollback_that_is_waited_for_gives_its_outcome(client: TestClient, platform: Platform) -> None:
    answer = client.post("/api/models/flight-delay/rollback?wait=true", json={"reason": "complaints since noon"})
    assert answer.status_code == 200
    assert answer.json()["result"]["outcome"] == "rolled-back"
    assert platform.versions.alias("flight-delay", "champion") == "1"
    entry = list(platform.ledger.entries(subject="flight-delay"))[-1]
    assert (entry.actor, entry.reason) == ("admin", "complaints since noon")


def test_a_story_is_taken_with_202_and_its_progress_can_be_asked(client: TestClient, workflow: InlineWorkflow) -> None:
    answer = client.post("/api/models/flight-delay/promote", json={"version": "1", "reason": "try"})
    assert answer.status_code == 202
    key = answer.json()["key"]
    workflow.run("promote", {}, key=key)
    state = client.get(f"/api/stories/{key}").json()
    assert (state["story"], state["status"], state["result"]["version"]) == ("promote", "done", "1")
    assert key in [one["key"] for one in client.get("/api/stories").json()["stories"]]


def test_the_same_idempotency_key_has_one_effect(client: TestClient, platform: Platform) -> None:
    for _ in range(3):
        answer = client.post(
            "/api/models/flight-delay/rollback?wait=true", json={"reason": "once"}, headers={"idempotency-key": "k-1"}
        )
        assert answer.json()["key"] == "k-1"
        assert answer.json()["result"]["version"] == "1"
    assert len(platform.versions.alias_history("flight-delay")) == 3


def test_a_key_of_another_story_is_a_conflict(client: TestClient) -> None:
    headers = {"idempotency-key": "k-2"}
    client.post("/api/models/flight-delay/rollback?wait=true", json={}, headers=headers)
    answer = client.post("/api/models/flight-delay/promote", json={"version": "1"}, headers=headers)
    assert answer.status_code == 409


@pytest.mark.parametrize(
    ("path", "content", "code"),
    [
        ("promote", b'{"version": "1", "reson": "typo"}', "control.bad-body"),
        ("promote", b"{}", "control.bad-body"),
        ("promote", b'{"version": "../../etc"}', "control.bad-body"),
        ("rollback", b"not json", "control.bad-body"),
        ("rollback", b'{"reason": 7}', "control.bad-body"),
        ("watch", b'{"since": "yesterday"}', "control.bad-body"),
        ("renew", b"[" * 100_000, "control.bad-body"),
        ("renew", b'{"cause": "finding"}', "control.bad-body"),
        ("watch", b'{"until": 1e300}', "control.bad-body"),
        ("watch", b'{"since": NaN}', "control.bad-body"),
        ("watch", b'{"since": 20, "until": 10}', "control.bad-body"),
    ],
)
def test_a_body_that_is_not_understood_is_refused(client: TestClient, path: str, content: bytes, code: str) -> None:
    answer = client.post(f"/api/models/flight-delay/{path}", content=content)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


@pytest.mark.parametrize("key", ["a b", "x" * 129, "k/../k"])
def test_an_idempotency_key_of_strange_characters_is_refused(client: TestClient, key: str) -> None:
    answer = client.post("/api/models/flight-delay/rollback", json={}, headers={"idempotency-key": key})
    assert answer.json()["error"]["code"] == "control.bad-key"


def test_a_version_says_what_its_signature_is_worth(client: TestClient, platform: Platform) -> None:
    def signed() -> str:
        return client.get("/api/models/flight-delay/versions/1").json()["signed"]["state"]

    assert signed() == "unsigned"
    digest = platform.versions.version("flight-delay", "1").digest
    bundle = platform.blobs.put(b"no signature")
    platform.trust.attach("flight-delay", digest, bundle, key_id="", act=Act("ann"))
    assert signed() == "invalid"


def test_an_unknown_model_is_not_found_and_starts_nothing(client: TestClient, workflow: InlineWorkflow) -> None:
    for path in ("", "/versions", "/history", "/reports"):
        assert client.get(f"/api/models/nobody{path}").status_code == 404
    assert client.post("/api/models/nobody/rollback", json={}).status_code == 404
    assert not workflow.states()


def test_the_error_shape_is_the_same_for_an_unknown_address_and_method(client: TestClient) -> None:
    for answer in (client.get("/api/nothing"), client.delete("/api/models")):
        assert answer.status_code in {404, 405}
        assert {"code", "kind", "what"} <= answer.json()["error"].keys()


def test_a_program_gets_the_error_shape_and_never_a_page(
    platform: Platform, workflow: InlineWorkflow, settings: Settings
) -> None:
    app = control_app(platform, workflow, settings=settings, pages=PlainTextResponse("a page"), authenticate=False)
    client = TestClient(app, base_url=BASE)
    assert client.get("/anything").text == "a page"
    for method, path in (("GET", "/api/nothing"), ("GET", "/api/models/..%2F..%2Fetc/versions"), ("POST", "/api/")):
        answer = client.request(method, path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "control.no-such-route"), path
    for method, path, allowed in (("PUT", "/api/status", "GET, HEAD"), ("POST", "/metrics", "GET, HEAD")):
        answer = client.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        assert answer.json()["error"]["code"] == "control.wrong-method"


def test_a_renewal_is_ordered_in_the_name_of_whose_token_it_is(
    platform: Platform, settings: Settings, tokens: dict[str, str]
) -> None:
    seen: list[Json] = []

    def note(_platform: Platform, _steps: Steps, arguments: Json) -> Json:
        seen.append(arguments)
        return {}

    workflow = InlineWorkflow(platform, {"renew": note})
    client = TestClient(control_app(platform, workflow, settings=settings), base_url=BASE)
    body = {"reason": "month end", "cause": "manual", "until": 1364788800}
    headers = {"authorization": f"Bearer {tokens['deployer']}"}
    assert client.post("/api/models/flight-delay/renew?wait=true", json=body, headers=headers).status_code == 200
    workflow.close()
    assert seen == [{**body, "model": "flight-delay", "actor": "deployer", "role": "deployer", "until": 1364788800.0}]


def test_the_ledger_is_paged_and_verified(client: TestClient) -> None:
    page = client.get("/api/ledger?limit=2").json()
    assert [entry["sequence"] for entry in page["entries"]] == [1, 2]
    assert client.get(f"/api/ledger?limit=2&after={page['next']}").json()["entries"][0]["sequence"] == 3
    for limit in ("-1", f"{0:019}1001", "0" * 5000):
        assert client.get(f"/api/ledger?limit={limit}").json()["error"]["code"] == "control.bad-query"
    assert client.post("/api/ledger/verify").json()["verified"] is True


def test_a_token_is_shown_once_works_and_is_revoked_at_once_everywhere(client: TestClient, platform: Platform) -> None:
    made = client.post("/api/tokens", json={"subject": "board", "role": "viewer"})
    assert made.status_code == 201
    own = {"authorization": f"Bearer {made.json()['token']}"}
    assert client.get("/api/models", headers=own).status_code == 200
    assert made.json()["token"] not in client.get("/api/tokens").text
    assert any(grant.subject == "board" for grant in platform.target.serving.tokens)
    assert client.delete("/api/tokens/board").json()["revoked"] == 1
    assert client.get("/api/models", headers=own).status_code == 401
    assert not any(grant.subject == "board" for grant in platform.target.serving.tokens)


def test_a_token_of_an_unknown_role_is_refused_and_the_last_admin_stays(client: TestClient) -> None:
    assert (
        client.post("/api/tokens", json={"subject": "x", "role": "god"}).json()["error"]["code"]
        == "control.unknown-role"
    )
    assert client.delete("/api/tokens/admin").json()["error"]["code"] == "control.last-admin"


def test_metrics_count_requests_by_route_not_by_address(client: TestClient) -> None:
    client.get("/api/models/flight-delay")
    text = client.get("/metrics").text
    assert 'modelwright_control_requests_total{method="GET",route="/api/models/{model}",status="200"} 1.0' in text


def test_without_authentication_the_local_operator_acts(
    platform: Platform, workflow: InlineWorkflow, settings: Settings
) -> None:
    client = TestClient(control_app(platform, workflow, settings=settings, authenticate=False), base_url=BASE)
    client.post("/api/models/flight-delay/rollback?wait=true", json={"reason": "r"})
    assert list(platform.ledger.entries())[-1].actor == "local"


def test_those_who_wait_for_a_story_do_not_keep_others_out(platform: Platform, settings: Settings) -> None:
    enough = threading.Event()

    def slow(_platform: object, _steps: Steps, _arguments: Json) -> Json:
        enough.wait(60)
        return {}

    workflow = InlineWorkflow(platform, {"renew": slow})
    app = control_app(platform, workflow, settings=settings, authenticate=False)
    with TestClient(app, base_url=BASE) as client, ThreadPoolExecutor(50) as pool:
        waiting = [
            pool.submit(
                client.post, "/api/models/flight-delay/renew?wait=true", json={}, headers={"idempotency-key": "k"}
            )
            for _ in range(50)
        ]
        assert client.get("/api/status").status_code == 200
        assert not any(answer.done() for answer in waiting)
        enough.set()
        assert {answer.result().status_code for answer in waiting} == {200}
    workflow.close()


class _BrokenLog(InMemoryLog):
    def counts(self) -> dict[str, int]:
        raise ZeroDivisionError("a secret")


def test_our_own_mistake_keeps_the_error_shape_and_its_insides(
    platform: Platform, workflow: InlineWorkflow, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    app = control_app(replace(platform, log=_BrokenLog()), workflow, settings=settings, authenticate=False)
    answer = TestClient(app, base_url=BASE).get("/api/status")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "control.internal")
    assert "secret" not in answer.text
    assert "a secret" in caplog.text


@pytest.mark.parametrize("body", [{"subject": "board\n"}, {"subject": "board", "ttl_seconds": 1e12}])
def test_a_token_is_refused_for_a_subject_with_a_line_feed_and_for_a_life_past_every_calendar(client, body):
    answer = client.post("/api/tokens", json={"role": "viewer", **body})
    assert answer.status_code == 400
    assert "board" not in client.get("/api/tokens").text
