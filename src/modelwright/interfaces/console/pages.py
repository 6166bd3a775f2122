"""The pages' endpoints: one function per address, run in a thread; the table says what each needs."""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import msgspec
from starlette.responses import RedirectResponse, Response

from modelwright.adapters.charts import altair as charts
from modelwright.core.access import Actor, Permission
from modelwright.core.errors import BadInputError, ForbiddenError, NotFoundError, UnavailableError
from modelwright.core.signature import Signature
from modelwright.interfaces.console import figures, trying, views
from modelwright.interfaces.console.data_plane import Said
from modelwright.pack.card_forms import html
from modelwright.ports.platform import Platform
from modelwright.ports.workflow import Workflow

Render = Callable[..., Response]
Ask = Callable[[str, bytes], Said]


@dataclass(frozen=True, slots=True)
class Visit:
    """One authorised request for a page. ``form`` is empty unless the form's token was right.

    ``ask`` posts to the data plane with the visitor's own token; None where that cannot be.
    """

    platform: Platform
    workflow: Workflow
    actor: Actor
    path: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, str]
    render: Render
    ask: Ask | None = None


Page = Callable[[Visit], Response]
CANNOT_ASK = (
    "Predictions go out from here only where you signed in with a token, the pages run under modelwright serve, "
    "and the data plane asks for no client certificate."
)


@dataclass(frozen=True, slots=True)
class PageRow:
    """One row of the page table."""

    method: Literal["GET", "POST"]
    path: str
    permission: Permission
    page: Page


def check_form(form: Mapping[str, str], expected: str) -> None:
    """Refuse a form that this server did not write.

    Raises:
        ForbiddenError: ``console.bad-form``.
    """
    if not hmac.compare_digest(form.get("form_token", "").encode(), expected.encode()):
        raise ForbiddenError("console.bad-form", "This form is out of date.", fix="Open the page again and repeat.")


def fleet(visit: Visit) -> Response:
    """All models, and what runs."""
    # Rounds of keeping that went well are not news.
    news = [state for state in visit.workflow.states(limit=100) if state.story != "keep" or state.status != "done"]
    equivalents = [("modelwright status", "GET /api/status")]
    return visit.render(
        "fleet.html", here="fleet", rows=views.fleet(visit.platform), stories=news[:8], equivalents=equivalents
    )


def model(visit: Visit) -> Response:
    """One model."""
    name = visit.path["model"]
    page = views.model_page(visit.platform, name, metric=visit.query.get("metric", ""))
    equivalents = [
        (f"modelwright versions {name}", f"GET /api/models/{name}/versions"),
        (f"modelwright history {name}", f"GET /api/models/{name}/history"),
        (f"modelwright watch reports {name}", f"GET /api/models/{name}/reports"),
        (f"modelwright rollback {name} --reason '...'", f"POST /api/models/{name}/rollback"),
        (f"modelwright promote {name} VERSION --reason '...'", f"POST /api/models/{name}/promote"),
    ]
    started = visit.workflow.state(visit.query.get("story", "")) if visit.query.get("story") else None
    attempt, _ = _attempt(visit)
    return visit.render("model.html", **page, attempt=attempt, started=started, equivalents=equivalents)


def version(visit: Visit) -> Response:
    """One version."""
    name, number = visit.path["model"], visit.path["version"]
    page = views.version_page(visit.platform, name, number)
    call = f"GET /api/models/{name}/versions/{page['version'].number}"
    return visit.render("version.html", **page, equivalents=[(f"modelwright versions {name} --json", call)])


def card(visit: Visit) -> Response:
    """The model card of one version as a page of its own, to keep: it has styles, which no page here may have."""
    name = visit.path["model"]
    number, made = views.card_of_version(visit.platform, name, visit.path["version"])
    return Response(
        html(made, charts.intervals_svg if charts.available() else None),
        media_type="text/html",
        headers={"content-disposition": f'attachment; filename="{name}-{number}-card.html"'},
    )


def _chart(visit: Visit) -> figures.Chart:
    name = visit.path["name"]
    return figures.by_name(visit.platform, visit.path["model"], name, metric=visit.query.get("metric", ""))


def chart_json(visit: Visit) -> Response:
    """A chart's Vega-Lite specification."""
    return Response(msgspec.json.encode(_chart(visit).draw()), media_type="application/json")


def chart_csv(visit: Visit) -> Response:
    """A chart's rows."""
    return Response(_chart(visit).csv(), media_type="text/csv")


def ledger(visit: Visit) -> Response:
    """The latest entries."""
    return _ledger(visit, verdict=None)


def verify_ledger(visit: Visit) -> Response:
    """The latest entries under the result of verifying the whole chain."""
    return _ledger(visit, verdict=visit.platform.ledger.verify())


