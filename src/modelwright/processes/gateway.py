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
import hashlib
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from modelwright import settings as settings_module
from modelwright.adapters.counters.mapped import FOLDER, MappedCounters
from modelwright.adapters.counters.shared_quota import FILE as QUOTA_FILE
from modelwright.adapters.counters.shared_quota import SharedQuota
from modelwright.adapters.runners.routed import RoutedRunners
from modelwright.adapters.stores.local_blobs import LocalBlobs
from modelwright.adapters.targets.process import ROUTING_FILE, GatewayPresence
from modelwright.core import package_codec, routing_codec
from modelwright.core.errors import BadInputError, ModelwrightError, UnavailableError
from modelwright.core.package import Package
from modelwright.core.version import Arm, Route, RoutingTable, TokenGrant
from modelwright.interfaces.http import infer, tensors
from modelwright.interfaces.http.server import DataPlane
from modelwright.ports.quota import Quota
from modelwright.processes import logs, tls
from modelwright.processes.child import RETIRE, RETIRE_SECONDS, die_with_parent
from modelwright.processes.cores import cores
from modelwright.processes.descriptors import room_for
from modelwright.processes.listening import is_loopback, listen, spoken
from modelwright.processes.observing import dropped, observer_of, require_usable
from modelwright.record.writer import SegmentWriter
from modelwright.serve.memory import keep_one_heap
from modelwright.serve.plane import Plane
from modelwright.serve.prepare import arms_of
from modelwright.serve.residence import Budget
from modelwright.serve.tally import OwnCounters
from modelwright.serve.turn import Turn
from modelwright.settings import Settings

POLL_SECONDS = 0.05
PUBLISH_SECONDS = 1.0
LOADS_AT_ONCE = 4  # those of models in processes of their own; others are loaded one by one
GC_THRESHOLDS = (20_000, 20, 20)  # a request leaves no cycles behind, so looking for them every 700 objects is waste
STANDALONE_VERSION = "1"

Result = TypeVar("Result")

_logger = logging.getLogger("modelwright.gateway")


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """How to run. ``listener`` is a bound socket that the supervisor ``parent`` hands down; -1 = bind ``http``.

    ``insecure`` allows an address that other machines can reach, without TLS. A ``successor`` takes over from a gateway
    that still serves: it ends rather than serve less than the whole table.
    """

    http: str
    gateway_id: str = "g0"
    listener: int = -1
    parent: int = 0
    packages: tuple[Path, ...] = ()
    authenticate: bool = True
    insecure: bool = False
    grpc: str = ""
    successor: bool = False
    models: Path | None = None

    @property
    def standalone(self) -> bool:
        """Whether it serves packages without a registry."""
        return bool(self.packages) or self.models is not None

    @property
    def supervised(self) -> bool:
        """Whether a supervisor runs it, maybe with others over the same data directory."""
        return self.listener >= 0


def standalone_table(packages: Sequence[Package], token: str) -> RoutingTable:
    """Every package as version 1 and champion of its model; an empty token means that none is asked for.

    Raises:
        BadInputError: ``serve.duplicate-model``.
    """
    routes: dict[str, Route] = {}
    for package in packages:
        if package.name in routes:
            raise BadInputError(
                "serve.duplicate-model", f"Two packages hold a model named {package.name!r}.", fix="Give one of them."
            )
        arm = Arm(STANDALONE_VERSION, package.digest, 1.0, "champion")
        routes[package.name] = Route(package.name, (arm,))
    return RoutingTable(1, routes, grants_of(token), authenticate=bool(token))


def grants_of(token: str) -> tuple[TokenGrant, ...]:
    """Everything is granted to who has the token; an empty one means that none is asked for."""
    return (TokenGrant(hashlib.sha256(token.encode()).hexdigest(), "operator", "admin"),) if token else ()


