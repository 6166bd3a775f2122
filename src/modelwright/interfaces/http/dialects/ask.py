"""What the dialects share: which model a request is for, what its body is, and one prediction for it."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl

from modelwright.core.errors import BadInputError
from modelwright.core.signature import Signature
from modelwright.interfaces.http.endpoints import Context, predicted
from modelwright.interfaces.http.message import JSON, Asked, Reply, Request
from modelwright.serve.call import Answer, PredictCall
from modelwright.serve.route import LiveArm

_MAX_FIELDS = 64
_NAMES = ("model", "version", "outputs")

Take = Callable[[PredictCall, Signature], object]
"""Fills the inputs of a call from a body, by the signature."""


def addressed(context: Context, request: Request) -> LiveArm:
    """The model (and the version, where one is named) that a request is for; its parameters name them from here on.

    They stand in the path, else in the query (``model``, ``version``), else in the headers (``modelwright-model``,
    ``modelwright-version``); a request that names no model is for the only one that is served. ``outputs``, or
    ``modelwright-outputs``, names the outputs to give, separated by commas.

    Raises:
        BadInputError: ``serve.no-model-named``, ``http.bad-target``.
        NotFoundError: ``serve.unknown-model``, ``serve.unknown-version``.
    """
    given = {**_headers(request), **_query(request), **request.parameters}
    model = given.get("model") or _only(context)
    request.parameters = {**given, "model": model}
    route, version = context.plane.route(model), given.get("version")
    return route.pinned(version) if version else route.champion


def asked(
    context: Context,
    request: Request,
    take: Take,
    encode: Callable[[Answer], bytes],
    content_type: bytes = JSON,
) -> Asked:
    """One prediction: ``take`` fills its inputs, ``encode`` writes the body of its answer.

    Raises:
        ModelwrightError: as :func:`addressed`, and whatever ``take`` raises.
    """
    arm = addressed(context, request)
    version = request.parameters.get("version", "")
    call = PredictCall(arm.model, {}, request.actor.subject, request.received_at, version, finite=True)
    outputs = request.parameters.get("outputs")
    call.outputs = outputs.split(",") if outputs else None
    take(call, arm.loaded.signature)

    def finish(answer: Answer) -> Reply:
        return predicted(context, answer, encode(answer), content_type)

    return Asked(call, finish)


def media_type(value: bytes) -> str:
    """The media type of a header's value, without its parameters."""
    return value.partition(b";")[0].strip().lower().decode("ascii", "replace")


def is_json(media: str) -> bool:
    """Whether a body of this type is read as JSON: no type, or one that clients send when they do not care, is."""
    return media.endswith(("/json", "+json")) or media in (
        "",
        "text/plain",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
    )


def unsupported(media: str, taken: str) -> BadInputError:
    """The error for a body of a type that nobody reads here."""
    return BadInputError(
        "http.unsupported-type", f"A body of type {media[:100]!r} is not taken here.", fix=f"Send {taken}."
    )


def no_parameters(name: str, value: object) -> None:
    """Refuse parameters of the model: there are none, and ignoring them would let the caller believe that they act.

    Raises:
        BadInputError: ``serve.bad-request``.
    """
    if value not in (None, {}):
        raise BadInputError("serve.bad-request", f"Models here take no {name}.", fix=f"Leave {name} out.")


def _only(context: Context) -> str:
    served = sorted(context.plane.routes)
    if len(served) == 1:
        return served[0]
    raise BadInputError(
        "serve.no-model-named",
        f"The request names no model, and {len(served) or 'none'} are served here.",
        fix=f"Name one in the query, ?model=NAME, or in the header Modelwright-Model: {', '.join(served[:20])}.",
    )


def _query(request: Request) -> dict[str, str]:
    text = request.target.partition(b"?")[2]
    if not text:
        return {}
    try:
        pairs = parse_qsl(text.decode("ascii"), errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise BadInputError("http.bad-target", "The query cannot be read.") from error
    return {name: value for name, value in pairs if name in _NAMES}


def _headers(request: Request) -> dict[str, str]:
    headers = request.headers
    return {
        name: headers[header].decode(errors="replace").strip()
        for name in _NAMES
        if (header := b"modelwright-" + name.encode()) in headers
    }
