"""One CloudEvent: its attributes, the question in its data, and the event that answers it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from urllib.parse import quote, unquote_to_bytes

import msgspec

from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.core.prediction_id import new_prediction_id
from modelwright.interfaces.http import infer, instances
from modelwright.interfaces.http.dialects import ask
from modelwright.interfaces.http.message import Request, status_of, words
from modelwright.serve.call import Answer, PredictCall
from modelwright.serve.route import LiveArm

ANSWERED, FAILED = "org.modelwright.prediction", "org.modelwright.prediction.failed"
_CARRIED = ("subject", "traceparent", "tracestate")
_REQUIRED = ("specversion", "id", "source", "type")
_PRINTABLE = "!#$&'()*+,-./:;<=>?@[]^_`{|}~\\"  # with letters and digits what a header's value need not escape


class Event(msgspec.Struct, gc=False):
    """The attributes that are read; a producer's further ones are ignored."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str | None = None
    time: str | None = None
    datacontenttype: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")
    data_base64: str | None = None


class _Form(msgspec.Struct, gc=False):
    """Which protocol the data is of."""

    instances: msgspec.Raw = msgspec.Raw(b"")


_decoder = msgspec.json.Decoder(Event)
_form = msgspec.json.Decoder(_Form)


@dataclass(slots=True)
class Question:
    """What an event asks of the plane; ``write`` makes the data of the answering event."""

    event: Event
    call: PredictCall
    write: Callable[[Answer], bytes]


def from_json(text: bytes | msgspec.Raw) -> Event:
    """The event of the JSON event format.

    Raises:
        BadInputError: ``serve.bad-json``, ``serve.bad-request``.
    """
    return infer.parse(_decoder, bytes(text))


def from_headers(headers: Mapping[bytes, bytes], body: bytes) -> Event:
    """The event of the binary mode: attributes in ``ce-`` headers, percent-encoded, and the data as the body.

    Raises:
        BadInputError: ``http.bad-event``.
    """
    found: dict[str, str] = {}
    for name in Event.__struct_fields__:
        value = headers.get(b"ce-" + name.encode())
        if value is None or name.startswith("data"):
            continue
        try:
            found[name] = unquote_to_bytes(value).decode()
        except UnicodeDecodeError as error:
            raise BadInputError("http.bad-event", f"The header ce-{name} is not UTF-8.") from error
    missing = [name for name in _REQUIRED if name not in found]
    if missing:
        raise BadInputError(
            "http.bad-event",
            f"The event has no header {', '.join(f'ce-{name}' for name in missing)}.",
            fix="Send an event in the binary, the structured or the batched mode of CloudEvents 1.0.",
        )
    media = headers.get(b"content-type", b"").decode(errors="replace")
    return Event(**found, datacontenttype=media or None, data=msgspec.Raw(body))


def question(event: Event, arm: LiveArm, request: Request) -> Question:
    """The prediction that an event asks for.

    Its data is a request body of the Open Inference Protocol or of KServe V1. The event's id becomes the prediction's
    where the data gives none, and its time the event time.

    Raises:
        BadInputError: ``http.bad-event``, ``http.unsupported-type``, and as :mod:`.infer` and :mod:`.instances`.
    """
    data = _data(event)
    model, version = arm.model, request.parameters.get("version", "")
    actor, at = request.actor.subject, request.received_at
    write: Callable[[Answer], bytes]
    if infer.parse(_form, data).instances:
        call, _ = instances.decode(model, version, arm.loaded.signature, data, actor=actor, received_at=at)
        write = instances.encode
    else:
        decoded = infer.decode(model, version, data, None, actor=actor, received_at=at)
        call, write = (
            decoded.call,
            partial(_inferred, infer.Decoded(decoded.call, decoded.echo_id, False, {}, decoded.classes)),
        )
    call.prediction_id = call.prediction_id or event.id
    if call.event_time is None and event.time is not None:
        call.event_time = infer.event_time(event.time)
    return Question(event, call, write)


def answering(event: Event, answer: Answer) -> dict[str, str]:
    """The attributes of the event that carries an answer."""
    source = f"/v2/models/{quote(answer.model)}/versions/{quote(answer.version)}"
    return _attributes(event, ANSWERED, answer.prediction_id, source)


def failing(event: Event | None, error: ModelwrightError, model: str) -> dict[str, object]:
    """The whole event that says what is wrong with one event of a batch (None: it could not be read)."""
    attributes = _attributes(event, FAILED, new_prediction_id(), f"/v2/models/{quote(model)}")
    return {**attributes, "data": {"error": words(error), "code": error.code, "status": status_of(error)}}


def to_headers(attributes: Mapping[str, str]) -> bytes:
    """The ``ce-`` headers of the binary mode; the type of the data has its own header."""
    return b"".join(
        b"ce-%b: %b\r\n" % (name.encode(), quote(value, safe=_PRINTABLE, errors="replace").encode())
        for name, value in attributes.items()
        if name != "datacontenttype"
    )


def _data(event: Event) -> bytes:
    """The event's data as JSON, once its attributes are as CloudEvents 1.0 asks."""
    if event.specversion != "1.0":
        raise BadInputError(
            "http.bad-event", f"The event's specversion is {event.specversion[:20]!r}.", fix="Send CloudEvents 1.0."
        )
    empty = [name for name in _REQUIRED if not getattr(event, name)]
    if empty:
        raise BadInputError("http.bad-event", f"The event's attribute {empty[0]} is empty.")
    media = ask.media_type((event.datacontenttype or "").encode())
    if not ask.is_json(media):
        raise ask.unsupported(media, "data of type application/json")
    if bool(event.data) == (event.data_base64 is not None):
        raise BadInputError("http.bad-event", "The event holds exactly one of data and data_base64.")
    if event.data_base64 is None:
        return bytes(event.data)
    try:
        return base64.b64decode(event.data_base64, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadInputError("http.bad-event", "The event's data_base64 is no base64.") from error


def _attributes(event: Event | None, kind: str, identity: str, source: str) -> dict[str, str]:
    attributes = {
        "specversion": "1.0",
        "id": identity,
        "source": source,
        "type": kind,
        "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
    }
    if event is None:
        return attributes
    attributes["causationid"] = event.id
    carried = {name: getattr(event, name) for name in _CARRIED}
    return attributes | {name: value for name, value in carried.items() if value}


def _inferred(decoded: infer.Decoded, answer: Answer) -> bytes:
    return infer.encode(decoded, answer, infer.opening(answer.model, answer.version))[0]
