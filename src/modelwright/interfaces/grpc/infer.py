"""ModelInfer and ModelStreamInfer: the call that matters, and its stream."""

from __future__ import annotations

import asyncio
import string
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any
from urllib.parse import quote

from modelwright.core.errors import ModelwrightError, UnavailableError
from modelwright.core.statuses import HTTP_STATUS
from modelwright.interfaces.grpc.asking import Asker, Done
from modelwright.interfaces.grpc.describe import Parse
from modelwright.interfaces.grpc.guard import Shared, Waiting, actor_of, fail, in_time, read, told
from modelwright.interfaces.grpc.messages import message
from modelwright.interfaces.grpc.observed import Asking, observe
from modelwright.interfaces.grpc.translate import by_row, fill, parameter, to_call
from modelwright.interfaces.grpc.wire import Call, Metadata, Unary
from modelwright.serve import each_row
from modelwright.serve.call import Answer, PredictCall
from modelwright.serve.lane import Ticket
from modelwright.serve.several import submit_all

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
        asking = Asking(call, size=len(data))
        try:
            in_time(call)
            asking.actor = actor_of(self._shared, call, "predict", counted=True).subject
            asking.request = read(parse, data)
            asked, done = self._call(asking), partial(self._answered, asking)
            if by_row(asking.request):
                self._submit_rows(asking, asked, done)
            else:
                asking.tickets.append(self._asker.submit(asked, done))
        except asyncio.CancelledError:
            return
        except Exception as failure:  # noqa: BLE001 - the caller is told
            self._refuse(asking, failure)
        else:
            call.on_cancel = partial(_drop, asking.tickets)

    def _submit_rows(self, asking: Asking, asked: PredictCall, done: Done) -> None:
        """A call for each row, answered together."""
        calls = self._rows(asked)
        submit_all(
            calls,
            lambda call, then: asking.tickets.append(self._asker.submit(call, then)),
            lambda outcomes: done(self._joined(calls, outcomes)),
        )

    async def _ask_rows(self, asking: Asking, asked: PredictCall) -> Answer:
        """The same in a stream."""
        calls = self._rows(asked)
        outcomes = await asyncio.gather(*(self._outcome(call, asking) for call in calls))
        outcome = self._joined(calls, outcomes)
        if isinstance(outcome, ModelwrightError):
            raise outcome
        return outcome

    async def _outcome(self, call: PredictCall, asking: Asking) -> Answer | ModelwrightError:
        try:
            return await self._asker.ask(call, asking.tickets.append)
        except ModelwrightError as error:
            return error

    def _rows(self, asked: PredictCall) -> list[PredictCall]:
        return each_row.split(asked, self._shared.plane.route(asked.model).champion.loaded)

    def _joined(
        self, calls: Sequence[PredictCall], outcomes: Sequence[Answer | ModelwrightError]
    ) -> Answer | ModelwrightError:
        try:
            answer = each_row.join(calls, outcomes)
        except ModelwrightError as error:
            return error
        for failed in answer.row_errors.values():
            self._shared.count_error(failed.code)
        return answer

    def _answered(self, asking: Asking, outcome: Answer | ModelwrightError) -> None:
        call = asking.call
        if call.cancelled():
            return
        try:
            if isinstance(outcome, ModelwrightError):
                raise outcome  # noqa: TRY301 - one way out for every failure
            response = self._response()
            fill(self._shared, outcome, asking.request, response)
            data = response.SerializeToString()
        except Exception as failure:  # noqa: BLE001 - the caller is told
            self._refuse(asking, failure)
            return
        call.trailing = (
            ("modelwright-prediction-id", _ascii(outcome.prediction_id)),
            ("modelwright-version", _ascii(outcome.version)),
            *(("modelwright-warnings", _ascii(warning)) for warning in outcome.warnings),
            *self._traced(asking, 200, "", len(data)),
        )
        call.finish(data)
        self._observe((outcome.model, outcome.version), 200, asking.began)

    def _refuse(self, asking: Asking, failure: Exception) -> None:
        """End a call with an error."""
        error = self._failed(failure, asking)
        fail(asking.call, error, self._traced(asking, HTTP_STATUS[error.kind], error.code, 0))

    async def stream(self, parse: Parse, call: Call) -> AsyncGenerator[Any, None]:
        """ModelStreamInfer: answers in the order of the requests. Who may not ask, or has no time left, ends it."""
        actor_of(self._shared, call, "predict")  # before the first request: a stranger holds no stream open
        async for request in self._waiting.each(parse, call):
            in_time(call)
            actor = actor_of(self._shared, call, "predict", counted=True).subject
            if not self._decoupled(request):
                yield await self._streamed(request, actor, call)
                continue
            async with aclosing(self._chunks(request, actor, call)) as responses:
                async for response in responses:
                    yield response
        if self._waiting.closing:
            raise UnavailableError("grpc.stopping", "The server stops.", fix="Open the stream again elsewhere.")

    def _decoupled(self, request: Any) -> bool:
        """Whether one request may have several answers."""
        route = self._shared.plane.routes.get(request.model_name)
        arms = (*route.arms, *route.by_version.values()) if route is not None else ()
        return any(arm.loaded.streams for arm in arms)

    async def _chunks(self, request: Any, actor: str, call: Call) -> AsyncGenerator[Any, None]:
        """The answers to one request of a stream, the last of them an empty one where the caller asked for that."""
        asking = Asking(call, request)
        asking.actor = actor
        final, answer = parameter(request, "triton_enable_empty_final_response") is True, None
        try:
            asked = self._call(asking, self._shared.stream_seconds)
            async with aclosing(self._asker.chunks(asked, asking.tickets.append)) as chunks:
                async for answer in chunks:
                    response = self._streamed_response()
                    fill(self._shared, answer, request, response.infer_response)
                    parameters = response.infer_response.parameters
                    parameters["modelwright-prediction-id"].string_param = answer.prediction_id
                    if final:
                        parameters["triton_final_response"].bool_param = False
                    yield response
        except Exception as failure:  # noqa: BLE001 - one request failed, not the stream; the caller is told
            yield self._last(asking, self._failed(failure, asking), final=final)
            return
        if answer is not None:
            self._observe((answer.model, answer.version), 200, asking.began)
        last = self._last(asking, None, final=final)
        if final:
            yield last

    def _last(self, asking: Asking, error: ModelwrightError | None, *, final: bool) -> Any:
        """What ends the answers to one request; tells of it."""
        response, request = self._streamed_response(), asking.request
        inner = response.infer_response
        inner.id, inner.model_name = request.id, request.model_name
        if error is not None:
            response.error_message = str(error)
            inner.parameters["modelwright-error"].string_param = error.code
        status, code = (200, "") if error is None else (HTTP_STATUS[error.kind], error.code)
        for name, value in self._traced(asking, status, code, 0):
            inner.parameters[name].string_param = value
        if final:
            inner.parameters["triton_final_response"].bool_param = True
        return response

    async def _streamed(self, request: Any, actor: str, call: Call) -> Any:
        """One answer of a stream: what a unary call says in trailing metadata stands in its parameters."""
        asking, response = Asking(call, request), self._streamed_response()
        asking.actor = actor
        inner = response.infer_response
        status, code = 200, ""
        try:
            asked = self._call(asking)
            if by_row(request):
                answer = await self._ask_rows(asking, asked)
            else:
                answer = await self._asker.ask(asked, asking.tickets.append)
            fill(self._shared, answer, request, inner)
            inner.parameters["modelwright-prediction-id"].string_param = answer.prediction_id
            if answer.warnings:
                inner.parameters["modelwright-warnings"].string_param = ", ".join(answer.warnings)
        except Exception as failure:  # noqa: BLE001 - one request failed, not the stream; the caller is told
            error = self._failed(failure, asking)
            status, code = HTTP_STATUS[error.kind], error.code
            inner.Clear()
            response.error_message = str(error)
            inner.id, inner.model_name = request.id, request.model_name
            inner.parameters["modelwright-error"].string_param = error.code
        else:
            self._observe((answer.model, answer.version), 200, asking.began)
        if self._shared.observer is not None:
            for name, value in self._traced(asking, status, code, inner.ByteSize()):
                inner.parameters[name].string_param = value
        if parameter(request, "triton_enable_empty_final_response") is True:
            inner.parameters["triton_final_response"].bool_param = True  # one answer for each request: it is the last
        return response

    def _call(self, asking: Asking, seconds: float = 0.0) -> PredictCall:
        request, began = asking.request, asking.began
        route = self._shared.plane.route(request.model_name)  # an unknown model is said to be so, whatever it was sent
        if request.model_version:
            route.pinned(request.model_version)
        asked = to_call(self._shared, request, asking.actor)
        asked.limit = began + min(asking.call.time_remaining(), seconds or self._shared.request_seconds)
        asked.started = began
        return asked

    def _failed(self, failure: Exception, asking: Asking) -> ModelwrightError:
        error, model = told(failure), asking.model
        self._shared.count_error(error.code)
        if model in self._shared.plane.routes:
            self._observe((model, ""), HTTP_STATUS[error.kind], asking.began)
        return error

    def _traced(self, asking: Asking, status: int, error: str, size: int) -> Metadata:
        """Tell of the request; what its caller is told of its trace."""
        observer = self._shared.observer
        if observer is None:
            return ()
        known = asking.model in self._shared.plane.routes
        trace_id = observe(observer, asking, status, error, size, known=known)
        return (("modelwright-trace-id", trace_id),) if trace_id else ()

    def _observe(self, series: tuple[str, str], status: int, began: float) -> None:
        self._shared.observe(series, status, time.perf_counter() - began)


def _drop(tickets: Sequence[Ticket]) -> None:
    for ticket in tickets:
        ticket.cancelled = True


def _ascii(text: str) -> str:
    """Metadata is printable ASCII: the rest is written as in a URL."""
    return text if text.isascii() and text.isprintable() else quote(text, safe=_VISIBLE)
