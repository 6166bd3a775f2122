from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from modelwright.core.access import Act
from modelwright.core.errors import RefusedError
from modelwright.core.finding import Window
from modelwright.core.version import Lineage
from modelwright.interfaces.cli.app import cli as program
from modelwright.interfaces.console import figures
from modelwright.interfaces.console.app import _own_path, console_app
from modelwright.interfaces.console.pages import PAGES
from modelwright.interfaces.console.sessions import COOKIE, LIFETIME_SECONDS, Sessions
from modelwright.interfaces.console.views import health, spark, timeline
from modelwright.interfaces.console.words import DASH, chance, count, figure, gist, milliseconds, moment, outcome, share
from modelwright.interfaces.control.app import control_app, route_table
from modelwright.ports.platform import Platform
from modelwright.ports.record import ArmCount
from modelwright.ports.workflow import Json, Steps, StoryState
from modelwright.settings import Settings
from modelwright.testing.record import InMemoryLog
from modelwright.testing.workflow import InlineWorkflow

BASE = "http://127.0.0.1:8081"
READS = [
    "/",
    "/models/flight-delay",
    "/models/flight-delay?metric=roc_auc",
    "/models/flight-delay/versions/2",
    "/models/flight-delay/versions/champion",
    "/ledger",
    "/ledger?subject=flight-delay&before=4",
]


def _client(platform: Platform, workflow: InlineWorkflow, settings: Settings, *, authenticate: bool) -> TestClient:
    pages = console_app(platform, workflow, authenticate=authenticate)
    app = control_app(platform, workflow, settings=settings, pages=pages, authenticate=authenticate)
    return TestClient(app, base_url=BASE, follow_redirects=False)


@pytest.fixture
def stranger(platform: Platform, workflow: InlineWorkflow, settings: Settings) -> TestClient:
    return _client(platform, workflow, settings, authenticate=True)


@pytest.fixture
def client(platform: Platform, workflow: InlineWorkflow, settings: Settings) -> TestClient:
    return _client(platform, workflow, settings, authenticate=False)


def _sign_in(client: TestClient, platform: Platform, role: str) -> str:
    token = platform.tokens.issue(role, role, act=Act("admin"))
    assert client.post("/login", data={"token": token}).status_code == 303
    return _form_token(client)


def _form_token(client: TestClient) -> str:
    found = re.search(r'name="form_token" value="([^"]*)"', client.get("/ledger").text)
    assert found
    return found[1]


