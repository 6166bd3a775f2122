"""What stands around every call: who asks, whether there is still time, and how an error travels."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from modelwright.core.access import Actor, Permission
from modelwright.core.errors import (
    BadInputError,
    DeadlineError,
    InternalError,
    ModelwrightError,
    UnavailableError,
)
from modelwright.interfaces.grpc.describe import Parse
from modelwright.interfaces.grpc.wire import Call, Metadata
from modelwright.serve.observe import Observer
from modelwright.serve.plane import Plane
from modelwright.serve.turn import Turn

_logger = logging.getLogger(__name__)
_STATUS = {
    "bad-input": grpc.StatusCode.INVALID_ARGUMENT,
    "not-found": grpc.StatusCode.NOT_FOUND,
    "unauthenticated": grpc.StatusCode.UNAUTHENTICATED,
    "forbidden": grpc.StatusCode.PERMISSION_DENIED,
    "too-large": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "throttled": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "conflict": grpc.StatusCode.ABORTED,
    "refused": grpc.StatusCode.FAILED_PRECONDITION,
    "unavailable": grpc.StatusCode.UNAVAILABLE,
    "deadline": grpc.StatusCode.DEADLINE_EXCEEDED,
    "corrupt": grpc.StatusCode.DATA_LOSS,
}


class Admit(Protocol):
    """Gives the actor behind an authorization, if the permission is theirs; ``counted`` uses up their rate."""

    def __call__(
        self, authorization: bytes | None, permission: Permission, now: float, *, counted: bool = False
    ) -> Actor:
        """Raises UnavailableError, UnauthenticatedError, ForbiddenError, ThrottledError."""
        ...


@dataclass(frozen=True, slots=True)
class Shared:
    """What this interface shares with the other one, handed in by the process that runs both.

    ``turn`` is what predicts; ``admit`` gives the actor; ``ready(model, version)`` says whether all models (both
    empty), one of them or a version of it would answer, ``stopping`` whether the server ends; ``log_required``
    refuses answers that the log does not hold; ``decode_raw(name, datatype, shape, data)`` and ``encode_raw(tensor)``
    are the binary extension's; ``event_time`` reads the parameter; a prediction is given up after ``request_seconds``,
    or sooner where its deadline says so, and an answer in chunks after ``stream_seconds``; ``observe((model, version),
    status, seconds)`` counts an answered one under the HTTP status of its kind, and ``count_error`` the codes of all
    that failed; ``observer`` is told of answered predictions.
    """

    turn: Turn
    admit: Admit
    ready: Callable[[str, str], bool]
    stopping: Callable[[], bool]
    log_required: bool
    decode_raw: Callable[[str, str, list[int], memoryview], NDArray[Any]]
    encode_raw: Callable[[NDArray[Any]], bytes]
    event_time: Callable[[object], float]
    request_seconds: float
    observe: Callable[[tuple[str, str], int, float], None]
    count_error: Callable[[str], None]
    observer: Observer | None = None
    stream_seconds: float = 300.0

    @property
    def plane(self) -> Plane:
        """What the turn runs."""
        return self.turn.plane


def status_of(error: ModelwrightError) -> grpc.StatusCode:
    """The status of an error, by its kind."""
    return _STATUS.get(error.kind, grpc.StatusCode.INTERNAL)


def actor_of(shared: Shared, call: Call, permission: Permission, *, counted: bool = False) -> Actor:
    """Who asks, by the metadata key ``authorization``; raises as ``admit`` does."""
    given = next((value for key, value in call.metadata if key == "authorization"), None)
    authorization = given.encode(errors="replace") if isinstance(given, str) else given
    return shared.admit(authorization, permission, time.time(), counted=counted)


def in_time(call: Call) -> None:
    """Nothing is run for a caller who is gone.

    Raises:
        DeadlineError: ``grpc.deadline``.
        CancelledError: the caller took the call back.
    """
    if call.time_remaining() <= 0:
        raise DeadlineError("grpc.deadline", "The call's deadline had passed before it was run.")
    if call.cancelled():
        raise asyncio.CancelledError


def told(failure: Exception) -> ModelwrightError:
    """The error that the caller is told: ours as it is, and anything unforeseen as ``grpc.internal``, logged here."""
    if isinstance(failure, ModelwrightError):
        return failure
    _logger.error("a request failed", exc_info=failure)
    return InternalError("grpc.internal", "The request failed here.", fix="See the server's log.")


def fail(call: Call, error: ModelwrightError, more: Metadata = ()) -> None:
    """End a call with the status of an error, and its stable code and ``more`` beside it."""
    call.trailing = (("modelwright-error", error.code), *more)
    call.finish(status=status_of(error), details=str(error))


def read(parse: Parse, data: bytes) -> Any:
    """A message from its bytes.

    Raises:
        BadInputError: ``grpc.bad-message``.
    """
    try:
        return parse(data)
    except DecodeError as error:
        raise BadInputError("grpc.bad-message", "The message is not of this call's type.", why=f"{error}.") from error


def unary(
    shared: Shared, permission: Permission | None, answer: Callable[[Any], Any]
) -> Callable[[Parse], Callable[[Call, bytes], None]]:
    """A call with one answer, given at once: who asks, then ``answer(request)``."""

    def bind(parse: Parse) -> Callable[[Call, bytes], None]:
        def serve(call: Call, data: bytes) -> None:
            try:
                in_time(call)
                if permission:
                    actor_of(shared, call, permission)
                response = answer(read(parse, data)).SerializeToString()
            except asyncio.CancelledError:
                return
            except Exception as failure:  # noqa: BLE001 - the caller is told
                fail(call, told(failure))
            else:
                call.finish(response)

        return serve

    return bind


def deferred(
    shared: Shared,
    permission: Permission,
    response: Any,
    begin: Callable[[Any, Callable[[ModelwrightError | None], object]], None],
) -> Callable[[Parse], Callable[[Call, bytes], None]]:
    """A call whose response waits: ``begin(request, done)`` has ``done`` told when it may leave, or why it cannot."""

    def bind(parse: Parse) -> Callable[[Call, bytes], None]:
        def serve(call: Call, data: bytes) -> None:
            def done(error: ModelwrightError | None) -> None:
                if call.cancelled():
                    return
                if error is not None:
                    fail(call, error)
                else:
                    call.finish(response.SerializeToString())

            try:
                in_time(call)
                actor_of(shared, call, permission)
                begin(read(parse, data), done)
            except asyncio.CancelledError:
                return
            except Exception as failure:  # noqa: BLE001 - the caller is told
                fail(call, told(failure))

        return serve

    return bind


def stream(
    waiting: Waiting,
    answers: Callable[[Parse, Call], AsyncGenerator[Any, None]],
) -> Callable[[Parse], Callable[[Call], Coroutine[Any, Any, None]]]:
    """A call that answers more than once; an error that it lets out ends the stream with its status."""

    def bind(parse: Parse) -> Callable[[Call], Coroutine[Any, Any, None]]:
        async def serve(call: Call) -> None:
            try:
                with waiting.one_more():
                    async with contextlib.aclosing(answers(parse, call)) as responses:
                        async for response in responses:
                            await call.write(response.SerializeToString())
            except Exception as failure:  # noqa: BLE001 - the caller is told
                fail(call, told(failure))
            else:
                call.finish()

        return serve

    return bind


class Waiting:
    """The streams that are open. A server that stops ends those that wait for their client rather than wait for them.

    Args:
        most: streams at once; each holds a task and what it reads.
    """

    def __init__(self, most: int) -> None:
        self.closing = False
        self._most, self._open = most, 0
        self._idle: set[asyncio.Task[Any]] = set()

    @contextlib.contextmanager
    def one_more(self) -> Iterator[None]:
        """While a stream is open.

        Raises:
            UnavailableError: ``grpc.too-many-streams``.
        """
        if self._open >= self._most:
            raise UnavailableError(
                "grpc.too-many-streams",
                f"{self._most} streams are open here already.",
                fix="Try again later, or send the requests one by one.",
            )
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

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

    async def each(self, parse: Parse, call: Call) -> AsyncIterator[Any]:
        """The requests of a stream, until its client ends it or the server stops.

        Raises:
            BadInputError: ``grpc.bad-message``.
        """
        while not self.closing:
            data = await self.until(call.read())
            if data is None:
                return
            yield read(parse, data)