class LoopWatch:
    """An event loop as processes of models are watched with (``ports.runner.Watch``).

    Args:
        after: called after each piece of work.
    """

    def __init__(self, after: Callable[[], None]) -> None:
        self._after = after
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Use the running loop from now on."""
        self._loop = asyncio.get_running_loop()

    def add_reader(self, descriptor: int, ready: Callable[[], None]) -> None:
        """Call ``ready`` whenever the descriptor can be read."""
        self._running.add_reader(descriptor, self._do, ready)

    def remove_reader(self, descriptor: int) -> None:
        """Stop that."""
        self._running.remove_reader(descriptor)

    def call_soon(self, work: Callable[[], None]) -> None:
        """Call ``work`` on the loop's thread."""
        self._running.call_soon_threadsafe(self._do, work)

    @property
    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise RuntimeError("the event loop does not run yet")
        return self._loop

    def _do(self, work: Callable[[], None]) -> None:
        work()
        self._after()


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
        self._cores = cores()
        self._loading = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._loads = ThreadPoolExecutor(LOADS_AT_ONCE, thread_name_prefix="cold")
        self._runs = ThreadPoolExecutor(self._cores, thread_name_prefix="run")
        self._plane = Plane(
            self._sink,
            RoutedRunners(
                instances=settings.native_instances,
                memory_bytes=settings.native_memory_bytes,
                isolation=settings.native_isolation,
            ),
            budget=Budget(settings.memory_budget, settings.pinned, settings.threads, self._cores),
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
        self._over_grpc: Any = None
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
        work = asyncio.create_task(self._serve_packages(ended) if self._options.standalone else self._follow(ended))
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

    async def _open(self) -> None:
        """Accept requests."""
        await self._server.start(self._listener, self._tls)
        if self._options.grpc:
            self._over_grpc = await self._start_grpc()

    async def _end(self, stop: asyncio.Event, retire: asyncio.Event) -> None:
        """Answer what is open and accept no more."""
        seconds = self._settings.drain_seconds
        ends = [self._over_grpc.stop(seconds)] if self._over_grpc is not None else []
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
            self._server.admit,
            self._server.ready,
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

    async def _serve_packages(self, ended: asyncio.Event) -> None:
        """Serve the packages, or the folder of packages, given on the command line, without a registry."""
        # lazy: a gateway of a registry reads blobs and needs no archive reader
        from modelwright.adapters.stores.package_files import open_path

        await self._open()
        token = f"mw_{secrets.token_urlsafe(32)}" if self._options.authenticate else ""
        if self._options.models is not None:
            await self._serve_folder(self._options.models, token, ended)
            return
        packages = [open_path(path) for path in self._options.packages]
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
        serving = FolderServing(PackageFolder(root, grants_of(token), woken.set), self._server, self._in_thread, woken)
        await serving.start()
        if token:
            _say(f"token {token}")
        self._announce()
        await serving.follow(ended)

    async def _follow(self, ended: asyncio.Event) -> None:
        """Serve the registry's routing table, and every newer one that is published; not ready before the first.

        A table that is there already is loaded before the first connection is accepted: those wait on the socket.
        """
        path = self._settings.home / "run" / ROUTING_FILE
        presence = GatewayPresence(path.parent, self._options.gateway_id)
        try:
            seen = await self._look(path, (0, 0), presence)
            if self._options.successor and self._plane.table is None:
                raise UnavailableError("serve.no-table", "No routing table could be loaded whole.")
            if self._stopping:
                return
            await self._open()
            announced, published = False, 0.0
            while not ended.is_set():
                seen = await self._look(path, seen, presence)
                if not announced and self._plane.table is not None:
                    announced = True
                    self._announce()
                if time.monotonic() - published > PUBLISH_SECONDS:
                    published = time.monotonic()
                    self._server.metrics.publish()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), POLL_SECONDS)
        finally:
            presence.close()

    async def _look(self, path: Path, seen: tuple[int, int], presence: GatewayPresence) -> tuple[int, int]:
        """Read the table if it was replaced; its stamp."""
        stamp = _stamp(path)
        if stamp != seen:
            await self._read(path, presence)
        return stamp

    async def _read(self, path: Path, presence: GatewayPresence) -> None:
        try:
            table = await self._in_thread(_read_table, path)
        except (OSError, ModelwrightError) as error:
            _logger.exception("routing table unreadable", exc_info=error)
            return
        if self._plane.table is None or table.epoch > self._plane.table.epoch:
            await self._take(table, presence)

    async def _take(self, table: RoutingTable, presence: GatewayPresence) -> None:
        """Load a table beside the traffic and swap it in; keep the old one and say why when that fails."""
        error: dict[str, object] | None = None
        began = time.monotonic()
        try:
            self._server.commit(await self._in_thread(self._plane.prepare, table, self._open_package))
        except ModelwrightError as failure:
            if failure.code == "serve.over-budget" and self._plane.table is None and not self._options.supervised:
                raise
            error = {"epoch": table.epoch, "what": str(failure), "code": failure.code}
            _logger.error("table refused", extra=error)  # noqa: TRY400 - the reason is in it; a traceback says no more
        except Exception:
            error = {"epoch": table.epoch, "what": "An unexpected error; see the gateway's log."}
            _logger.exception("table refused", extra={"epoch": table.epoch})
        else:
            seconds = round(time.monotonic() - began, 4)
            _logger.info(
                "table in force", extra={"epoch": table.epoch, "models": sorted(table.routes), "seconds": seconds}
            )
        # where what is pinned does not fit, no part of the table is what was asked for
        salvageable = error is not None and error.get("code") != "serve.over-budget"
        if salvageable and self._plane.table is None and not self._options.successor:
            await self._salvage(table)
        self._server.metrics.publish()
        body = {"pid": os.getpid(), "epoch": self._epoch(), "http": self.http, "error": error, "at": time.time()}
        try:
            await self._in_thread(presence.report, body)
        except OSError as failure:  # a full disk must not stop predictions
            _logger.exception("report not written", exc_info=failure)

    async def _salvage(self, table: RoutingTable) -> None:
        """At the start there is no old table to keep: serve every model that loads, all at once, as epoch 0."""

        def drop(given: RoutingTable, failed: Mapping[str, ModelwrightError]) -> RoutingTable:
            whole = {name: r for name, r in given.routes.items() if all(arm.digest not in failed for arm in arms_of(r))}
            return replace(given, routes=whole)

        good = {name: route for name, route in table.routes.items() if route.arms}
        try:
            prepared = await self._in_thread(
                self._plane.prepare, replace(table, epoch=0, routes=good), self._open_package, drop
            )
        except Exception as failure:
            _logger.exception("no model served", exc_info=failure)
            return
        for digest, error in prepared.failed.items():
            _logger.error("not loaded", extra={"digest": digest, **error.to_json()})
        if prepared.routes:
            self._server.commit(prepared)

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

    def _open_package(self, digest: str) -> Package:
        return package_codec.load(digest, LocalBlobs(self._settings.home / "blobs").get)

    def _announce(self) -> None:
        gc.collect()
        gc.freeze()  # what is loaded stays: later collections need not look at it again
        gc.set_threshold(*GC_THRESHOLDS)
        models = sorted(self._plane.routes)
        _logger.info("ready", extra={"gateway": self._options.gateway_id, "http": self.http, "models": models})
        scheme = "https" if self._tls else "http"
        _say(f"ready {scheme}://{self.http} ({len(models)} model{'' if len(models) == 1 else 's'})")

    def _epoch(self) -> int:
        return -1 if self._plane.table is None else self._plane.table.epoch

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
            ("modelwright_routing_epoch", "Epoch of the routing table in force.", "lowest"): self._epoch,
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
        _require_loopback(options)
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
    parser.add_argument("--parent", type=int, default=0, help="process to die with; with --fd")
    parser.add_argument("--id", default="g0", help="this gateway's id on the data directory")
    parser.add_argument("--successor", action="store_true", help="end unless the whole routing table can be served")
    parser.add_argument("--package", type=Path, action="append", default=[], help="serve this package alone")
    parser.add_argument("--models", type=Path, help="serve the packages in this folder, and follow it")
    parser.add_argument("--no-auth", action="store_true", help="ask for no token (loopback, without a registry)")
    parser.add_argument("--i-know", action="store_true", help="allow an address other than loopback without TLS")
    tls.add_options(parser)
    given = parser.parse_args(argv)
    logs.configure("gateway")
    try:
        settings = settings_module.load({name: getattr(given, name) for name in ("home", "http", "grpc", *tls.NAMES)})
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
        )
        return run_gateway(options, settings)
    except ModelwrightError as error:
        from modelwright.interfaces.cli.output import print_error  # lazy: a process that serves needs no terminal

        return print_error(error, as_json=False)


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


def _require_loopback(options: GatewayOptions) -> None:
    hosts = [settings_module.address(text)[0] for text in (options.http, options.grpc) if text]
    host = next((host for host in hosts if not is_loopback(host)), hosts[0])
    if not options.standalone or not is_loopback(host):
        raise BadInputError(
            "serve.no-auth-needs-loopback",
            "--no-auth is allowed only with --package or --models, and on a loopback address.",
            why=f"{host} can be reached by others, or the registry's tokens would be ignored.",
            fix="Leave --no-auth out and use the printed token, or listen on 127.0.0.1.",
        )


def _stamp(path: Path) -> tuple[int, int]:
    """What changes whenever the file is replaced."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_ino, status.st_mtime_ns)


def _read_table(path: Path) -> RoutingTable:
    return routing_codec.decode(path.read_bytes())


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
