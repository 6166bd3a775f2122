"""Route table to Starlette application."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from typing import Any

from anyio import CapacityLimiter, to_thread
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from modelwright.core.access import Actor
from modelwright.core.errors import (
    BadInputError,
    InternalError,
    ModelwrightError,
    NotFoundError,
    UnauthenticatedError,
)
from modelwright.govern.policy import require
from modelwright.interfaces.control.endpoints import ROUTES
from modelwright.interfaces.control.errors import error_response, json_response
from modelwright.interfaces.control.guard import Guard, host_name
from modelwright.interfaces.control.openapi import document
from modelwright.interfaces.control.routes import Answer, Call, RouteRow, checked
from modelwright.ports.platform import Platform
from modelwright.ports.workflow import Workflow
from modelwright.settings import Settings

MOST_WAITERS = 16
LOCAL_OPERATOR = Actor("local", "admin")
_log = logging.getLogger("modelwright.control")


class _Api:
    """Turns rows into Starlette routes: authenticate, authorise, call in a thread, encode, count."""

    def __init__(self, platform: Platform, workflow: Workflow, *, open_to_all: bool) -> None:
        self._platform, self._workflow = platform, workflow
        self._open_to_all, self._waiters = open_to_all, CapacityLimiter(MOST_WAITERS)
        self.metrics = CollectorRegistry()
        ProcessCollector(registry=self.metrics)
        GCCollector(registry=self.metrics)
        self._seconds = Histogram(
            "modelwright_control_request_seconds", "Seconds per API request.", ["route"], registry=self.metrics
        )
        self._requests = Counter(
            "modelwright_control_requests", "API requests.", ["method", "route", "status"], registry=self.metrics
        )

    def actor(self, request: Request) -> Actor:
        """Whose bearer token it is (blocking: asks the token store)."""
        if self._open_to_all:
            return LOCAL_OPERATOR
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        actor = self._platform.tokens.actor(token.strip()) if scheme.lower() == "bearer" and token else None
        if actor is None:
            raise UnauthenticatedError(
                "control.no-token",
                "This needs a valid token.",
                fix="Send `Authorization: Bearer mw_...`; `modelwright token issue` makes one.",
            )
        return actor

    def route(self, row: RouteRow) -> Route:
        """One Starlette route."""

        async def endpoint(request: Request) -> Response:
            started = time.monotonic()
            body = await request.body()
            # Who waits for a story waits in threads of their own, so that they cannot keep everybody else out.
            limiter = self._waiters if "wait" in request.query_params else None
            response = await to_thread.run_sync(self._answer, row, request, body, limiter=limiter)
            self._seconds.labels(row.path).observe(time.monotonic() - started)
            self._requests.labels(row.method, row.path, str(response.status_code)).inc()
            return response

        return Route(row.path, endpoint, methods=[row.method], name=f"{row.method} {row.path}")

    def _answer(self, row: RouteRow, request: Request, body: bytes) -> Response:
        try:
            actor = self.actor(request)
            require(actor, row.permission)
            call = Call(
                platform=self._platform,
                workflow=self._workflow,
                actor=actor,
                path={name: str(value) for name, value in request.path_params.items()},
                query=dict(request.query_params),
                body=body,
                key=request.headers.get("idempotency-key", ""),
            )
            answer = row.endpoint(call)
        except ModelwrightError as error:
            return error_response(error)
        except Exception:  # noqa: BLE001 - the last line: the error shape, never a traceback
            _log.exception("control.internal", extra={"path": request.url.path})
            return error_response(_internal())
        if not isinstance(answer, Answer):
            return json_response(answer)
        if answer.text:
            return Response(answer.content, answer.status, media_type="text/plain; version=0.0.4; charset=utf-8")
        return json_response(answer.content, answer.status)


def _own_rows(api: _Api) -> tuple[RouteRow, ...]:
    def metrics(_call: Call) -> Answer:
        """The control process' own metrics in Prometheus' text format."""
        return Answer(generate_latest(api.metrics), text=True)

    def openapi(_call: Call) -> dict[str, Any]:
        """This document."""
        return document(rows)

    rows = (
        *ROUTES,
        RouteRow("GET", "/metrics", "metrics", metrics, "Metrics of the control process"),
        RouteRow("GET", "/api/openapi.json", "read", openapi, "The OpenAPI document of this API"),
    )
    return rows


class _Unknown:
    """Answers below the API's addresses what no row does: with pages mounted, a program must not get one of them."""

    def __init__(self, rows: Sequence[Route]) -> None:
        self._rows = rows

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """404, or 405 where another method is served."""
        methods = sorted(
            {method for row in self._rows if row.matches(scope)[0] != Match.NONE for method in row.methods or ()}
        )
        if not methods:
            response = error_response(NotFoundError("control.no-such-route", "There is no such address."))
        else:
            known = ", ".join(methods)
            response = error_response(BadInputError("control.wrong-method", f"This address answers {known} only."))
            response.status_code, response.headers["allow"] = 405, known
        await response(scope, receive, send)


async def _http_error(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404:
        return error_response(NotFoundError("control.no-such-route", "There is no such address."))
    what = BadInputError("control.bad-request", f"The request cannot be answered ({status}).")
    response = error_response(what)
    response.status_code = status
    return response


def _internal() -> InternalError:
    return InternalError(
        "control.internal", "Something went wrong inside modelwright.", fix="The server's log says more."
    )


def control_app(
    platform: Platform,
    workflow: Workflow,
    *,
    settings: Settings,
    pages: ASGIApp | None = None,
    authenticate: bool = True,
    hosts: Collection[str] = (),
) -> Starlette:
    """The control plane's application.

    Args:
        platform: the ports.
        workflow: runs the stories.
        settings: ``control`` names the configured host, which the Host allow-list takes besides loopback.
        pages: an ASGI application that answers everything outside the API (the console), behind the same guard.
        authenticate: False lets everybody be the local operator; only for a loopback address.
        hosts: further host names to answer under.

    Raises:
        InternalError: ``control.open-route`` when a route has no permission.
    """
    api = _Api(platform, workflow, open_to_all=not authenticate)
    own = [api.route(row) for row in checked(_own_rows(api))]
    routes: list[BaseRoute] = [*own, Route("/api/{rest:path}", _Unknown(own)), Route("/metrics", _Unknown(own))]
    if pages is not None:
        routes.append(Mount("/", app=pages))
    allowed = {host_name(settings.control), *hosts} - {""}
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, hosts=allowed)],
        exception_handlers={HTTPException: _http_error},
    )


def route_table(platform: Platform, workflow: Workflow) -> tuple[RouteRow, ...]:
    """Every row :func:`control_app` serves, for tests and documentation."""
    return checked(_own_rows(_Api(platform, workflow, open_to_all=False)))