class _Checker(HTMLParser):
    """Collects what a strict policy forbids and what a reader with a keyboard or a screen reader needs."""

    def __init__(self) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.unlabelled: list[str] = []
        self.open: list[str] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = dict(attributes)
        self.inline += [f"{tag} {name}" for name in named if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in named):
            self.inline.append(tag)
        if tag == "img" and "alt" not in named:
            self.unlabelled.append(tag)
        if tag in {"input", "select"} and named.get("type") != "hidden" and "label" not in self.open:
            self.unlabelled.append(tag)
        if tag == "h1":
            self.headings.append(tag)
        if tag not in {"meta", "link", "img", "input", "hr", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"


@pytest.mark.parametrize("path", READS)
def test_every_page_is_well_formed_without_inline_code_and_labelled(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    checker = _Checker()
    checker.feed(answer.text)
    assert (checker.inline, checker.unlabelled, checker.open) == ([], [], [])
    assert checker.headings == ["h1"]
    assert "The same from a terminal or a program" in answer.text


@pytest.mark.parametrize("path", READS)
def test_a_stranger_is_sent_to_the_login_from_every_page(stranger: TestClient, path: str) -> None:
    answer = stranger.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login?next=/")


def test_every_row_of_the_page_table_needs_a_session(stranger: TestClient) -> None:
    for row in PAGES:
        path = re.sub(r"{[^}]*}", "x", row.path)
        assert stranger.request(row.method, path).headers["location"].startswith("/login"), row


def test_a_token_opens_a_session_whose_cookie_scripts_and_other_sites_cannot_use(
    stranger: TestClient, platform: Platform
) -> None:
    token = platform.tokens.issue("vera", "viewer", act=Act("admin"))
    answer = stranger.post("/login?next=/ledger", data={"token": token})
    assert (answer.status_code, answer.headers["location"]) == (303, "/ledger")
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith(COOKIE)
    assert {"httponly", "samesite=strict", "path=/", f"max-age={LIFETIME_SECONDS}"} <= set(cookie.split("; "))
    assert token.lower() not in cookie
    assert stranger.get("/ledger").status_code == 200


@pytest.mark.parametrize("token", ["", "mw_wrong", "' OR 1=1 --"])
def test_a_wrong_token_opens_nothing(stranger: TestClient, token: str) -> None:
    answer = stranger.post("/login", data={"token": token})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


def test_a_predictors_token_does_not_open_the_pages(stranger: TestClient, platform: Platform) -> None:
    token = platform.tokens.issue("board", "predictor", act=Act("admin"))
    assert stranger.post("/login", data={"token": token}).status_code == 401


def test_revoking_the_token_ends_the_session(stranger: TestClient, platform: Platform) -> None:
    _sign_in(stranger, platform, "viewer")
    platform.tokens.revoke("viewer", act=Act("admin"))
    assert stranger.get("/").status_code == 303


def test_signing_out_ends_the_session_on_the_server(stranger: TestClient, platform: Platform) -> None:
    form_token = _sign_in(stranger, platform, "viewer")
    session = stranger.cookies[COOKIE]
    assert stranger.post("/logout", data={"form_token": form_token}).status_code == 303
    stranger.cookies.set(COOKIE, session)
    assert stranger.get("/").status_code == 303


def test_a_session_ends_after_its_lifetime() -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    opened = sessions.open("mw_x")
    now[0] = LIFETIME_SECONDS - 1
    assert sessions.get(opened)
    now[0] = LIFETIME_SECONDS
    assert sessions.get(opened) is None


@given(st.text(max_size=30))
def test_the_login_leads_to_our_own_pages_only(path: str) -> None:
    for wanted in (path, f"/{path}", f"//{path}", f"/\\{path}"):
        kept = _own_path(wanted)
        assert kept.startswith("/")
        assert kept[1:2] not in {"/", "\\"}


def test_a_rollback_by_form_starts_the_story_with_who_and_why(
    stranger: TestClient, platform: Platform, workflow: InlineWorkflow
) -> None:
    form = {"form_token": _sign_in(stranger, platform, "deployer"), "reason": "complaints since noon", "version": ""}
    answer = stranger.post("/models/flight-delay/rollback", data=form)
    assert answer.status_code == 303
    key = answer.headers["location"].partition("story=")[2]
    workflow.run("rollback", {}, key=key)
    assert platform.versions.alias("flight-delay", "champion") == "1"
    assert list(platform.ledger.entries())[-1].actor == "deployer"
    assert "Rollback" in stranger.get(answer.headers["location"]).text
    assert stranger.get(f"/stories/{key}").status_code == 200


@pytest.mark.parametrize("form_token", ["", "wrong"])
def test_a_form_that_we_did_not_write_changes_nothing(
    stranger: TestClient, platform: Platform, workflow: InlineWorkflow, form_token: str
) -> None:
    _sign_in(stranger, platform, "admin")
    for path in ("/models/flight-delay/rollback", "/models/flight-delay/promote", "/ledger/verify", "/logout"):
        answer = stranger.post(path, data={"form_token": form_token, "reason": "r", "version": "1"})
        assert (answer.status_code, "console.bad-form" in answer.text) == (403, True)
    assert not workflow.states()


def test_a_viewer_sees_no_form_and_may_not_post_one(
    stranger: TestClient, platform: Platform, workflow: InlineWorkflow
) -> None:
    form_token = _sign_in(stranger, platform, "viewer")
    assert "may look but not change" in stranger.get("/models/flight-delay").text
    form = {"form_token": form_token, "reason": "r", "version": "1"}
    assert stranger.post("/models/flight-delay/promote", data=form).status_code == 403
    assert not workflow.states()


def test_a_change_without_a_reason_is_refused(client: TestClient, workflow: InlineWorkflow) -> None:
    form = {"form_token": _form_token(client), "reason": "  ", "version": "1"}
    answer = client.post("/models/flight-delay/promote", data=form)
    assert (answer.status_code, "console.no-reason" in answer.text) == (400, True)
    assert not workflow.states()


def test_what_users_wrote_is_text_and_never_markup(client: TestClient) -> None:
    model, version = client.get("/models/flight-delay").text, client.get("/models/flight-delay/versions/2").text
    assert "month end &lt;b&gt;renewal&lt;/b&gt;" in model
    assert "&lt;script&gt;alert(" in version
    assert "<script>alert(" not in version


def test_the_model_page_says_what_a_person_asks(client: TestClient) -> None:
    page = client.get("/models/flight-delay").text
    for told in (
        "temp is higher: mean 8\N{NO-BREAK SPACE}\N{RIGHTWARDS ARROW} 21.",
        "failing",
        "nadia",
        "check passed",
        "parity",
        "Performance by window",
    ):
        assert told in page


def test_the_timeline_has_one_entry_a_version_and_tells_when_each_alias_named_it(platform: Platform) -> None:
    act = Act("otto", "complaints")
    platform.versions.set_alias("flight-delay", "champion", "1", act=act)
    second, first = timeline(platform, platform.versions.versions("flight-delay"), "flight-delay")
    assert (second["version"].number, second["now"], first["now"]) == ("2", [], ["champion"])
    (ended,) = second["spans"]
    assert ended["until"] is not None
    assert [(span["alias"], span["by"], span["until"] is None) for span in first["spans"]] == [
        ("champion", "nadia", False),
        ("champion", "otto", True),
    ]


def test_a_windows_figure_stands_in_the_windows_middle(platform: Platform) -> None:
    chart = figures.performance(figures.reports_of(platform, "flight-delay"), "log_loss")
    assert [row["at"][:10] for row in chart.rows] == ["1970-01-31", "1970-02-15", "1970-03-17"]
    assert chart.rows[1]["since"] == "1970-01-31 00:00"
    assert [row["value"] for row in chart.rows] == [0.48, 0.49, 0.5]


@pytest.mark.parametrize("window", [Window(0.0, 1e300), Window(-1e9, -5.0), Window(1e300, 1e305)])
def test_a_window_that_no_calendar_holds_does_not_break_the_page(
    client: TestClient, platform: Platform, window: Window
) -> None:
    newest = platform.findings.reports("flight-delay", limit=1)[0]
    platform.findings.add_report(replace(newest, window=window), act=Act("cli"))
    assert client.get("/models/flight-delay").status_code == 200
    assert client.get("/models/flight-delay/charts/performance.json").status_code == 200


def test_the_page_of_a_refused_release_shows_its_gates(platform: Platform, settings: Settings) -> None:
    gate = {"name": "within-training", "passed": False, "figure": 1.0, "threshold": 0.5, "why": "<all> outside."}

    def refuse(_platform: Platform, _steps: Steps, _arguments: Json) -> Json:
        return {"outcome": "refused", "why": "One gate.", "verdict": {"passed": False, "gates": [gate]}}

    workflow = InlineWorkflow(platform, {"release": refuse})
    workflow.run("release", {}, key="r")
    page = _client(platform, workflow, settings, authenticate=False).get("/stories/r").text
    workflow.close()
    assert "&lt;all&gt; outside." in page
    assert "within training" in page


def test_the_slices_of_a_verdict_are_on_its_page(platform: Platform, settings: Settings) -> None:
    metric = {"name": "log_loss", "value": 0.5, "low": 0.4, "high": 0.6, "rows": 99, "greater_is_better": False}
    gap = {"metric": "log_loss", "value": 0.1, "low": 0.05, "high": 0.2, "q": 0.01, "greater_is_better": False}
    worse = {"name": "<LGA>", "kind": "level", "rows": 99, "metrics": [metric], "gaps": [gap]}
    few = {"name": "JFK", "kind": "level", "rows": 9, "metrics": [], "gaps": []}
    slices = [{"column": "airport", "minimum": 30, "groups": [worse, few], "fairness": []}]
    result = {"outcome": "promoted", "why": "", "verdict": {"passed": True, "gates": [], "slices": slices}}
    workflow = InlineWorkflow(platform, {"release": lambda *_: result})
    workflow.run("release", {}, key="r")
    page = _client(platform, workflow, settings, authenticate=False).get("/stories/r").text
    workflow.close()
    assert "By airport: log loss" in page
    assert "&lt;LGA&gt;" in page
    assert "worse</span>" in page
    assert "too few" in page


def test_the_outcome_of_a_story_is_a_sentence() -> None:
    report = {"findings": [{}], "rows": 1200}
    for told, result, error in (
        (f"1 finding in {count(1200)} rows", {"report": report}, None),
        ("refused: A gate.", {"outcome": "refused", "why": "A gate."}, None),
        ("Away.", None, {"what": "Away."}),
        ("", None, None),
    ):
        assert outcome(StoryState("k", "watch", "done", 0.0, result=result, error=error)) == told


def test_evidence_is_told_in_short_without_digests_keys_and_nesting() -> None:
    evidence = {"findings": [{"kind": "drift"}] * 3, "rows": 20, "digest": "f" * 64, "share": 0.25, "route": {"a": 1}}
    assert gist(evidence) == "findings 3, rows 20, share 0.25"
    assert gist({"digest": "f" * 64}) == "evidence"


def test_a_chance_below_what_a_double_holds_is_not_called_zero() -> None:
    assert (chance(0.0), chance(1.1e-43), chance(None)) == ("< 1e-300", "1.1e-43", DASH)


def test_the_card_of_a_version_is_a_page_to_keep_with_its_evaluation(client: TestClient) -> None:
    answer = client.get("/models/flight-delay/versions/champion/card.html")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == 'attachment; filename="flight-delay-2-card.html"'
    assert "<h1>flight-delay</h1>" in answer.text
    assert "Evaluation" in client.get("/models/flight-delay/versions/2").text
    assert client.get("/models/flight-delay/versions/99/card.html").status_code == 404


def test_a_package_that_is_gone_is_told_and_the_record_still_shown(client: TestClient, platform: Platform) -> None:
    platform.blobs.delete(platform.versions.version("flight-delay", "2").digest)
    answer = client.get("/models/flight-delay/versions/2")
    assert answer.status_code == 200
    assert "note bad" in answer.text
    assert "month end" in answer.text


@pytest.mark.parametrize("path", ["/models/nobody", "/models/flight-delay/versions/99", "/stories/none", "/nothing"])
def test_what_is_not_there_is_a_page_that_says_so(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert "<h1>" in answer.text


@pytest.mark.parametrize("name", ["performance", "base-rate", "traffic", "column.temp"])
def test_each_chart_is_a_specification_and_a_csv_of_the_same_rows(client: TestClient, name: str) -> None:
    spec = client.get(f"/models/flight-delay/charts/{name}.json").json()
    assert spec["$schema"].startswith("https://vega.github.io/schema/vega-lite/")
    assert spec["description"]
    lines = client.get(f"/models/flight-delay/charts/{name}.csv").text.splitlines()
    assert len(lines) > 1


def test_an_unknown_chart_is_not_found(client: TestClient) -> None:
    assert client.get("/models/flight-delay/charts/column.nothing.json").status_code == 404
    assert client.get("/models/flight-delay/charts/pie.csv").status_code == 404


def test_without_the_extra_the_page_shows_tables_and_names_the_install_command(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    page = client.get("/models/flight-delay").text
    assert "pip install &#39;modelwright[console]&#39;" in page
    assert "data-chart" not in page
    assert "vega.js" not in page


def test_static_files_are_kept_by_the_browser_and_unknown_ones_are_not_there(client: TestClient) -> None:
    for name in ("style.css", "charts.js", "icon.svg"):
        answer = client.get(f"/static/{name}")
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert client.get("/static/../app.py").status_code == 404
    assert client.get("/static/app.py").status_code == 404


def test_the_ledger_page_verifies_the_chain(client: TestClient) -> None:
    answer = client.post("/ledger/verify", data={"form_token": _form_token(client)})
    assert "The chain holds." in answer.text


def test_health_names_the_worst_thing_first(platform: Platform) -> None:
    route = platform.routes.route("flight-delay")
    reports = platform.findings.reports("flight-delay")
    assert health(None, (), None).tone == "mute"
    assert health(route, (), None).says == "healthy"
    assert health(route, (), reports[0]).tone == "warn"
    assert health(route, platform.log.arms("flight-delay", since=0.0), reports[0]).says == "failing"


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_a_sparkline_stays_in_its_box(values: list[float]) -> None:
    for point in spark(values).split():
        x, y = map(float, point.split(","))
        assert 0 <= x <= 96
        assert 0 <= y <= 24


@given(st.one_of(st.none(), st.floats(), st.integers(-(10**12), 10**12)))
def test_every_figure_can_be_said(value: float | None) -> None:
    for say in (figure, share, milliseconds, moment):
        assert say(value)


def test_figures_are_said_as_people_write_them() -> None:
    assert [figure(value) for value in (0.479012, 50.0, 1234.5, 1.2e-7, float("nan"))] == [
        "0.479",
        "50",
        "1234",
        "1.2e-07",
        DASH,
    ]
    assert share(0.205) == "20.5\N{NARROW NO-BREAK SPACE}%"
    assert moment("2013-03-01T12:30:00+01:00") == "2013-03-01 11:30"


def _equivalents(page: str) -> list[tuple[str, str]]:
    pairs = re.findall(r'<div class="pair"><code[^>]*>(.*?)</code><code[^>]*>(.*?)</code>', page)
    return [(unescape(command), unescape(call)) for command, call in pairs]


@pytest.mark.parametrize("path", READS)
def test_every_equivalent_that_a_page_shows_exists(
    client: TestClient, platform: Platform, workflow: InlineWorkflow, path: str
) -> None:
    routes = {(row.method, re.sub(r"{\w+}", "[^/?]+", row.path)) for row in route_table(platform, workflow)}
    shown = _equivalents(client.get(path).text)
    assert shown
    for command, call in shown:
        method, address = call.split(" ", 1)
        assert any(method == known and re.fullmatch(pattern, address.partition("?")[0]) for known, pattern in routes), (
            call
        )
        words = command.split()[1:]
        found, context = program, program.make_context("modelwright", [], resilient_parsing=True)
        while isinstance(found, click.Group):
            named = found.get_command(context, words.pop(0))
            assert named is not None, command
            found = named
        known = {option for parameter in found.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, command


def test_stories_that_failed_or_said_nothing_are_shown(platform: Platform, settings: Settings) -> None:
    def silent(_platform: object, _steps: Steps, _arguments: Json) -> Json:
        return {}

    def refuse(_platform: object, _steps: Steps, _arguments: Json) -> Json:
        raise RefusedError("check.refused", "The candidate was refused.", why="Its log loss is worse.")

    workflow = InlineWorkflow(platform, {"silent": silent, "refuse": refuse})
    client = _client(platform, workflow, settings, authenticate=False)
    workflow.run("silent", {}, key="a")
    with pytest.raises(RefusedError):
        workflow.run("refuse", {}, key="b")
    workflow.close()
    assert "The candidate was refused." in client.get("/").text
    assert "Its log loss is worse." in client.get("/stories/b").text
    assert "The candidate was refused." in client.get("/models/flight-delay?story=b").text
    assert client.get("/stories/a").status_code == 200


def test_a_version_without_a_verdict_and_a_model_without_a_champion_have_pages(
    client: TestClient, platform: Platform
) -> None:
    platform.versions.register("churn", "0" * 64, lineage=Lineage(), verdict={}, act=Act("omar"))
    assert client.get("/models/churn").status_code == 200
    page = client.get("/models/churn/versions/1")
    assert (page.status_code, "No verdict was kept" in page.text) == (200, True)
    assert "not deployed" in client.get("/").text


class _BrokenLog(InMemoryLog):
    def arms(self, model: str, *, since: float) -> Sequence[ArmCount]:
        raise ZeroDivisionError(f"secret of {model} since {since}")


def test_our_own_mistake_is_a_page_without_its_insides(
    platform: Platform, workflow: InlineWorkflow, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    client = _client(replace(platform, log=_BrokenLog()), workflow, settings, authenticate=False)
    answer = client.get("/models/flight-delay")
    assert (answer.status_code, "console.internal" in answer.text) == (500, True)
    assert "secret" not in answer.text
    assert "content-security-policy" in answer.headers
    assert "secret of flight-delay" in caplog.text
