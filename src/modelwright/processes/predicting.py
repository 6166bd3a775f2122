"""The plane of a gateway, and what it stands on: its log, its runners, its threads and the turns of its event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from modelwright import wiring
from modelwright.adapters.runners.graph import GraphRunners
from modelwright.adapters.runners.routed import RoutedRunners
from modelwright.core.device import DeviceWish, parse_devices
from modelwright.processes.cores import share
from modelwright.processes.counting import counters_of
from modelwright.processes.gateway_options import GatewayOptions
from modelwright.processes.loop_watch import LoopWatch
from modelwright.record.writer import SegmentWriter
from modelwright.serve.cache import ResponseCache
from modelwright.serve.plane import Plane
from modelwright.serve.residence import Budget
from modelwright.serve.turn import Turn
from modelwright.settings import Settings

LOADS_AT_ONCE = 4  # those of models in processes of their own; others are loaded one by one

Result = TypeVar("Result")


class Predicting:
    """A plane that is opened and closed with what it needs.

    ``plane``, ``turn`` and ``sink`` (the prediction log) are there from the start; ``log`` is the folder of the log's
    segments, and ``writer_id`` how the names of its own begin.

    Args:
        options: how the gateway runs.
        settings: limits and places.
    """

    def __init__(self, options: GatewayOptions, settings: Settings) -> None:
        self.log = settings.home / "log"
        self.writer_id = f"standalone.{os.getpid()}" if options.standalone else options.gateway_id
        self.sink = SegmentWriter(
            self.log,
            writer_id=self.writer_id,
            mode=settings.log_mode,
            segment_bytes=settings.segment_bytes,
            tensor_bytes=settings.log_tensor_bytes,
        )
        self._watch = LoopWatch(self._go_on)
        cores = share(settings.workers if options.supervised else 1)
        wish = parse_devices(settings.device)
        self._loading = started_pool(1, "load")
        self._loads = started_pool(LOADS_AT_ONCE, "cold")
        self._runs = started_pool(max(cores, wish.most), "run")
        self.plane = Plane(
            self.sink,
            _runners(settings, wish),
            cache=ResponseCache(settings.cache_bytes, settings.cache_models) if settings.cache_bytes else None,
            budget=Budget(settings.memory_budget, settings.pinned, settings.threads or cores, cores),
            queue_seconds=settings.queue_seconds,
            offload=partial(self._aside, self._runs),
            aside=partial(self._aside, self._loads),
            counters=counters_of(settings.home / "run", options),
            watch=self._watch,
            run_seconds=settings.request_seconds,
            max_sequences=settings.max_sequences,
            sequence_idle_seconds=settings.sequence_idle_seconds,
        )
        self.turn = Turn(self.plane, self.sink, lambda work: asyncio.get_running_loop().call_soon(work))

    def start(self) -> None:
        """Use the running event loop from now on."""
        self._watch.start()

    async def in_thread(self, work: Callable[..., Result], *arguments: object) -> Result:
        """Run a function beside the traffic, one at a time."""
        return await asyncio.get_running_loop().run_in_executor(self._loading, work, *arguments)

    def close(self) -> None:
        """Unload the models and sync the log; what has not begun in a thread is not begun."""
        self.plane.close()
        self.sink.close()
        for pool in (self._loading, self._loads, self._runs):
            pool.shutdown(wait=False, cancel_futures=True)

    def _aside(self, pool: ThreadPoolExecutor, work: Callable[[], Result], then: Callable[[Result], None]) -> None:
        """A long run or a load in another thread; what follows it happens here."""

        def back(future: asyncio.Future[Result]) -> None:
            then(future.result())
            self.turn.schedule()

        asyncio.get_running_loop().run_in_executor(pool, work).add_done_callback(back)

    def _go_on(self) -> None:
        """Something came back from a process."""
        self.turn.schedule()


def started_pool(threads: int, name: str) -> ThreadPoolExecutor:
    """A pool whose threads all run: later, when no more may be started, what is given to it is done all the same."""
    pool, met = ThreadPoolExecutor(threads, thread_name_prefix=name), threading.Barrier(threads)
    for begun in [pool.submit(met.wait) for _ in range(threads)]:
        begun.result()
    return pool


def _runners(settings: Settings, wish: DeviceWish) -> GraphRunners:
    return GraphRunners(
        RoutedRunners(
            instances=settings.native_instances,
            memory_bytes=settings.native_memory_bytes,
            isolation=settings.native_isolation,
            idle_share=settings.native_idle_share,
            wish=wish,
            device_memory_bytes=settings.device_memory_bytes,
            kernels=settings.home / "kernels" if settings.kernels else None,
            place=wiring.place(settings),
        )
    )
