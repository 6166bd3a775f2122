"""The data plane's process: ``python -m modelwright.processes.gateway``.

With a registry it follows ``run/routing.json`` and never asks the database. With ``--package`` it serves those packages
alone, with ``--models`` those in a folder. Prints one ready line on stdout, structured lines on stderr, and exits 0 on
SIGTERM or SIGINT after open requests are answered and the prediction log is synced.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import uvloop

from modelwright import settings as settings_module
from modelwright import wiring
from modelwright.adapters.counters.mapped import FOLDER, MappedCounters
from modelwright.adapters.counters.shared_quota import FILE as QUOTA_FILE
from modelwright.adapters.counters.shared_quota import SharedQuota
from modelwright.adapters.runners.graph import GraphRunners
from modelwright.adapters.runners.routed import RoutedRunners
from modelwright.core.device import parse_devices
from modelwright.core.errors import BadInputError, ModelwrightError, UnavailableError
from modelwright.interfaces.http import infer, tensors
from modelwright.interfaces.http.server import DataPlane
from modelwright.ports.quota import Quota
from modelwright.processes import logs, tls
from modelwright.processes.child import RETIRE, RETIRE_SECONDS, die_with_parent
from modelwright.processes.cores import share
from modelwright.processes.descriptors import room_for
from modelwright.processes.gateway_options import GatewayOptions, grants_of, require_loopback, standalone_table
from modelwright.processes.listening import listen, spoken
from modelwright.processes.loop_watch import LoopWatch
from modelwright.processes.observing import dropped, observer_of, require_usable
from modelwright.processes.signatures import checked
from modelwright.processes.table_serving import TableServing
from modelwright.record.writer import SegmentWriter
from modelwright.serve.cache import ResponseCache
from modelwright.serve.memory import keep_one_heap
from modelwright.serve.plane import Plane
from modelwright.serve.residence import Budget
from modelwright.serve.tally import OwnCounters
from modelwright.serve.turn import Turn
from modelwright.settings import Settings

if TYPE_CHECKING:
    from modelwright.interfaces.peers.server import PeerServer

POLL_SECONDS = 0.05
PUBLISH_SECONDS = 1.0
LOADS_AT_ONCE = 4  # those of models in processes of their own; others are loaded one by one
GC_THRESHOLDS = (20_000, 20, 20)  # a request leaves no cycles behind, so looking for them every 700 objects is waste

Result = TypeVar("Result")

_logger = logging.getLogger("modelwright.gateway")


class Gateway:
    """One gateway: the plane, its log, its HTTP server, and the table it follows.

    Args:
        options: how to run.
        settings: limits and places.
        listener: the bound socket.
    """

    def __init__(self, options: GatewayOptions, settings: Settings, listener: socket.socket) -> None:
        self._options, self._settings, self._listener = options, settings, listener
        self._tls = tls.server_context(settings)
        self.http = spoken(listener)
        self._writer_id = f"standalone.{os.getpid()}" if options.standalone else options.gateway_id
        self._sink = SegmentWriter(
            settings.home / "log",
            writer_id=self._writer_id,
            mode=settings.log_mode,
            segment_bytes=settings.segment_bytes,
            tensor_bytes=settings.log_tensor_bytes,
        )
        run_dir, identity = settings.home / "run", options.gateway_id
        self._watch = LoopWatch(self._go_on)
        self._cores = share(settings.workers if options.supervised else 1)
        wish, threads = parse_devices(settings.device), settings.threads or self._cores
        self._loading = started_pool(1, "load")
        self._loads = started_pool(LOADS_AT_ONCE, "cold")
        self._runs = started_pool(max(self._cores, wish.most), "run")
        self._plane = Plane(
            self._sink,
            GraphRunners(
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
            ),
            cache=ResponseCache(settings.cache_bytes, settings.cache_models) if settings.cache_bytes else None,
            budget=Budget(settings.memory_budget, settings.pinned, threads, self._cores),
            queue_seconds=settings.queue_seconds,
            offload=partial(self._aside, self._runs),
            aside=partial(self._aside, self._loads),
            counters=MappedCounters(run_dir / FOLDER, identity) if options.supervised else OwnCounters(),
            watch=self._watch,
            run_seconds=settings.request_seconds,
            max_sequences=settings.max_sequences,
            sequence_idle_seconds=settings.sequence_idle_seconds,
        )
        self._turn = Turn(self._plane, self._sink, lambda work: asyncio.get_running_loop().call_soon(work))
        self._observer = observer_of(settings, identity)
        quota = _quota(run_dir / QUOTA_FILE, options)
        self._server = DataPlane(self._turn, settings, self._readings(), quota, self._observer)
        self._table = TableServing(
            settings.home,
            identity,
            self._server,
            self._in_thread,
            supervised=options.supervised,
            successor=options.successor,
            trusted_keys=settings.trusted_keys,
        )
        self._over_grpc: Any = None
        self._peering: PeerServer | None = None
        self._stopping = False

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, or until a successor serves (SIGUSR1), then drain.

        Raises:
            ModelwrightError: the packages given cannot be served, or another gateway has this id.
        """
        self._watch.start()
        stop, retire, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        for number, event in ((signal.SIGTERM, stop), (signal.SIGINT, stop), (RETIRE, retire)):
            asyncio.get_running_loop().add_signal_handler(number, event.set)
        work = asyncio.create_task(
            self._serve_packages(ended) if self._options.standalone else self._serve_table(ended)
        )
        told = [asyncio.create_task(event.wait()) for event in (stop, retire)]
        await asyncio.wait([work, *told], return_when=asyncio.FIRST_COMPLETED)
        self._stopping = True
        _logger.info("stopping", extra={"gateway": self._options.gateway_id})
        try:
            await self._end(stop, retire)
            ended.set()  # only now: who still answers must follow the table
            await work
        finally:
            for task in told:
                task.cancel()
            self._plane.close()
            self._sink.close()
            if self._observer is not None:
                self._observer.close()
            self._loading.shutdown(wait=False, cancel_futures=True)
            for pool in (self._loads, self._runs):
                pool.shutdown(wait=False, cancel_futures=True)
            _logger.info("stopped", extra={"gateway": self._options.gateway_id})

    async def _serve_table(self, ended: asyncio.Event) -> None:
        await self._table.follow(self.http, ended, self._accept, self._announce)

    async def _accept(self) -> bool:
        if not self._stopping:
            await self._open()
        return not self._stopping

    async def _open(self) -> None:
        """Accept requests."""
        await self._server.start(self._listener, self._tls)
        if self._options.grpc:
            self._over_grpc = await self._start_grpc()
        if self._options.peer_listener >= 0:
            self._peering = await self._start_peering()

    async def _end(self, stop: asyncio.Event, retire: asyncio.Event) -> None:
        """Answer what is open and accept no more."""
        seconds = self._settings.drain_seconds
        ends = [each.stop(seconds) for each in (self._over_grpc, self._peering) if each is not None]
        if not retire.is_set() and self._turn.elsewhere is not None:
            self._turn.elsewhere.stop()
        if retire.is_set():
            ends.append(self._server.retire(min(seconds, RETIRE_SECONDS), stop))
        await asyncio.gather(*ends)
        await self._server.drain(seconds)

    async def _start_grpc(self) -> Any:
        """The second interface over the same plane, log and tokens."""
        # lazy: 60 ms that a gateway without gRPC need not pay, and an extra
        try:
            from modelwright.interfaces.grpc.server import Shared, start
        except ImportError as error:
            raise UnavailableError(
                "plugins.missing-extra", f"{error.name} is not installed.", fix="pip install 'modelwright[grpc]'"
            ) from error
        address, supervised = self._options.grpc, self._options.supervised
        if not supervised:  # gRPC binds by itself: what is wrong with the address is said before
            anywhere = self._options.insecure or self._tls is not None
            with listen(address, name="grpc", insecure=anywhere) as probe:
                address = spoken(probe)
        shared = Shared(
            self._turn,
            self._server.gate.admit,
            self._server.ready,
            self._server.stopping,
            self._settings.log_required,
            tensors.decode_binary,
            tensors.encode_binary,
            infer.event_time,
            self._settings.request_seconds,
            self._server.metrics.observe,
            self._server.metrics.count_error,
            self._observer,
            self._settings.stream_seconds,
        )
        settings = self._settings
        server = await start(
            shared,
            address,
            max_message_bytes=settings.max_body_bytes,
            max_streams=settings.max_connections,
            tls=tls.pem_of(settings),
            reuse_port=supervised,
        )
        _logger.info("grpc", extra={"grpc": address})
        return server

    async def _start_peering(self) -> PeerServer:
        """Requests of sequences go to the gateway where they live."""
        # lazy: most servers have one gateway
        from modelwright.processes.peering import start

        options, settings = self._options, self._settings
        return await start(
            self._turn,
            options.peer_listener,
            settings.home / "run",
            settings.workers,
            options.gateway_id,
            log_required=settings.log_required,
        )

    async def _serve_packages(self, ended: asyncio.Event) -> None:
        """Serve the packages, or the folder of packages, given on the command line, without a registry."""
        # lazy: a gateway of a registry reads blobs and needs no archive reader
        from modelwright.adapters.stores.package_files import open_path

        await self._open()
        token = f"mw_{secrets.token_urlsafe(32)}" if self._options.authenticate else ""
        if self._options.models is not None:
            await self._serve_folder(self._options.models, token, ended)
            return
        trusted = self._settings.trusted_keys
        packages = [checked(trusted, open_path(path)) for path in self._options.packages]
        table = standalone_table(packages, token)
        by_digest = {package.digest: package for package in packages}
        self._server.commit(await self._in_thread(self._plane.prepare, table, by_digest.__getitem__))
        if token:
            _say(f"token {token}")
        self._announce()
        await ended.wait()

    async def _serve_folder(self, root: Path, token: str, ended: asyncio.Event) -> None:
        # lazy, as above
        from modelwright.processes.folder import PackageFolder
        from modelwright.processes.folder_serving import FolderServing

        woken = asyncio.Event()
        trusted = self._settings.trusted_keys
        folder = PackageFolder(root, grants_of(token), woken.set, partial(checked, trusted) if trusted else None)
        serving = FolderServing(folder, self._server, self._in_thread, woken)
        await serving.start()
        if token:
            _say(f"token {token}")
        self._announce()
        await serving.follow(ended)

    def _aside(self, pool: ThreadPoolExecutor, work: Callable[[], Result], then: Callable[[Result], None]) -> None:
        """A long run or a load in another thread; what follows it happens here."""

        def back(future: asyncio.Future[Result]) -> None:
            then(future.result())
            self._turn.schedule()

        asyncio.get_running_loop().run_in_executor(pool, work).add_done_callback(back)

    def _go_on(self) -> None:
        """Something came back from a process."""
        self._turn.schedule()

    async def _in_thread(self, work: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._loading, work, *arguments)

    def _announce(self) -> None:
        gc.collect()
        gc.freeze()  # what is loaded stays: later collections need not look at it again
        gc.set_threshold(*GC_THRESHOLDS)
        models = sorted(self._plane.routes)
        _logger.info("ready", extra={"gateway": self._options.gateway_id, "http": self.http, "models": models})
        scheme = "https" if self._tls else "http"
        _say(f"ready {scheme}://{self.http} ({len(models)} model{'' if len(models) == 1 else 's'})")

    def _readings(self) -> dict[tuple[str, str, str], Callable[[], float]]:
        return {
            ("modelwright_models_in_memory", "Versions in memory.", "gauge"): (
                lambda: self._plane.residence.figures()[0]
            ),
            ("modelwright_model_bytes", "Bytes that the versions in memory hold.", "gauge"): (
                lambda: self._plane.residence.figures()[1]
            ),
            ("modelwright_log_bytes", "Bytes of the log segments of the gateways that live.", "gauge"): self._log_bytes,
            ("modelwright_unlogged_predictions", "Predicted rows that could not be logged.", "counter"): (
                lambda: self._sink.unlogged
            ),
            ("modelwright_dropped_access_lines", "Requests that the access log did not hold.", "counter"): (
                lambda: dropped(self._observer.access if self._observer else None)
            ),
            ("modelwright_dropped_traces", "Traced requests that the collector did not get.", "counter"): (
                lambda: dropped(self._observer.traces if self._observer else None)
            ),
            ("modelwright_routing_epoch", "Epoch of the routing table in force.", "lowest"): lambda: self._table.epoch,
        }

    def _log_bytes(self) -> int:
        total = 0
        with contextlib.suppress(OSError), os.scandir(self._settings.home / "log") as entries:
            for entry in entries:
                if entry.name.startswith(f"{self._writer_id}-"):
                    with contextlib.suppress(OSError):  # compacted meanwhile
                        total += entry.stat().st_size
        return total


