"""*Try it*, against a real data plane over the platform's own route, packages and tokens."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from html import unescape
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from modelwright.core import package_codec
from modelwright.core.access import Act
from modelwright.core.package import Description, Golden
from modelwright.core.prediction import PredictionRecord
from modelwright.core.signature import Feature, Signature, TensorSpec
from modelwright.core.version import Arm, Lineage, Route, RoutingTable, TokenGrant
from modelwright.interfaces.console import trying
from modelwright.interfaces.console.app import console_app
from modelwright.interfaces.console.data_plane import DataPlane
from modelwright.interfaces.console.views import health
from modelwright.interfaces.control.app import control_app
from modelwright.interfaces.http.server import DataPlane as Server
from modelwright.ports.platform import Platform
from modelwright.ports.record import ArmCount
from modelwright.serve.plane import Plane
from modelwright.serve.turn import Turn
from modelwright.settings import Settings
from modelwright.testing.record import InMemorySink
from modelwright.testing.runner import FunctionRunners
from modelwright.testing.workflow import InlineWorkflow

SIGNATURE = Signature(
    inputs=(
        TensorSpec("temp", "FP32", (-1, 1)),
        TensorSpec("carrier", "BYTES", (-1, 1)),
        TensorSpec("night", "BOOL", (-1, 1)),
        TensorSpec("pair", "FP64", (-1, 2), ("wind", "rain")),
        TensorSpec("image", "FP32", (-1, 2, 2)),
    ),
    outputs=(TensorSpec("label", "INT64", (-1,)), TensorSpec("probabilities", "FP32", (-1, 2))),
    features=(
        Feature("temp", "number", low=-10.0, high=35.0),
        Feature("carrier", "category", categories=("AA", "U<A")),
        Feature("rain", "number", nullable=True),
    ),
    task="binary",
    classes=("on time", "late"),
    label_output="label",
    score_output="probabilities",
    target="delay",
)
GOLDEN = Golden(
    {
        "temp": [[0.10000000149011612]],
        "carrier": [["U<A"]],
        "night": [[True]],
        "pair": [[3.0, 0.5]],
        "image": [[[1.0, 2.0], [3.0, 4.0]]],
    },
    {"label": [1], "probabilities": [[0.25, 0.75]]},
    1,
)


def _answer(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    rows = len(inputs["temp"])
    if (inputs["temp"] > 1000).any():
        raise ValueError("too hot")
    return {"label": np.ones(rows, np.int64), "probabilities": np.tile(np.float32([0.25, 0.75]), (rows, 1))}


@pytest.fixture
def functions(platform: Platform) -> dict[str, Callable[..., Any]]:
    """A second model, ``wide``, in force beside the platform's first one."""
    files = {
        "function.txt": b"",
        package_codec.DESCRIPTION: package_codec.description_json(
            Description("wide", "none", "1", "function", "none", "2013-03-01T00:00:00Z", "3.11")
        ),
        package_codec.SIGNATURE: package_codec.signature_json(SIGNATURE),
        package_codec.GOLDEN: package_codec.golden_json(GOLDEN),
    }
    act = Act("nadia", "go")
    digest = package_codec.store(package_codec.assemble("wide", files), platform.blobs.put)
    number = platform.versions.register("wide", digest, lineage=Lineage(), verdict={}, act=act).number
    platform.routes.set_route(Route("wide", (Arm(number, digest, 1.0, "champion"),)), act=act)
    return {digest: _answer}


@pytest.fixture
def tokens(platform: Platform) -> dict[str, str]:
    """A token per role, issued before the gateway starts."""
    return {role: platform.tokens.issue(role, role, act=Act("a")) for role in ("viewer", "deployer")}


@pytest.fixture
def sink() -> InMemorySink:
    return InMemorySink()


@pytest.fixture
def port(
    platform: Platform,
    functions: dict[str, Callable[..., Any]],
    tokens: dict[str, str],
    sink: InMemorySink,
    settings: Settings,
) -> Iterator[int]:
    """Where a data plane answers."""
    plane = Plane(sink, FunctionRunners(functions))
    grants = tuple(TokenGrant(hashlib.sha256(text.encode()).hexdigest(), role, role) for role, text in tokens.items())
    route = platform.routes.route("wide")
    assert route is not None
    table = RoutingTable(1, {"wide": route}, grants)
    plane.apply(table, lambda digest: package_codec.load(digest, platform.blobs.get))
    listener, up, held = socket.create_server(("127.0.0.1", 0)), threading.Event(), {}

    async def main() -> None:
        held["loop"], held["stop"] = asyncio.get_running_loop(), asyncio.Event()
        server = Server(Turn(plane, sink, lambda work: asyncio.get_running_loop().call_soon(work)), settings, {})
        server.commit(plane.prepare(table, lambda digest: package_codec.load(digest, platform.blobs.get)))
        await server.start(listener)
        up.set()
        await held["stop"].wait()
        await server.drain(1.0)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    assert up.wait(20)
    yield listener.getsockname()[1]
    held["loop"].call_soon_threadsafe(held["stop"].set)
    thread.join()


