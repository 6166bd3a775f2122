"""CloudEvents 1.0 over HTTP: an event asks and an event answers, in the same mode (binary, structured, batched).

The contract: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from modelwright.core.errors import ModelwrightError, TooLargeError
from modelwright.interfaces.http import infer
from modelwright.interfaces.http.dialects import ask, event
from modelwright.interfaces.http.dialects.event import Event, Question
from modelwright.interfaces.http.endpoints import Context, predicted
from modelwright.interfaces.http.message import JSON, Asked, AskedAll, Logged, Reply, Request
from modelwright.interfaces.http.route import HttpRoute
from modelwright.serve.call import Answer
from modelwright.serve.route import LiveArm

STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
MAX_EVENTS = 1000

Failure = tuple[Event | None, ModelwrightError]
"""An event that asks for nothing that can be run (None: it is no event), and why."""

_batch = msgspec.json.Decoder(list[msgspec.Raw])


def events(context: Context, request: Request) -> Asked | AskedAll:
    """Inference asked for by one CloudEvent, or by a batch of them."""
    arm = ask.addressed(context, request)
    media = ask.media_type(request.headers.get(b"content-type", b""))
    if media == BATCH:
        return _all(context, arm, request)
    if media == STRUCTURED:
        asked = event.question(event.from_json(request.body), arm, request)
        return Asked(asked.call, partial(_structured, context, asked))
    if media.startswith("application/cloudevents"):
        raise ask.unsupported(media, f"{STRUCTURED}, {BATCH}, or ce- headers")
    asked = event.question(event.from_headers(request.headers, request.body), arm, request)
    return Asked(asked.call, partial(_binary, context, asked))


def _binary(context: Context, asked: Question, answer: Answer) -> Reply:
    headers = event.to_headers(event.answering(asked.event, answer))
    return predicted(context, answer, asked.write(answer), JSON + headers)


def _structured(context: Context, asked: Question, answer: Answer) -> Reply:
    return predicted(context, answer, msgspec.json.encode(_whole(asked, answer)), _type(STRUCTURED))


def _all(context: Context, arm: LiveArm, request: Request) -> AskedAll:
    """One answer or failure per event, in their order; what is wrong with one is nothing to the others."""
    texts = infer.parse(_batch, request.body)
    if len(texts) > MAX_EVENTS:
        raise TooLargeError(
            "http.too-many-events", f"A batch may hold {MAX_EVENTS} events.", fix="Send several batches."
        )
    entries = [_entry(text, arm, request) for text in texts]
    questions = [entry for entry in entries if isinstance(entry, Question)]
    return AskedAll([asked.call for asked in questions], partial(_batched, context, arm.model, entries))


def _entry(text: msgspec.Raw, arm: LiveArm, request: Request) -> Question | Failure:
    found = None
    try:
        found = event.from_json(text)
        return event.question(found, arm, request)
    except ModelwrightError as error:
        return found, error


def _batched(
    context: Context,
    model: str,
    entries: Sequence[Question | Failure],
    outcomes: Sequence[Answer | ModelwrightError],
) -> Reply:
    waiting = iter(outcomes)
    answers: list[dict[str, object]] = []
    logged, series = Logged.NOTHING, None

    def failed(asking: Event | None, error: ModelwrightError) -> dict[str, object]:
        context.metrics.count_error(error.code)
        return event.failing(asking, error, model)

    for entry in entries:
        if not isinstance(entry, Question):
            answers.append(failed(*entry))
            continue
        outcome = next(waiting)
        if isinstance(outcome, ModelwrightError):
            answers.append(failed(entry.event, outcome))
            continue
        logged, series = Logged.PREDICTION, (outcome.model, outcome.version)
        try:
            answers.append(_whole(entry, outcome))
        except ModelwrightError as error:
            answers.append(failed(entry.event, error))
    return Reply(200, msgspec.json.encode(answers), _type(BATCH), logged, series)


def _whole(asked: Question, answer: Answer) -> dict[str, object]:
    return {**event.answering(asked.event, answer), "data": msgspec.Raw(asked.write(answer))}


def _type(media: str) -> bytes:
    return b"content-type: %b\r\n" % media.encode()


ROUTES = (
    HttpRoute(b"POST", "/v2/models/{model}/events", "predict", events, timed=True),
    HttpRoute(b"POST", "/v2/models/{model}/versions/{version}/events", "predict", events, timed=True),
)
