"""The model repository extension over HTTP."""

from __future__ import annotations

from functools import partial

import msgspec

from modelwright.interfaces.http.endpoints import Context
from modelwright.interfaces.http.infer import parse
from modelwright.interfaces.http.message import Later, Reply, Request, json_reply


class IndexRequest(msgspec.Struct, gc=False):
    """What is asked of the index: every version, or only those that are ready."""

    ready: bool = False


_decoder = msgspec.json.Decoder(IndexRequest)


def index(context: Context, request: Request) -> Reply:
    """Every version with its state, or only those that are ready."""
    only_ready = parse(_decoder, request.body).ready if request.body.strip() else False
    entries = context.repository.index(request.parameters.get("repository", ""), stopping=context.stopping())
    return json_reply([entry for entry in entries if entry.state == "READY" or not only_ready])


def load(context: Context, request: Request) -> Later:
    """Load a model of a folder; refused where a registry decides."""
    return _change(context, request, load=True)


def unload(context: Context, request: Request) -> Later:
    """Unload a model of a folder; refused where a registry decides."""
    return _change(context, request, load=False)


def _change(context: Context, request: Request, *, load: bool) -> Later:
    named = request.parameters
    change = partial(context.repository.change, named.get("repository", ""), named["model"], load=load)
    return Later(lambda done: change(done=done), Reply(200, b""))