def _ledger(visit: Visit, *, verdict: Any) -> Response:
    before = visit.query.get("before", "0")
    subject = visit.query.get("subject") or None
    if not (before.isascii() and before.isdigit()):
        raise BadInputError("console.bad-query", "`before` must be a whole number.")
    entries = views.newest(visit.platform, subject=subject, before=int(before[:19]))
    older = entries[-1].sequence if len(entries) == views.LEDGER_PAGE else None
    option, query = (f" --subject {subject}", f"?subject={quote(subject)}") if subject else ("", "")
    return visit.render(
        "ledger.html",
        here="ledger",
        entries=entries,
        older=older,
        subject=subject,
        verdict=verdict,
        equivalents=[
            (f"modelwright ledger show{option}", f"GET /api/ledger{query}"),
            ("modelwright ledger verify", "POST /api/ledger/verify"),
        ],
    )


def story(visit: Visit) -> Response:
    """How far a story is."""
    state = visit.workflow.state(visit.path["key"])
    if state is None:
        raise NotFoundError("console.unknown-story", f"There is no story {visit.path['key']!r}.")
    return visit.render(
        "story.html", state=state, equivalents=[("modelwright stories", f"GET /api/stories/{state.key}")]
    )


def _start(visit: Visit, story_name: str, arguments: dict[str, Any]) -> Response:
    name, reason = visit.path["model"], visit.form.get("reason", "").strip()
    if not reason or len(reason) > 2000:
        raise BadInputError(
            "console.no-reason",
            "A change needs a reason.",
            fix="Say why; it goes into the ledger (2000 letters at most).",
        )
    visit.platform.versions.versions(name)
    key = f"{story_name}-{name}-{uuid.uuid4().hex[:16]}"
    common = {"model": name, "actor": visit.actor.subject, "role": visit.actor.role, "reason": reason}
    visit.workflow.start(story_name, arguments | common, key=key)
    return RedirectResponse(f"/models/{quote(name)}?story={key}", status_code=303)


def rollback(visit: Visit) -> Response:
    """Start going back."""
    return _start(visit, "rollback", {"to": visit.form.get("version") or None})


def promote(visit: Visit) -> Response:
    """Start making a version the champion."""
    chosen = visit.form.get("version", "")
    number = visit.platform.versions.version(visit.path["model"], chosen).number
    return _start(visit, "promote", {"version": number})


def _attempt(visit: Visit) -> tuple[trying.Form, Signature | None]:
    """The form for whoever may and can predict from here; else a note."""
    if not visit.actor.may("predict"):
        return trying.Form(note=f"Your role {visit.actor.role} may look but not predict."), None
    if visit.ask is None:
        return trying.Form(note=CANNOT_ASK), None
    return trying.form(visit.platform, visit.path["model"], visit.form)


def try_form(visit: Visit) -> Response:
    """The form, and after it was sent what the data plane said."""
    name, tried = visit.path["model"], None
    visit.platform.versions.versions(name)
    attempt, signature = _attempt(visit)
    if visit.form and visit.ask is not None and signature is not None:
        path = f"/v2/models/{quote(name, safe='')}/versions/{quote(attempt.version, safe='')}/infer"
        asked = trying.body(signature, visit.form)
        try:
            tried = trying.outcome(signature, attempt.version, path, asked, visit.ask(path, asked))
        except UnavailableError as error:
            tried = trying.Outcome(ok=False, version=attempt.version, error=str(error))
    equivalents = [("modelwright status", f"GET /api/models/{name}")]
    return visit.render("try.html", model=name, attempt=attempt, tried=tried, equivalents=equivalents)


PAGES: tuple[PageRow, ...] = (
    PageRow("GET", "/", "read", fleet),
    PageRow("GET", "/models/{model}", "read", model),
    PageRow("GET", "/models/{model}/versions/{version}", "read", version),
    PageRow("GET", "/models/{model}/versions/{version}/card.html", "read", card),
    PageRow("GET", "/models/{model}/charts/{name:path}.json", "read", chart_json),
    PageRow("GET", "/models/{model}/charts/{name:path}.csv", "read", chart_csv),
    PageRow("GET", "/models/{model}/try", "predict", try_form),
    PageRow("POST", "/models/{model}/try", "predict", try_form),
    PageRow("POST", "/models/{model}/rollback", "deploy", rollback),
    PageRow("POST", "/models/{model}/promote", "deploy", promote),
    PageRow("GET", "/ledger", "read", ledger),
    PageRow("POST", "/ledger/verify", "read", verify_ledger),
    PageRow("GET", "/stories/{key}", "read", story),
)
