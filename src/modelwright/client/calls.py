"""What can be asked of a server, as steps that both clients take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from modelwright.client.encoding import Parameters, decode, encode
from modelwright.client.events import EventReader
from modelwright.client.failures import refused, unexpected, warnings_of
from modelwright.client.model import ServedModel, served_model
from modelwright.client.predictions import Predictions
from modelwright.client.rows import tensors
from modelwright.client.steps import Exchanges, Steps
from modelwright.client.truths import truth_bodies
from modelwright.client.wire import BINARY, JSON, Buffer, Reply, Request
from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.core.prediction_id import new_prediction_id

Body = TypeVar("Body")
_KEPT = 1024  # descriptions of models
_LONGEST = 86_400.0  # seconds of an answer in chunks; the server allows less
# What is said of tensors that were made for another version than the server has by now; others give no code.
_STALE = frozenset(
    {"unknown-input", "missing-input", "wrong-datatype", "wrong-shape", "missing-value", "unknown-output"}
)


class _ModelList(msgspec.Struct):
    models: list[str]


class _Accepted(msgspec.Struct):
    accepted: int


class _Server(msgspec.Struct):
    extensions: list[str] = []


@dataclass(frozen=True, slots=True)
class _Asked:
    model: str
    version: str
    outputs: Sequence[str] | None
    identity: str
    parameters: Parameters


class Calls:
    """Makes the steps of every call; remembers what the server said about itself and its models."""

    def __init__(self, exchanges: Exchanges, timeout: float) -> None:
        self._exchanges, self._timeout = exchanges, timeout
        self._binary: bool | None = None
        self._models: dict[tuple[str, str], ServedModel] = {}

    def ready(self, model: str) -> Steps[bool]:
        """Is the server (the model) ready?"""
        started, limit = self._span(None)
        path = f"/v2/models/{_quoted(model)}/ready" if model else "/v2/health/ready"
        try:
            reply = yield from self._exchanges.exchange(Request(b"GET", path), started, limit, again=False)
        except ModelwrightError as error:
            if error.code in ("client.unreachable", "client.no-answer", "client.deadline"):
                return False
            raise
        if reply.status in (401, 403):
            raise refused(self._exchanges.url, reply)
        return reply.status == 200

    def models(self) -> Steps[list[str]]:
        """The names of the models."""
        started, limit = self._span(None)
        reply = yield from self._exchanges.exchange(Request(b"GET", "/v1/models"), started, limit)
        if reply.status == 404:  # a server that does not speak KServe's first protocol
            request = Request(b"POST", "/v2/repository/index", [b"{}"], JSON)
            reply = yield from self._exchanges.fetch(request, started, limit)
            rows = self._decoded(reply, list[dict[str, Any]])
            return sorted({str(row.get("name", "")) for row in rows if row.get("state", "READY") == "READY"})
        if reply.status != 200:
            raise refused(self._exchanges.url, reply)
        return list(self._decoded(reply, _ModelList).models)

    def metadata(self, model: str, version: str) -> Steps[ServedModel]:
        """What the server says of a model now."""
        return (yield from self._describe(model, version, *self._span(None)))

    def predict(
        self,
        model: str,
        rows: Any,
        *,
        version: str,
        outputs: Sequence[str] | None,
        identity: str,
        event_time: float | str | datetime | None,
        deadline: float | None,
        priority: int,
    ) -> Steps[Predictions]:
        """Ask a model about rows.

        A description of the model that was kept may be of an earlier version. Where rows do not fit it, here or at the
        server, it is fetched anew, and the rows are sent by the new one if that is another.
        """
        started, limit = self._span(deadline)
        asked = _Asked(model, version, outputs, identity or new_prediction_id(), _parameters(event_time, priority))
        kept = self._models.get((model, version))
        known = kept or (yield from self._describe(model, version, started, limit))
        try:
            return (yield from self._infer(known, rows, asked, started, limit))
        except BadInputError as error:
            if kept is None or not _may_be_stale(error):
                raise
            known = yield from self._describe(model, version, started, limit)
            if (known.signature, known.binary) == (kept.signature, kept.binary):
                raise
        return (yield from self._infer(known, rows, asked, started, limit))

    def stream(
        self,
        model: str,
        rows: Any,
        *,
        version: str,
        outputs: Sequence[str] | None,
        identity: str,
        event_time: float | str | datetime | None,
        deadline: float | None,
    ) -> Steps[tuple[list[Buffer], EventReader]]:
        """What is sent to ask for an answer in chunks, and what reads it."""
        started, limit = self._span(None)
        asked = _Asked(model, version, outputs, identity or new_prediction_id(), _parameters(event_time, 0))
        kept = self._models.get((model, version))
        known = kept or (yield from self._describe(model, version, started, limit))
        body, _ = encode(
            tensors(known, rows), identity=asked.identity, outputs=outputs, parameters=asked.parameters, binary=False
        )
        path = f"/v2/models/{_quoted(model)}{f'/versions/{_quoted(version)}' if version else ''}/generate_stream"
        _, until = self._span(_LONGEST if deadline is None else deadline)
        parts = self._exchanges.once(Request(b"POST", path, body, JSON), until - time.monotonic())
        return parts, EventReader(self._exchanges.url, lambda reply: self._predictions(known, asked, reply))

    def truth(
        self, model: str, ids: Any, values: Any, *, event_time: float | str | datetime | None, deadline: float | None
    ) -> Steps[int]:
        """Send ground truth; gives how many predictions it was accepted for."""
        started, limit = self._span(deadline)
        accepted = 0
        for body in truth_bodies(model, ids, values, _moment(event_time)):
            request = Request(b"POST", "/record/truth", [body], JSON)
            reply = yield from self._exchanges.fetch(request, started, limit)
            accepted += self._decoded(reply, _Accepted).accepted
        return accepted

    def _infer(self, known: ServedModel, rows: Any, asked: _Asked, started: float, limit: float) -> Steps[Predictions]:
        version = f"/versions/{_quoted(asked.version)}" if asked.version else ""
        body, length = encode(
            tensors(known, rows),
            identity=asked.identity,
            outputs=asked.outputs,
            parameters=asked.parameters,
            binary=known.binary,
        )
        path = f"/v2/models/{_quoted(asked.model)}{version}/infer"
        request = Request(b"POST", path, body, JSON if length is None else BINARY, length)
        reply = yield from self._exchanges.fetch(request, started, limit)
        return self._predictions(known, asked, reply)

    def _predictions(self, known: ServedModel, asked: _Asked, reply: Reply) -> Predictions:
        length = reply.text(b"inference-header-content-length")
        try:
            answer, outputs = decode(reply.body, int(length) if length else None)
        except (msgspec.MsgspecError, ValueError, TypeError, OverflowError) as error:
            raise unexpected(self._exchanges.url, f"{error}") from error
        version = answer.model_version or asked.version
        if known.versions and version not in known.versions:
            self._models.pop((asked.model, asked.version), None)  # a version that came after the description
        identity = answer.id or asked.identity
        return Predictions(outputs, identity, asked.model, version, warnings_of(reply), known.signature)

    def _describe(self, model: str, version: str, started: float, limit: float) -> Steps[ServedModel]:
        if self._binary is None:
            reply = yield from self._exchanges.fetch(Request(b"GET", "/v2"), started, limit)
            self._binary = "binary_tensor_data" in self._decoded(reply, _Server).extensions
        path = f"/v2/models/{_quoted(model)}{f'/versions/{_quoted(version)}' if version else ''}"
        reply = yield from self._exchanges.fetch(Request(b"GET", path), started, limit)
        try:
            found = served_model(reply.body, binary=self._binary)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise unexpected(self._exchanges.url, f"{error}") from error
        if len(self._models) >= _KEPT:
            self._models.clear()
        self._models[(model, version)] = found
        return found

    def _decoded(self, reply: Reply, kind: type[Body]) -> Body:
        try:
            return msgspec.json.decode(reply.body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise unexpected(self._exchanges.url, f"{error}") from error

    def _span(self, seconds: float | None) -> tuple[float, float]:
        """The moments at which a call begins and is given up."""
        allowed = self._timeout if seconds is None else seconds
        if not 0 < allowed < 10**8:
            raise BadInputError(
                "client.bad-deadline", f"{allowed!r} is no time to wait.", fix="Give seconds, more than 0."
            )
        started = time.monotonic()
        return started, started + allowed


def _may_be_stale(error: BadInputError) -> bool:
    stage, _, reason = error.code.partition(".")
    return stage in ("features", "client") or reason in _STALE


def _quoted(name: str) -> str:
    return name if name.isalnum() and name.isascii() else quote(name, safe="")


def _moment(event_time: float | str | datetime | None) -> float | str | None:
    return event_time.isoformat() if isinstance(event_time, datetime) else event_time


def _parameters(event_time: float | str | datetime | None, priority: int) -> Parameters:
    parameters: dict[str, str | int | float] = {}
    moment = _moment(event_time)
    if moment is not None:
        parameters["event_time"] = moment
    if priority:
        parameters["priority"] = priority
    return parameters
