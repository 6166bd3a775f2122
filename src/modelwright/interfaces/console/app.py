"""Page table to Starlette application: sessions, forms, errors as pages, static files."""

from __future__ import annotations

import gzip
import hashlib
import logging
from functools import partial
from importlib import resources
from typing import Any
from urllib.parse import parse_qsl, quote

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from modelwright.adapters.charts import altair as charts
from modelwright.core.about import __version__
from modelwright.core.access import Actor
from modelwright.core.errors import (
    BadInputError,
    InternalError,
    ModelwrightError,
    NotFoundError,
    UnauthenticatedError,
)
from modelwright.govern.policy import require
from modelwright.interfaces.console.data_plane import DataPlane
from modelwright.interfaces.console.pages import PAGES, Ask, PageRow, Visit, check_form
from modelwright.interfaces.console.sessions import COOKIE, LIFETIME_SECONDS, Session, Sessions
from modelwright.interfaces.console.trying import MOST_FIELDS
from modelwright.interfaces.console.words import FILTERS
from modelwright.ports.platform import Platform
from modelwright.ports.workflow import Workflow

_STATUS = {"bad-input": 400, "forbidden": 403, "not-found": 404, "conflict": 409, "refused": 422, "unavailable": 503}
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_STATIC = ("style.css", "charts.js", "icon.svg")
_log = logging.getLogger("modelwright.console")
_LOCAL = Actor("local", "admin")