def _client(
    platform: Platform, workflow: InlineWorkflow, settings: Settings, port: int, *, authenticate: bool = True
) -> TestClient:
    plane = DataPlane("0.0.0.0", port)  # as a listener on every address says it
    pages = console_app(platform, workflow, authenticate=authenticate, data_plane=plane)
    app = control_app(platform, workflow, settings=settings, pages=pages, authenticate=authenticate)
    return TestClient(app, base_url="http://127.0.0.1:8081", follow_redirects=False)


@pytest.fixture
def client(platform: Platform, workflow: InlineWorkflow, settings: Settings, port: int) -> TestClient:
    return _client(platform, workflow, settings, port)


def _sign_in(client: TestClient, token: str) -> None:
    assert client.post("/login", data={"token": token}).status_code == 303


def _fields(page: str) -> dict[str, str]:
    """What a browser would send of the form as it is."""
    form = page.partition('action="/models/wide/try"')[2].partition("</form>")[0]
    sent = {name: unescape(value) for name, value in re.findall(r'<input[^>]*name="([^"]*)" value="([^"]*)"', form)}
    sent |= {name: unescape(text) for name, text in re.findall(r'<textarea name="([^"]*)"[^>]*>([^<]*)<', form)}
    for name, options in re.findall(r'<select name="([^"]*)">(.*?)</select>', form):
        found = re.search(r'<option(?: value="([^"]*)")? selected>([^<]*)<', options)
        assert found
        sent[name] = found[1] or found[2]
    return sent


@pytest.fixture
def sent(client: TestClient, tokens: dict[str, str]) -> dict[str, str]:
    """The form on the model's page, as a deployer finds it."""
    _sign_in(client, tokens["deployer"])
    return _fields(client.get("/models/wide").text)


def test_the_form_has_a_field_per_feature_filled_with_a_golden_row(sent: dict[str, str]) -> None:
    assert sent.pop("form_token")
    assert sent == {
        "in:temp:temp": "0.1",
        "in:carrier:carrier": "U<A",
        "in:night:night": "true",
        "in:pair:wind": "3",
        "in:pair:rain": "0.5",
        "in:image:": "[[1.0,2.0],[3.0,4.0]]",
        "version": "1",
    }


def test_a_try_is_answered_and_recorded_under_the_visitors_name_as_pinned(
    client: TestClient, sent: dict[str, str], sink: InMemorySink
) -> None:
    answer = client.post("/models/wide/try", data=sent)
    assert answer.status_code == 200
    (record,) = (one for one in sink.records if isinstance(one, PredictionRecord))
    assert (record.actor, record.role, record.status, record.version) == ("deployer", "pinned", "ok", "1")
    assert record.prediction_id.startswith("try-")
    for told in (
        "delay: 1",
        "on time",
        '{"name": "temp", "datatype": "FP32", "shape": [1, 1], "data": [0.1]}',
        "0.75",
        record.prediction_id,
        "Raw request",
        "HTTP 200",
        "v1",
    ):
        assert told in unescape(answer.text)
    assert "mw_" not in answer.text
    assert _fields(answer.text) == sent


def test_what_was_written_comes_back_as_text_under_the_strict_policy(client: TestClient, sent: dict[str, str]) -> None:
    evil = '"><script>alert(1)</script>'
    for change in ({"in:carrier:carrier": evil}, {"in:temp:temp": evil}, {"in:image:": f"</textarea>{evil}"}):
        answer = client.post("/models/wide/try", data=sent | change)
        assert _fields(answer.text) == sent | change
        assert not re.search(r"<script|<style|<[^>]* (?:style|on[a-z]+)=", answer.text)
        assert "script-src 'self'" in answer.headers["content-security-policy"]


def test_what_does_not_fit_is_said_in_the_data_planes_words(client: TestClient, sent: dict[str, str]) -> None:
    for change, told in (
        ({"in:temp:temp": "warm"}, "The data of input 'temp' is not FP32."),
        ({"in:temp:temp": "1e999"}, "The data of input 'temp' is not FP32."),
        ({"in:temp:temp": "9" * 20}, "The model rejected its input."),
        ({"in:temp:temp": ""}, "has a null where the model takes none"),
        ({"in:image:": "[[1, 2]]"}, "where the model takes [-1, 2, 2]"),
        ({"in:image:": "[" * 3000}, "The data of input 'image' is not FP32."),
        ({"in:image:": f"[1, {'[' * 700}{']' * 700}]"}, "The data of input 'image' is not FP32."),
        ({"in:night:night": "maybe"}, "The data of input 'night' is not BOOL."),
        ({"in:temp:temp": "2000"}, "too hot"),
    ):
        answer = client.post("/models/wide/try", data=sent | change)
        assert answer.status_code == 200
        assert told in unescape(answer.text), change
        assert "Refused" in answer.text
    for change in ({"in:pair:rain": ""}, {"in:carrier:carrier": "never seen"}, {"in:temp:temp": " -1.5e1 "}):
        assert "delay: 1" in client.post("/models/wide/try", data=sent | change).text, change


