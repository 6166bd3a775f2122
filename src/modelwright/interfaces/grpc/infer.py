"""ModelInfer and ModelStreamInfer: the call that matters, and its stream."""

from __future__ import annotations

import asyncio
import string
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from urllib.parse import quote

from modelwright.core.errors import ModelwrightError, UnavailableError
from modelwright.core.statuses import HTTP_STATUS
from modelwright.interfaces.grpc.asking import Asker
from modelwright.interfaces.grpc.describe import Parse
from modelwright.interfaces.grpc.guard import Shared, Waiting, actor_of, fail, in_time, read, told
from modelwright.interfaces.grpc.messages import message
from modelwright.interfaces.grpc.translate import fill, parameter, to_call
from modelwright.interfaces.grpc.wire import Call, Unary
from modelwright.serve.call import Answer, PredictCall
from modelwright.serve.lane import Ticket

_VISIBLE = string.digits + string.ascii_letters + string.punctuation + " "


class Inference:
    """Predictions over gRPC. A unary call costs no task and no future: it is submitted, and answered by a callback."""

    def __init__(self, shared: Shared, waiting: Waiting) -> None:
        self._shared, self._waiting = shared, waiting
        self._asker = Asker(shared.turn, log_required=shared.log_required)
        self._response, self._streamed_response = message("ModelInferResponse"), message("ModelStreamInferResponse")

    def unary(self, parse: Parse) -> Unary:
        """ModelInfer."""
        return partial(self._begin, parse)

    def _begin(self, parse: Parse, call: Call, data: bytes) -> None:
        began, model = time.perf_counter(), ""
        try:
            in_time(call)
            actor = actor_of(self._shared, call, "predict")
            request = read(parse, data)
            model = request.model_name
            asked = self._call(request, actor.subject, began, call)
            ticket = self._asker.submit(asked, partial(self._answered, call, request, began))
        except asyncio.CancelledError:
            return
        except Exception as failure:  # noqa: BLE001 - the caller is told
            fail(call, self._failed(failure, model, began))
        else:
            call.on_cancel = partial(_drop, ticket)

    def _answered(self, call: Call, request: Any, began: float, outcome: Answer | ModelwrightError) -> None:
        if call.cancelled():
            return
        try:
            if isinstance(outcome, ModelwrightError):
                raise outcome  # noqa: TRY301 - one way out for every failure
            response = self._response()
            fill(self._shared, outcome, request, response)
            data = response.SerializeToString()
        except Exception as failure:  # noqa: BLE001 - the caller is told
            fail(call, self._failed(failure, request.model_name, began))
            return
        call.trailing = (
            ("modelwright-prediction-id", _ascii(outcome.prediction_id)),
            ("modelwright-version", _ascii(outcome.version)),
            *(("modelwright-warnings", _ascii(warning)) for warning in outcome.warnings),
        )
        call.finish(data)
        self._observe((outcome.model, outcome.version), 200, began)

    async def stream(self, parse: Parse, call: Call) -> AsyncIterator[Any]:
        """ModelStreamInfer: answers in the order of the requests. Who may not ask, or has no time left, ends it."""
        actor_of(self._shared, call, "predict")  # before the first request: a stranger holds no stream open
        async for request in self._waiting.each(parse, call):
            in_time(call)
            yield await self._streamed(request, actor_of(self._shared, call, "predict").subject, call)
        if self._waiting.closing:
            raise UnavailableError("grpc.stopping", "The server stops.", fix="Open the stream again elsewhere.")

    async def _streamed(self, request: Any, actor: str, call: Call) -> Any:
        """One answer of a stream: what a unary call says in trailing metadata stands in its parameters."""
        began, response = time.perf_counter(), self._streamed_response()
        inner = response.infer_response
        try:
            answer = await self._asker.ask(self._call(request, actor, began, call))
            fill(self._shared, answer, request, inner)
            inner.parameters["modelwright-prediction-id"].string_param = answer.prediction_id
            if answer.warnings:
                inner.parameters["modelwright-warnings"].string_param = ", ".join(answer.warnings)
        except Exception as failure:  # noqa: BLE001 - one request failed, not the stream; the caller is told
            error = self._failed(failure, request.model_name, began)
            inner.Clear()
            response.error_message = str(error)
            inner.id, inner.model_name = request.id, request.model_name
            inner.parameters["modelwright-error"].string_param = error.code
        else:
            self._observe((answer.model, answer.version), 200, began)
        if parameter(request, "triton_enable_empty_final_response") is True:
            inner.parameters["triton_final_response"].bool_param = True  # one answer for each request: it is the last
        return response

    def _call(self, request: Any, actor: str, began: float, call: Call) -> PredictCall:
        route = self._shared.plane.route(request.model_name)  # an unknown model is said to be so, whatever it was sent
        if request.model_version:
            route.pinned(request.model_version)
        asked = to_call(self._shared, request, actor)
        asked.limit = began + min(call.time_remaining(), self._shared.request_seconds)
        asked.started = began
        return asked

    def _failed(self, failure: Exception, model: str, began: float) -> ModelwrightError:
        error = told(failure)
        self._shared.count_error(error.code)
        if model in self._shared.plane.routes:
            self._observe((model, ""), HTTP_STATUS[error.kind], began)
        return error

    def _observe(self, series: tuple[str, str], status: int, began: float) -> None:
        self._shared.observe(series, status, time.perf_counter() - began)


def _drop(ticket: Ticket) -> None:
    ticket.cancelled = True


def _ascii(text: str) -> str:
    """Metadata is printable ASCII: the rest is written as in a URL."""
    return text if text.isascii() and text.isprintable() else quote(text, safe=_VISIBLE)