class Console:
    """The pages over one platform.

    Args:
        platform: the ports.
        workflow: runs what a form starts.
        authenticate: False shows everything to everybody as the local operator; only for a loopback address.
        secure: True behind TLS: the cookie is then sent over TLS only.
        data_plane: where *try it* asks; None: nowhere.
    """

    def __init__(
        self,
        platform: Platform,
        workflow: Workflow,
        *,
        authenticate: bool,
        secure: bool,
        data_plane: DataPlane | None = None,
    ) -> None:
        self._platform, self._workflow, self._secure = platform, workflow, secure
        self._data_plane = data_plane
        self._sessions, self._anonymous = Sessions(), None if authenticate else Session("", "local", float("inf"))
        folder = resources.files("modelwright.interfaces.console")
        self._static = {name: (folder / "static" / name).read_bytes() for name in _STATIC}
        self._mark = hashlib.sha256(b"".join(self._static.values()) + __version__.encode()).hexdigest()[:12]
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("modelwright.interfaces.console"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(FILTERS)

    def routes(self) -> list[BaseRoute]:
        """Every route: the page table, and the three that need no session."""
        return [
            *(self._route(row) for row in PAGES),
            Route("/login", self.login, methods=["GET", "POST"]),
            Route("/logout", self.logout, methods=["POST"]),
            Route("/static/{name}", self.static, methods=["GET"]),
        ]

    def _render(
        self, template: str, actor: Actor | None, session: Session | None, status: int, **values: Any
    ) -> Response:
        html = self._templates.get_template(template).render(
            actor=actor,
            form_token=session.form_token if session else "",
            charts=charts.available(),
            install=charts.INSTALL,
            mark=self._mark,
            release=__version__,
            signed_in=session is not None and self._anonymous is None,
            **({"equivalents": [], "here": ""} | values),
        )
        return Response(html, status, media_type="text/html")

    def _session(self, request: Request) -> Session | None:
        return self._anonymous or self._sessions.get(request.cookies.get(COOKIE, ""))

    def _actor(self, session: Session) -> Actor | None:
        return _LOCAL if session is self._anonymous else self._platform.tokens.actor(session.token)

    def _ask(self, session: Session) -> Ask | None:
        """What asks the data plane as the visitor; a session without a token has nobody to ask as."""
        plane = self._data_plane
        if plane is None or not session.token:
            return None
        return partial(plane.post, token=session.token)

    def _route(self, row: PageRow) -> Route:
        async def endpoint(request: Request) -> Response:
            return await run_in_threadpool(self._visit, row, request, await request.body())

        return Route(row.path, endpoint, methods=[row.method], name=f"{row.method} {row.path}")

    def _visit(self, row: PageRow, request: Request, body: bytes) -> Response:
        session = self._session(request)
        actor = self._actor(session) if session else None
        if session is None or actor is None:
            wanted = request.url.path if row.method == "GET" else "/"
            return RedirectResponse(f"/login?next={quote(wanted)}", status_code=303)

        def render(template: str, **values: Any) -> Response:
            return self._render(template, actor, session, 200, **values)

        try:
            require(actor, row.permission)
            form = _form(body) if row.method == "POST" else {}
            if row.method == "POST":
                check_form(form, session.form_token)
            path = {name: str(value) for name, value in request.path_params.items()}
            query, ask = dict(request.query_params), self._ask(session)
            return row.page(Visit(self._platform, self._workflow, actor, path, query, form, render, ask))
        except ModelwrightError as error:
            return self._error(error, actor, session)
        except Exception:  # noqa: BLE001 - the last line: a page, never a traceback, and headers from the guard
            _log.exception("console.internal", extra={"path": request.url.path})
            crash = InternalError(
                "console.internal", "Something went wrong inside modelwright.", fix="The server's log says more."
            )
            return self._error(crash, actor, session)

    def _error(self, error: ModelwrightError, actor: Actor | None = None, session: Session | None = None) -> Response:
        return self._render("error.html", actor, session, _STATUS.get(error.kind, 500), error=error)

    async def login(self, request: Request) -> Response:
        """The token form; a valid token with the permission to read opens a session."""
        wanted = _own_path(request.query_params.get("next", "/"))
        if request.method == "GET":
            return self._render("login.html", None, None, 200, wanted=wanted, error=None)
        token = _form(await request.body()).get("token", "").strip()
        actor = await run_in_threadpool(self._platform.tokens.actor, token) if token else None
        if actor is None or not actor.may("read"):
            error = UnauthenticatedError(
                "console.bad-token", "This token does not open the pages.", fix="`modelwright token issue` makes one."
            )
            return self._render("login.html", None, None, 401, wanted=wanted, error=error)
        response = RedirectResponse(wanted, status_code=303)
        response.set_cookie(
            COOKIE,
            self._sessions.open(token),
            max_age=LIFETIME_SECONDS,
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="strict",
        )
        return response

    async def logout(self, request: Request) -> Response:
        """Close the session."""
        session = self._session(request)
        try:
            if session is not None:
                check_form(_form(await request.body()), session.form_token)
        except ModelwrightError as error:
            return self._error(error)
        self._sessions.close(request.cookies.get(COOKIE, ""))
        response = RedirectResponse("/login", status_code=303)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict", secure=self._secure)
        return response

    async def static(self, request: Request) -> Response:
        """Our own files and the chart library, kept by the browser under a name that changes with them."""
        name = request.path_params["name"]
        try:
            if name == "vega.js":
                content = await run_in_threadpool(charts.javascript_bundle)
            elif name in self._static:
                content = self._static[name]
            else:
                raise NotFoundError("console.no-such-file", "There is no such file.")
        except ModelwrightError as error:
            return self._error(error)
        headers = {"cache-control": "private, max-age=31536000, immutable", "vary": "accept-encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            content = await run_in_threadpool(gzip.compress, content, 5)
            headers["content-encoding"] = "gzip"
        return Response(content, headers=headers, media_type=_TYPES[name.rpartition(".")[2]])

    async def http_error(self, request: Request, error: Exception) -> Response:
        """An unknown address or method, as a page."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        missing = NotFoundError("console.no-such-page", "There is no such page.", fix="Start at the fleet.")
        session = self._session(request)
        actor = await run_in_threadpool(self._actor, session) if session else None
        response = self._error(missing, actor, session)
        response.status_code = status
        return response


def _form(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS + 50))
    except ValueError as error:
        raise BadInputError("console.unreadable-form", "The form cannot be read.") from error


def _own_path(path: str) -> str:
    """A path on this server, or ``/``: never another site."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() else "/"


def console_app(
    platform: Platform,
    workflow: Workflow,
    *,
    authenticate: bool = True,
    secure: bool = False,
    data_plane: DataPlane | None = None,
) -> Starlette:
    """The pages as an application; put it behind the control plane's guard (``control_app(pages=...)``).

    Args:
        platform: the ports.
        workflow: runs what a form starts.
        authenticate: False only on loopback.
        secure: True behind TLS.
        data_plane: where *try it* asks, with the token that the visitor signed in with; None: nowhere.
    """
    console = Console(platform, workflow, authenticate=authenticate, secure=secure, data_plane=data_plane)
    return Starlette(routes=console.routes(), exception_handlers={HTTPException: console.http_error})