def test_a_try_that_fails_does_not_make_the_model_look_ill(platform: Platform) -> None:
    route = platform.routes.route("flight-delay")
    pinned, routed = (ArmCount("2", role, 0, 1, 0.0, None) for role in ("pinned", "champion"))
    assert health(route, [pinned], None).says == "healthy"
    assert health(route, [routed], None).says == "failing"


def test_only_who_may_predict_gets_the_form_and_may_send_it(
    client: TestClient, tokens: dict[str, str], sink: InMemorySink
) -> None:
    _sign_in(client, tokens["viewer"])
    page = client.get("/models/wide").text
    assert "Your role viewer may look but not predict." in page
    assert 'action="/models/wide/try"' not in page
    token = re.search(r'name="form_token" value="([^"]*)"', page)
    assert token
    answer = client.post("/models/wide/try", data={"form_token": token[1], "version": "1"})
    assert (answer.status_code, "govern.forbidden" in answer.text) == (403, True)
    assert not sink.records


def test_a_try_from_another_page_than_ours_asks_nothing(
    client: TestClient, sent: dict[str, str], sink: InMemorySink
) -> None:
    for change in ({"form_token": ""}, {"form_token": "wrong"}):
        assert client.post("/models/wide/try", data=sent | change).status_code == 403
    crossed = client.post("/models/wide/try", data=sent, headers={"origin": "https://evil.example"})
    assert crossed.status_code == 403
    assert not sink.records


def test_the_gateway_has_the_last_word_on_the_token(
    client: TestClient, sent: dict[str, str], platform: Platform, sink: InMemorySink
) -> None:
    later = platform.tokens.issue("late", "admin", act=Act("a"))  # which the gateway has not heard of
    _sign_in(client, later)
    answer = client.post("/models/wide/try", data=_fields(client.get("/models/wide/try").text) or sent)
    assert "The token is unknown, revoked or expired." in answer.text
    assert not sink.records


def test_a_version_that_is_not_in_force_is_not_found(client: TestClient, sent: dict[str, str]) -> None:
    answer = client.post("/models/wide/try", data=sent | {"version": "9"})
    assert (answer.status_code, "console.not-in-force" in answer.text) == (404, True)
    assert client.post("/models/nobody/try", data=sent).status_code == 404
    assert client.get("/models/nobody/try").status_code == 404


def test_a_data_plane_that_does_not_answer_is_said_to_be_silent(
    platform: Platform,
    workflow: InlineWorkflow,
    settings: Settings,
    functions: dict[str, Callable[..., Any]],
    tokens: dict[str, str],
) -> None:
    assert functions
    with socket.create_server(("127.0.0.1", 0)) as held:
        gone = held.getsockname()[1]
    client = _client(platform, workflow, settings, gone)
    _sign_in(client, tokens["deployer"])
    answer = client.post("/models/wide/try", data=_fields(client.get("/models/wide/try").text))
    assert answer.status_code == 200
    assert f"The data plane at 127.0.0.1:{gone} gave no answer." in answer.text


def test_without_a_sign_in_there_is_no_token_and_so_no_form(
    platform: Platform, workflow: InlineWorkflow, settings: Settings, port: int
) -> None:
    client = _client(platform, workflow, settings, port, authenticate=False)
    page = client.get("/models/wide").text
    assert "only where you signed in with a token" in page
    assert 'action="/models/wide/try"' not in page


def test_a_damaged_package_costs_the_form_and_not_the_page(
    client: TestClient, tokens: dict[str, str], platform: Platform, functions: dict[str, Callable[..., Any]]
) -> None:
    _sign_in(client, tokens["deployer"])
    platform.blobs.delete(next(iter(functions)))
    page = client.get("/models/wide")
    assert page.status_code == 200
    assert 'action="/models/wide/try"' not in page.text


def test_a_model_with_very_many_features_gets_one_field_in_json() -> None:
    names = tuple(f"x{index}" for index in range(trying.MOST_FIELDS + 1))
    spec = TensorSpec("X", "FP32", (-1, len(names)), names)
    (one,) = trying._fields(Signature((spec,), ()), {})
    assert (one.kind, one.name) == ("json", "in:X:")
