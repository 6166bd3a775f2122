"""The supervisor: owns the listening sockets, so that a restart of either plane is invisible to its clients.

Run as ``python -m modelwright.processes.supervisor``; ``modelwright serve`` becomes it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import itertools
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from modelwright.adapters.counters.mapped import FOLDER, MappedCounters, fold
from modelwright.adapters.targets.process import sweep
from modelwright.core.errors import ConflictError, ModelwrightError
from modelwright.ports.counters import RESTARTS, Slots
from modelwright.processes.child import RETIRE_SECONDS
from modelwright.processes.listening import listen, listen_together, reserve, spoken
from modelwright.processes.logs import configure
from modelwright.processes.observing import require_usable
from modelwright.processes.peering import listen_for_peers
from modelwright.processes.spare import GATEWAY, Spare
from modelwright.processes.supervised import Child
from modelwright.processes.tls import NAMES, add_options, options_of, server_context
from modelwright.settings import MAX_WORKERS, Settings, load
from modelwright.wiring import private_home

CONTROL_STOP_SECONDS = 15.0
_log = logging.getLogger("modelwright.supervisor")


def banner(*, http: str, grpc: str = "", control: str, home: Path, token: str | None, scheme: str = "http") -> str:
    """What a person sees at the start."""
    lines = [
        "",
        "  modelwright is running.",
        "",
        f"    predictions  {scheme}://{http}/v2",
        *([f"    gRPC         {grpc}"] if grpc else []),
        f"    pages, API   {scheme}://{control}/",
        f"    data in      {home}",
    ]
    if token:
        lines += ["", "  Your access token; it is shown only this once:", "", f"    {token}"]
    return "\n".join([*lines, "", "  Ctrl-C stops it; open requests are finished first.", ""])


@contextlib.contextmanager
def only_one(run: Path) -> Iterator[None]:
    """Hold the data directory for this server.

    Raises:
        ConflictError: ``serve.already-running`` with the other's process id and address.
    """
    handle = os.open(run / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            other: dict[str, object] = {}
            with contextlib.suppress(OSError, ValueError):
                other = json.loads((run / "server.json").read_text())
            raise ConflictError(
                "serve.already-running",
                f"A server already uses {run.parent}: process {other.get('pid', '?')}, "
                f"pages at http://{other.get('control', '?')}/.",
                fix="Stop it first, or give this one another data directory (--home).",
                details=other,
            ) from error
        yield
    finally:
        os.close(handle)


class Supervisor:
    """The children over their sockets.

    Args:
        settings: what the children get.
        http: one listening socket for each gateway.
        grpc: address of the data plane over gRPC, or empty.
        control: the control process's socket.
        say: gets the banner.
        peers: one listening socket for each gateway, where the others reach it; none where it is alone.
    """

    def __init__(
        self,
        settings: Settings,
        http: Sequence[socket.socket],
        grpc: str,
        control: socket.socket,
        say: Callable[[str], object],
        peers: Sequence[socket.socket] = (),
    ) -> None:
        self._settings, self._http, self._grpc, self._control, self._say = settings, http, grpc, control, say
        self._run = settings.home / "run"
        self._token: str | None = None
        self._ready = False
        self._born = itertools.count()
        self._counters: MappedCounters | None = None
        self._restarts: dict[str, Slots] = {}
        self._terminal = os.isatty(0)
        self._addresses = {"http": spoken(http[0]), "control": spoken(control)}
        began = {"pid": os.getpid(), "started_at": time.time()}
        self._facts: dict[str, Any] = {**began, **self._addresses, "reloading": False, "reloads": 0, "reload_error": ""}
        sockets = [one.fileno() for one in (*http, *peers)]
        self._spare = Spare(sockets, grpc=bool(grpc)) if settings.spare else None
        each = itertools.zip_longest(http, peers)
        self.gateways = [self._gateway(f"g{number}", *pair) for number, pair in enumerate(each)]
        self.control = self._control_process()

    def _gateway(self, name: str, listener: socket.socket, peer: socket.socket | None) -> Child:
        fixed = [*GATEWAY, *self._common(), "--fd", str(listener.fileno())]
        fixed += ["--grpc", self._grpc] if self._grpc else []
        fixed += ["--peer-fd", str(peer.fileno())] if peer is not None else []
        fixed += ["--workers", str(self._settings.workers), "--device", self._settings.device]

        def command(successor: bool) -> list[str]:
            # An id for each process: one that drains lives beside its successor, and beside those of the next server.
            identity = f"{name}.{os.getpid()}.{next(self._born)}"
            return [*fixed, "--id", identity, *(("--successor",) if successor else ())]

        return Child(
            name,
            command,
            listener,
            self._settings.drain_seconds + RETIRE_SECONDS + 5,
            gone=self.tidy,
            died=self._died,
            spare=self._spare,
            handed=() if peer is None else (peer.fileno(),),
        )

    def _control_process(self) -> Child:
        addresses = ["--http", self._addresses["http"], "--control", self._settings.control]
        project = ["--project", str(self._settings.project)]
        fixed = ["-m", "modelwright.processes.control", *self._common(), "--fd", str(self._control.fileno())]
        command = [sys.executable, *fixed, *project, *addresses]
        return Child(
            "control",
            lambda _successor: command,
            self._control,
            CONTROL_STOP_SECONDS,
            self._hear_control,
            lambda status: status == 1 and not self._ready,
            died=self._died,
        )

    def _common(self) -> list[str]:
        return ["--home", str(self._settings.home), "--parent", str(os.getpid()), *options_of(self._settings)]

    def _hear_control(self, line: str) -> None:
        try:
            told = json.loads(line)
        except ValueError:
            return
        if told.get("event") == "first-token":
            self._token = str(told["token"])
        if told.get("event") == "ready" and not self._ready:
            scheme = "https" if self._settings.tls_certificate else "http"
            home, token = self._settings.home, self._token
            self._say(banner(**self._addresses, grpc=self._grpc, home=home, token=token, scheme=scheme))
            self._token, self._ready = None, True

    def tidy(self) -> None:
        """Clear up what gateways that are dead left behind; what they counted is kept."""
        fold(self._run / FOLDER)
        sweep(self._run)

    def _died(self, name: str) -> None:
        """Count a restart where the gateways count."""
        if self._counters is None:
            self._counters = MappedCounters(self._run / FOLDER, f"supervisor.{os.getpid()}")
        slots = self._restarts.get(name)
        if slots is None:
            slots = self._restarts[name] = self._counters.slots((RESTARTS, name), (0.0,))
        slots[0] += 1

    async def run(self) -> int:
        """Until SIGTERM or SIGINT; then the gateways end first, and the control process after them."""
        stopping, wanted, loop = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up, stopping, wanted)
        self._note()  # from here on it may be told to reload
        tasks = [asyncio.create_task(child.keep_alive(stopping)) for child in (self.control, *self.gateways)]
        others = [asyncio.create_task(stopping.wait()), asyncio.create_task(self._reload(wanted))]
        if self._spare is not None:
            others.append(asyncio.create_task(self._spare.keep(self._settled)))
        await asyncio.wait([*others, *tasks], return_when=asyncio.FIRST_COMPLETED)
        if stopping.is_set() and self._ready:
            self._say("  Stopping: open requests and the step under way are finished first.")
        stopping.set()
        for task in others:
            task.cancel()
        await asyncio.gather(*(gateway.stop() for gateway in self.gateways))
        await self.control.stop()
        return max(await asyncio.gather(*tasks))

    def _settled(self) -> bool:
        """Whether every gateway serves."""
        lives = [gateway.life for gateway in self.gateways]
        return all(life is not None and not life.over and life.ready.is_set() for life in lives)

    def _hang_up(self, stopping: asyncio.Event, wanted: asyncio.Event) -> None:
        """SIGHUP asks for a reload, unless it tells that the terminal this began on is gone."""
        gone = self._terminal and not os.isatty(0)
        (stopping if gone else wanted).set()

    async def _reload(self, wanted: asyncio.Event) -> None:
        """Whenever wanted, replace every gateway, one after the other; the first that fails ends the round."""
        while await wanted.wait():
            wanted.clear()
            _log.info("reload.began")
            if self._spare is not None:
                self._spare.drop()
            self._note(reloading=True)
            try:
                failed = await self._replace_all()
            except ModelwrightError as error:
                failed = str(error)
            except Exception as error:  # noqa: BLE001 - what serves goes on, whatever a reload runs into
                _log.exception("reload.failed")
                failed = f"{type(error).__name__}: {error}"
            _log.log(logging.ERROR if failed else logging.INFO, "reload.ended", extra={"failed": failed})
            self._note(reloading=False, reloads=self._facts["reloads"] + 1, reload_error=failed)

    def _note(self, **changed: object) -> None:
        """Say in ``server.json`` who serves this data directory, where, and how the last reload went."""
        self._facts |= changed
        new = self._run / "server.json.new"
        try:
            new.write_text(json.dumps(self._facts))
            new.replace(self._run / "server.json")
        except OSError as error:  # a full disk must not stop the server
            _log.warning("server-file.unwritten", extra={"error": str(error)})

    async def _replace_all(self) -> str:
        """What failed, or an empty text. Raises ModelwrightError when the TLS files cannot be used."""
        if server_context(self._settings) is not None:
            self.control.tell(signal.SIGHUP)  # it reads its certificate again
        for gateway in self.gateways:
            if not await gateway.replace():
                return f"A new process for {gateway.name} did not get ready."
        return ""


def _print(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def run_supervisor(settings: Settings, *, insecure_bind: bool = False, say: Callable[[str], object] = _print) -> int:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: addresses, data directory, drain time.
        insecure_bind: allow addresses that other machines can reach.
        say: gets the banner when the control process is ready.

    Returns:
        0 after a graceful end.

    Raises:
        ConflictError: ``serve.already-running``, ``serve.port-taken``.
        RefusedError: ``serve.refused-bind``.
        ModelwrightError: as :func:`require_usable`.
    """
    os.umask(0o077)
    require_usable(settings)
    run = private_home(settings.home) / "run"
    encrypted = server_context(settings) is not None  # what is wrong with a file is better said once, here
    anywhere = insecure_bind or encrypted
    with only_one(run), contextlib.ExitStack() as open_sockets:
        http = listen_together(settings.http, settings.workers, name="http", insecure=anywhere)
        for listener in http:
            open_sockets.enter_context(listener)
        control = open_sockets.enter_context(listen(settings.control, name="control", insecure=anywhere))
        grpc = ""
        if settings.grpc:  # the gateways listen there themselves
            grpc = spoken(open_sockets.enter_context(reserve(settings.grpc, name="grpc", insecure=anywhere)))
        peers = [open_sockets.enter_context(one) for one in listen_for_peers(run, settings.workers)]
        supervisor = Supervisor(settings, http, grpc, control, say, peers)
        supervisor.tidy()
        try:
            return asyncio.run(supervisor.run())
        finally:
            (run / "server.json").unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse and serve. Otherwise what, why and what to do on stderr, and the exit code of `modelwright`."""
    parser = argparse.ArgumentParser(prog="modelwright-supervisor", description=__doc__)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--project", type=Path)
    parser.add_argument("--http", help="address of the data plane")
    parser.add_argument("--grpc", help="address of the data plane over gRPC")
    parser.add_argument("--control", help="address of the control plane and the pages")
    parser.add_argument("--workers", type=int, choices=range(1, MAX_WORKERS + 1), metavar="N", help="gateway processes")
    parser.add_argument("--device", help="devices that models run on")
    parser.add_argument("--i-know", action="store_true", help="allow an address other than loopback without TLS")
    add_options(parser)
    given = parser.parse_args(arguments)
    configure("supervisor")
    try:
        names = ("home", "project", "http", "grpc", "control", "workers", "device", *NAMES)
        settings = load({name: getattr(given, name) for name in names})
        return run_supervisor(settings, insecure_bind=given.i_know)
    except ModelwrightError as error:
        from modelwright.interfaces.cli.output import print_error  # lazy: a process that serves needs no terminal

        return print_error(error, as_json=False)


if __name__ == "__main__":
    sys.exit(main())
