"""What stands around every call: who asks, whether there is still time, and how an error travels."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
from numpy.typing import NDArray

from modelwright.core.access import Actor, Permission
from modelwright.core.errors import DeadlineError, InternalError, ModelwrightError
from modelwright.serve.plane import Plane

_logger = logging.getLogger(__name__)
_STATUS = {
    "bad-input": grpc.StatusCode.INVALID_ARGUMENT,
    "not-found": grpc.StatusCode.NOT_FOUND,
    "unauthenticated": grpc.StatusCode.UNAUTHENTICATED,
    "forbidden": grpc.StatusCode.PERMISSION_DENIED,
    "too-large": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "conflict": grpc.StatusCode.ABORTED,
    "refused": grpc.StatusCode.FAILED_PRECONDITION,
    "unavailable": grpc.StatusCode.UNAVAILABLE,
    "deadline": grpc.StatusCode.DEADLINE_EXCEEDED,
    "corrupt": grpc.StatusCode.DATA_LOSS,
}


@dataclass(frozen=True, slots=True)
class Shared:
    """What this interface shares with the other one, handed in by the process that runs both.

    ``admit(authorization, permission, now)`` gives the actor; ``ready`` says whether every model is loaded;
    ``flush`` writes the log (promise D2) and ``log_required`` refuses answers when it cannot; ``decode_raw(name,
    datatype, shape, data)`` and ``encode_raw(tensor)`` are the binary extension's; ``event_time`` reads the parameter.
    """

    plane: Plane
    admit: Callable[[bytes | None, Permission, float], Actor]
    ready: Callable[[], bool]
    flush: Callable[[], bool]
    log_required: bool
    decode_raw: Callable[[str, str, list[int], memoryview], NDArray[Any]]
    encode_raw: Callable[[NDArray[Any]], bytes]
    event_time: Callable[[object], float]


def status_of(error: ModelwrightError) -> grpc.StatusCode:
    """The status of an error, by its kind."""
    return _STATUS.get(error.kind, grpc.StatusCode.INTERNAL)


def actor_of(shared: Shared, context: Any, permission: Permission) -> Actor:
    """Who asks, by the metadata key ``authorization``; raises as ``admit`` does."""
    found = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
    given = found[0] if found else None
    authorization = given.encode(errors="replace") if isinstance(given, str) else given
    return shared.admit(authorization, permission, time.time())


def in_time(context: Any) -> None:
    """Nothing is run for a caller who is gone.

    Raises:
        DeadlineError: ``grpc.deadline``.
        CancelledError: the caller took the call back.
    """
    remaining = context.time_remaining()
    if remaining is not None and remaining <= 0:
        raise DeadlineError("grpc.deadline", "The call's deadline had passed before it was run.")
    if context.cancelled():
        raise asyncio.CancelledError


def told(failure: Exception) -> ModelwrightError:
    """The error that the caller is told: ours as it is, and anything unforeseen as ``grpc.internal``, logged here."""
    if isinstance(failure, ModelwrightError):
        return failure
    _logger.error("a request failed", exc_info=failure)
    return InternalError("grpc.internal", "The request failed here.", fix="See the server's log.")


def unary(
    shared: Shared, permission: Permission | None, call: Callable[[Any, Any, Actor | None], Any]
) -> Callable[[Any, Any], Awaitable[Any]]:
    """Who asks, then the call; an error becomes its status, with the stable code beside it."""

    async def answer(request: Any, context: Any) -> Any:
        try:
            in_time(context)
            actor = actor_of(shared, context, permission) if permission else None
            return call(request, context, actor)
        except Exception as failure:  # noqa: BLE001 - the caller is told
            error = told(failure)
        return await _abort(context, error)

    return answer


def stream(call: Callable[[Any, Any], AsyncIterator[Any]]) -> Callable[[Any, Any], AsyncIterator[Any]]:
    """A call that answers more than once; an error that it lets out ends the stream with its status."""

    async def answers(given: Any, context: Any) -> AsyncIterator[Any]:
        try:
            async for response in call(given, context):
                yield response
        except Exception as failure:  # noqa: BLE001 - the caller is told
            error = told(failure)
        else:
            return
        await _abort(context, error)

    return answers


async def _abort(context: Any, error: ModelwrightError) -> Any:
    context.set_trailing_metadata((("modelwright-error", error.code),))
    return await context.abort(status_of(error), str(error))


class Waiting:
    """The streams that wait for their client: a server that stops ends them rather than wait for them."""

    def __init__(self) -> None:
        self.closing = False
        self._idle: set[asyncio.Task[Any]] = set()

    def close(self) -> None:
        """End every wait, now and from now on."""
        self.closing = True
        for task in self._idle:
            task.cancel()

    async def until(self, awaited: Awaitable[Any]) -> Any:
        """What it gives, or None once the server stops."""
        task = asyncio.current_task()
        assert task is not None
        self._idle.add(task)
        try:
            return await awaited
        except asyncio.CancelledError:
            if not self.closing:  # the client's doing
                raise
            task.uncancel()
            return None
        finally:
            self._idle.discard(task)

    async def each(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """The requests of a stream, until its client ends it or the server stops."""
        iterator = aiter(requests)
        while not self.closing:
            request = await self.until(anext(iterator, None))
            if request is None:
                return
            yield request
