"""The data plane's process: ``python -m modelwright.processes.gateway``.

With a registry it follows ``run/routing.json`` and never asks the database. With ``--package`` it serves those packages
alone, with ``--models`` those in a folder. Prints one ready line on stdout, structured lines on stderr, and exits 0 on
SIGTERM or SIGINT after open requests are answered and the prediction log is synced.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import uvloop

from modelwright.core.errors import ModelwrightError
from modelwright.interfaces.http.server import DataPlane
from modelwright.processes import gateway_options, logs, tls
from modelwright.processes.child import RETIRE, RETIRE_SECONDS, die_with_parent
from modelwright.processes.counting import quota_of
from modelwright.processes.descriptors import room_for
from modelwright.processes.gateway_options import GatewayOptions, require_loopback
from modelwright.processes.gateway_readings import readings_of
from modelwright.processes.listening import listen, spoken
from modelwright.processes.observing import observer_of, require_usable
from modelwright.processes.predicting import Predicting
from modelwright.processes.table_serving import TableServing
from modelwright.serve.memory import keep_one_heap
from modelwright.settings import Settings
from modelwright.wiring.home import make_home

if TYPE_CHECKING:
    from modelwright.interfaces.peers.server import PeerServer

GC_THRESHOLDS = (20_000, 20, 20)  # a request leaves no cycles behind, so looking for them every 700 objects is waste

_logger = logging.getLogger("modelwright.gateway")


class Gateway:
    """One gateway: the plane, its interfaces, and what it follows.

    Args:
        options: how to run.
        settings: limits and places.
        listener: the bound socket.
    """

    def __init__(self, options: GatewayOptions, settings: Settings, listener: socket.socket) -> None:
        self._options, self._settings, self._listener = options, settings, listener
        self._tls = tls.server_context(settings)
        self.http = spoken(listener)
        self._predicting = Predicting(options, settings)
        self._observer = observer_of(settings, options.gateway_id)
        self._server = DataPlane(
            self._predicting.turn,
            settings,
            readings_of(self._predicting, self._observer),
            quota_of(settings.home / "run", options),
            self._observer,
        )
        self._over_grpc: Any = None
        self._peering: PeerServer | None = None
        self._stopping = False

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, or until a successor serves (SIGUSR1), then drain.

        Raises:
            ModelwrightError: the packages given cannot be served, or another gateway has this id.
        """
        self._predicting.start()
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
            self._predicting.close()
            if self._observer is not None:
                self._observer.close()
            _logger.info("stopped", extra={"gateway": self._options.gateway_id})

    async def _serve_table(self, ended: asyncio.Event) -> None:
        table = TableServing(
            self._settings.home,
            self._options.gateway_id,
            self._server,
            self._predicting.in_thread,
            supervised=self._options.supervised,
            successor=self._options.successor,
            trusted_keys=self._settings.trusted_keys,
        )
        await table.follow(self.http, ended, self._accept, self._announce)

    async def _serve_packages(self, ended: asyncio.Event) -> None:
        """Serve the packages, or the folder of packages, given on the command line, without a registry."""
        # lazy: a gateway of a registry reads blobs and needs no archive reader
        from modelwright.processes.package_serving import serving_of

        await self._open()
        token = f"mw_{secrets.token_urlsafe(32)}" if self._options.authenticate else ""
        trusted = self._settings.trusted_keys
        serving = serving_of(self._options, token, self._server, self._predicting.in_thread, trusted)
        await serving.start()
        if token:
            _say(f"token {token}")
        self._announce()
        await serving.follow(ended)

    async def _accept(self) -> bool:
        if not self._stopping:
            await self._open()
        return not self._stopping

    async def _open(self) -> None:
        """Accept requests."""
        await self._server.start(self._listener, self._tls)
        options, settings = self._options, self._settings
        # lazy: most gateways speak HTTP alone, and most servers have one gateway
        if options.grpc:
            from modelwright.processes import grpc_serving

            self._over_grpc = await grpc_serving.start(options, settings, self._server, self._observer)
        if options.peer_listener >= 0:
            from modelwright.processes import peering

            self._peering = await peering.start(
                self._predicting.turn,
                options.peer_listener,
                settings.home / "run",
                settings.workers,
                options.gateway_id,
                log_required=settings.log_required,
            )

    async def _end(self, stop: asyncio.Event, retire: asyncio.Event) -> None:
        """Answer what is open and accept no more."""
        seconds = self._settings.drain_seconds
        ends = [each.stop(seconds) for each in (self._over_grpc, self._peering) if each is not None]
        if not retire.is_set() and self._predicting.turn.elsewhere is not None:
            self._predicting.turn.elsewhere.stop()
        if retire.is_set():
            ends.append(self._server.retire(min(seconds, RETIRE_SECONDS), stop))
        await asyncio.gather(*ends)
        await self._server.drain(seconds)

    def _announce(self) -> None:
        gc.collect()
        gc.freeze()  # what is loaded stays: later collections need not look at it again
        gc.set_threshold(*GC_THRESHOLDS)
        models = sorted(self._predicting.plane.routes)
        _logger.info("ready", extra={"gateway": self._options.gateway_id, "http": self.http, "models": models})
        scheme = "https" if self._tls else "http"
        _say(f"ready {scheme}://{self.http} ({len(models)} model{'' if len(models) == 1 else 's'})")


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
    make_home(settings.home, "run", "log")
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
    given = gateway_options.parser(__doc__).parse_args(argv)
    logs.configure("gateway")
    try:
        return run_gateway(*gateway_options.options_of(given))
    except ModelwrightError as error:
        from modelwright.interfaces.cli.output import print_error  # lazy: a process that serves needs no terminal

        return print_error(error, as_json=False)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
