"""The model repository extension: what is there may be asked, and what is served is not changed here."""

from __future__ import annotations

from typing import NoReturn

import msgspec

from modelwright.interfaces.http.endpoints import Context
from modelwright.interfaces.http.infer import parse
from modelwright.interfaces.http.message import Reply, Request, json_reply
from modelwright.serve.repository import no_load, require_unnamed
from modelwright.serve.route import LiveArm


class IndexRequest(msgspec.Struct, gc=False):
    """What is asked of the index: every version, or only those that are ready."""

    ready: bool = False


_decoder = msgspec.json.Decoder(IndexRequest)


def index(context: Context, request: Request) -> Reply:
    """Every loaded version, or only those that are ready."""
    require_unnamed(request.parameters.get("repository", ""))
    only_ready = parse(_decoder, request.body).ready if request.body.strip() else False
    listed = []
    for route in context.plane.routes.values():
        for version, arm in route.by_version.items():
            state, reason = _state(context, arm)
            if state == "READY" or not only_ready:
                listed.append({"name": route.model, "version": version, "state": state, "reason": reason})
    return json_reply(listed)


def _state(context: Context, arm: LiveArm) -> tuple[str, str]:
    failure = context.plane.failure(arm)
    if failure is not None:
        return "UNAVAILABLE", str(failure)
    return ("READY", "") if context.ready() else ("UNAVAILABLE", "the server is stopping")


def load(_context: Context, request: Request) -> NoReturn:
    """Always refused: the registry decides what is served."""
    require_unnamed(request.parameters.get("repository", ""))
    raise no_load(request.parameters["model"])
