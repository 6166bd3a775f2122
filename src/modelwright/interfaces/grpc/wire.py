"""The transport: gRPC C-core's completion queue, read on the event loop's thread.

The ready-made Python servers cannot carry the load: on one core an echo over ``grpc.aio`` makes 7,000 calls a second,
one over the thread-pool server 9,000, and C-core driven as here 20,000 (``benchmarks/serve_grpc.py``). What both stand
on, ``grpc._cython.cygrpc``, is not public: only this file knows it, and the extra ``grpc`` bounds its version.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

import grpc
from grpc._cython import cygrpc

Metadata = tuple[tuple[str, str], ...]

ARMED = 32
"""So many calls are asked for ahead; C-core keeps those that come beyond them."""
BURST = 256
"""So many events at most are handled before the loop looks at anything else."""
SETTLE_SECONDS = 1.0
"""So long may calls still come that were sent before their client heard of the stop; silence gets no more."""
OK = grpc.StatusCode.OK

_logger = logging.getLogger(__name__)
_TO_CORE = {status: status.value[0] for status in grpc.StatusCode}


class Call:
    """One call as the handlers see it.

    ``metadata`` is what the caller sent, ``trailing`` what goes out with the status; ``on_cancel`` is called when the
    caller takes the call back, or is gone, before its status was sent.
    """

    __slots__ = ("_began", "_core", "_deadline", "_gone", "metadata", "method", "on_cancel", "trailing")

    def __init__(self, event: Any) -> None:
        self.method: bytes = event.call_details.method
        self.metadata: Sequence[tuple[str, str | bytes]] = event.invocation_metadata
        self.trailing: Metadata = ()
        self.on_cancel: Callable[[], object] | None = None
        self._deadline: float = event.call_details.deadline
        self._core = event.call
        self._began = self._gone = False

    def time_remaining(self) -> float:
        """Seconds until the caller gives up."""
        return self._deadline - time.time()

    def cancelled(self) -> bool:
        """True once the caller has taken the call back."""
        return self._gone

    def finish(self, data: bytes | None = None, *, status: grpc.StatusCode = OK, details: str = "") -> None:
        """Send the status, and the only message of a unary answer with it."""
        operations = [
            cygrpc.SendStatusFromServerOperation(self.trailing, _TO_CORE[status], details.encode(errors="replace"), 0)
        ]
        if not self._began:
            self._began = True
            operations.append(cygrpc.SendInitialMetadataOperation((), 0))
        if data is not None:
            operations.append(cygrpc.SendMessageOperation(data, 0))
        self.on_cancel = None
        self._core.start_server_batch(operations, _sent)

    async def write(self, data: bytes) -> None:
        """Send one message of a stream, and wait until it may be followed by another."""
        operations = [cygrpc.SendMessageOperation(data, 0)]
        if not self._began:
            self._began = True
            operations.append(cygrpc.SendInitialMetadataOperation((), 0))
        await self._done(operations, bool)

    async def read(self) -> bytes | None:
        """The next message of a stream; None at its end, or once the caller is gone."""
        message: bytes | None = await self._done([cygrpc.ReceiveMessageOperation(0)], _message)
        return message

    async def _done(self, operations: list[Any], result: Callable[[Any], Any]) -> Any:
        future = asyncio.get_running_loop().create_future()
        self._core.start_server_batch(operations, lambda event: _settle(future, result(event)))
        return await future

    # The transport calls these.

    def watch(self, ended: Callable[[], None]) -> None:
        """Ask to be told when the caller is gone, and when the call is over, either way."""
        self._core.start_server_batch((cygrpc.ReceiveCloseOnServerOperation(0),), partial(self._closed, ended))

    def receive(self, then: Unary) -> None:
        """Ask for the only message of a unary call."""
        self._core.start_server_batch((cygrpc.ReceiveMessageOperation(0),), partial(self._received, then))

    def _received(self, then: Unary, event: Any) -> None:
        data = _message(event)
        if data is None:  # the caller is gone, or sent none
            self.finish(status=grpc.StatusCode.UNIMPLEMENTED, details="This call takes one message.")
        else:
            then(self, data)

    def _closed(self, ended: Callable[[], None], event: Any) -> None:
        ended()
        if event.batch_operations[0].cancelled():
            self._gone = True
            on_cancel, self.on_cancel = self.on_cancel, None
            if on_cancel is not None:
                on_cancel()


Unary = Callable[[Call, bytes], None]
Stream = Callable[[Call], Coroutine[Any, Any, None]]


class Transport:
    """A server whose handlers run on the event loop.

    Under load the loop asks the queue for more after every turn. Only when there is none does a thread wait for the
    next event: were all of them its business, each would wake it, only to have it wait for the interpreter.

    Args:
        unary: by path (``/package.Service/Method``): gets the call with its message, and finishes it, now or later.
        streams: by path: reads, writes and finishes; cancelled when the caller is gone.
        options: C-core's.
    """

    def __init__(
        self, unary: Mapping[bytes, Unary], streams: Mapping[bytes, Stream], options: Sequence[tuple[str, int]]
    ) -> None:
        self._unary, self._streams = unary, streams
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._queue = cygrpc.CompletionQueue()
        self._core = cygrpc.Server(tuple(options), False)
        self._core.register_completion_queue(self._queue)
        self._idle = threading.Semaphore()  # the waiting thread may ask the queue
        self._stopping = False
        self._calls = 0
        self._ended = self._loop.create_future()

    def bind(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Listen there; the port, or 0 when that cannot be done."""
        secure = () if credentials is None else (credentials._credentials,)  # noqa: SLF001 - see above
        try:
            port: int = self._core.add_http2_port(address.encode(), *secure)
        except RuntimeError:
            return 0
        return port

    def start(self) -> None:
        """Take calls."""
        self._core.start()
        for _ in range(ARMED):
            self._arm()
        threading.Thread(target=self._wait, name="grpc-wait", daemon=True).start()

    async def stop(self, grace: float) -> None:
        """Take no more calls, give those that run ``grace`` seconds, then cancel them."""
        self._stopping = True
        drained = self._loop.create_future()
        self._core.shutdown(self._queue, lambda _event: _settle(drained, None))
        now = time.monotonic()
        latest, settled = now + grace, now + min(grace, SETTLE_SECONDS)
        while not drained.done() and now < (latest if self._calls else settled):
            await asyncio.wait([drained], timeout=0.02)
            now = time.monotonic()
        if not drained.done():
            self._core.cancel_all_calls()
            await drained
        self._core.destroy()
        self._queue.shutdown()
        await self._ended

    def _wait(self) -> None:
        """The thread that waits where the loop must not."""
        while True:
            self._idle.acquire()
            if self._ended.done():
                return
            self._loop.call_soon_threadsafe(self._drain, self._queue.poll())

    def _drain(self, event: Any = None) -> None:
        """Handle what the queue holds, then wait for more, or look again after a turn."""
        poll = self._queue.poll
        for _ in range(BURST):
            if event is None:
                event = poll(0)
            kind = event.completion_type
            if kind == cygrpc.CompletionType.queue_timeout:
                self._idle.release()
                return
            if kind == cygrpc.CompletionType.queue_shutdown:
                _settle(self._ended, None)
                self._idle.release()
                return
            try:
                event.tag(event)
            except Exception:  # our own mistake with one call must not keep the others waiting
                _logger.exception("a gRPC event failed")
            event = None  # it may hold the last reference to a call, which must be gone before the next poll
        self._loop.call_soon(self._drain)

    def _arm(self) -> None:
        self._core.request_call(self._queue, self._queue, self._arrived)

    def _arrived(self, event: Any) -> None:
        if not event.success:  # the server stops
            return
        if not self._stopping:
            self._arm()
        call = Call(event)
        self._calls += 1
        call.watch(self._over)
        unary = self._unary.get(call.method)
        if unary is None:
            self._open(call)
        else:
            call.receive(unary)

    def _over(self) -> None:
        self._calls -= 1

    def _open(self, call: Call) -> None:
        stream = self._streams.get(call.method)
        if stream is None:
            call.finish(status=grpc.StatusCode.UNIMPLEMENTED, details="There is no such method here.")
            return
        task = self._loop.create_task(stream(call))
        call.on_cancel = task.cancel
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _settle(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _message(event: Any) -> bytes | None:
    message: bytes | None = event.batch_operations[0].message()
    return message


def _sent(_event: Any) -> None:
    """Nobody waits for a status to be sent."""