def run_gateway(options: GatewayOptions, settings: Settings) -> int:
    """Run until told to stop; the exit code.

    Raises:
        ModelwrightError: the gateway cannot start; nothing was served.
    """
    os.umask(0o077)
    require_usable(settings)
    keep_one_heap()
    if not options.authenticate:
        require_loopback(options)
    if options.listener >= 0:
        die_with_parent(options.parent)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal's end is the supervisor's affair
        listener = socket.socket(fileno=options.listener)
    else:
        listener = listen(options.http, name="http", insecure=options.insecure or bool(settings.tls_certificate))
    _make_home(settings.home)
    room = room_for(settings.max_connections)
    if room < settings.max_connections:
        _logger.warning("fewer connections: the limit of open files is low", extra={"max_connections": room})
        settings = replace(settings, max_connections=room)
    gateway = Gateway(options, settings, listener)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(gateway.run())
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command line: 0 after a clean stop, else the exit codes of `modelwright`."""
    parser = argparse.ArgumentParser(prog="python -m modelwright.processes.gateway", description=__doc__)
    parser.add_argument("--home", type=Path, help="data directory")
    parser.add_argument("--http", help="HOST:PORT to listen on")
    parser.add_argument("--grpc", help="HOST:PORT to listen on for gRPC")
    parser.add_argument("--fd", type=int, default=-1, help="descriptor of a bound socket, instead of --http")
    parser.add_argument("--peer-fd", type=int, default=-1, help="descriptor of a socket for other gateways; with --fd")
    parser.add_argument("--parent", type=int, default=0, help="process to die with; with --fd")
    parser.add_argument("--id", default="g0", help="this gateway's id on the data directory")
    parser.add_argument("--successor", action="store_true", help="end unless the whole routing table can be served")
    parser.add_argument("--package", type=Path, action="append", default=[], help="serve this package alone")
    parser.add_argument("--models", type=Path, help="serve the packages in this folder, and follow it")
    parser.add_argument("--no-auth", action="store_true", help="ask for no token (loopback, without a registry)")
    parser.add_argument("--i-know", action="store_true", help="allow an address other than loopback without TLS")
    parser.add_argument("--workers", type=int, help="gateways that share the cores")
    parser.add_argument("--device", help="devices that models run on")
    tls.add_options(parser)
    given = parser.parse_args(argv)
    logs.configure("gateway")
    try:
        settings = settings_module.load(
            {name: getattr(given, name) for name in ("home", "http", "grpc", "workers", "device", *tls.NAMES)}
        )
        options = GatewayOptions(
            settings.http,
            given.id,
            given.fd,
            given.parent or os.getppid(),
            tuple(given.package),
            not given.no_auth,
            given.i_know,
            settings.grpc,
            given.successor,
            given.models,
            given.peer_fd,
        )
        return run_gateway(options, settings)
    except ModelwrightError as error:
        from modelwright.interfaces.cli.output import print_error  # lazy: a process that serves needs no terminal

        return print_error(error, as_json=False)


def started_pool(threads: int, name: str) -> ThreadPoolExecutor:
    """A pool whose threads all run: later, when no more may be started, what is given to it is done all the same."""
    pool, met = ThreadPoolExecutor(threads, thread_name_prefix=name), threading.Barrier(threads)
    for begun in [pool.submit(met.wait) for _ in range(threads)]:
        begun.result()
    return pool


def _make_home(home: Path) -> None:
    try:
        for folder in (home, home / "run", home / "log"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BadInputError(
            "settings.home-unusable",
            f"The data directory {home} cannot be used: {error.strerror}.",
            fix="Set MODELWRIGHT_HOME (or --home) to a directory that you may write to.",
        ) from error


def _quota(path: Path, options: GatewayOptions) -> Quota | None:
    """One allowance for all gateways of the data directory; None: this one counts for itself."""
    if not options.supervised:
        return None
    try:
        return SharedQuota(path)
    except OSError as error:
        _logger.warning("the rates of tokens are counted by each gateway for itself (%s)", error)
        return None


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
