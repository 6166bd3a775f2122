"""The model repository extension: what is there may be asked, and what is served is not changed here."""

from __future__ import annotations

from typing import NoReturn

import msgspec

from modelwright.interfaces.http.endpoints import Context
from modelwright.interfaces.http.infer import parse
from modelwright.interfaces.http.message import Reply, Request, json_reply
from modelwright.serve.repository import no_load, require_unnamed


class IndexRequest(msgspec.Struct, gc=False):
    """What is asked of the index: every version, or only those that are ready."""

    ready: bool = False


_decoder = msgspec.json.Decoder(IndexRequest)


def index(context: Context, request: Request) -> Reply:
    """Every loaded version, or only those that are ready."""
    require_unnamed(request.parameters.get("repository", ""))
    only_ready = parse(_decoder, request.body).ready if request.body.strip() else False
    known = [(route.model, version) for route in context.plane.routes.values() for version in route.by_version]
    found = [(model, version, context.unready(model, version)) for model, version in known]
    return json_reply(
        [
            {
                "name": model,
                "version": version,
                "state": "UNAVAILABLE" if reasons else "READY",
                "reason": " ".join(reasons),
            }
            for model, version, reasons in found
            if not (reasons and only_ready)
        ]
    )


def load(_context: Context, request: Request) -> NoReturn:
    """Always refused: the registry decides what is served."""
    require_unnamed(request.parameters.get("repository", ""))
    raise no_load(request.parameters["model"])
