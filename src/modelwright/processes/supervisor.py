"""The supervisor: owns the listening sockets, so that a restart of either plane is invisible to its clients.

Run as ``python -m modelwright.processes.supervisor``; ``modelwright serve`` becomes it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modelwright.core.errors import ConflictError, ModelwrightError
from modelwright.processes.listening import listen, spoken
from modelwright.processes.logs import configure
from modelwright.processes.tls import NAMES, add_options, options_of, server_context
from modelwright.settings import Settings, load
from modelwright.wiring import private_home

FIRST_BACKOFF, LAST_BACKOFF = 0.1, 10.0
CALM_SECONDS = 10.0  # a child that lived this long starts again without waiting
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


@dataclass
class Child:
    """One supervised process; ``heard`` gets each line of its stdout, ``hopeless`` says that no restart can help."""

    name: str
    argv: list[str]
    listener: socket.socket
    stop_seconds: float
    heard: Callable[[str], None] = field(default=lambda _line: None)
    hopeless: Callable[[int], bool] = field(default=lambda _status: False)
    process: asyncio.subprocess.Process | None = None

    async def keep_alive(self, stopping: asyncio.Event) -> int:
        """Start it, and again with back-off whenever it ends, until stopping; the exit code for the supervisor."""
        backoff = FIRST_BACKOFF
        while not stopping.is_set():
            started = time.monotonic()
            status = await self._run_once(stopping)
            if stopping.is_set():
                break
            if self.hopeless(status):
                return 1
            if time.monotonic() - started > CALM_SECONDS:
                backoff = FIRST_BACKOFF
            _log.warning("child.died", extra={"child": self.name, "status": status, "again_in": backoff})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), backoff)
            backoff = min(LAST_BACKOFF, 2 * backoff)
        return 0

    async def _run_once(self, stopping: asyncio.Event) -> int:
        # A pipe of our own: a grandchild that inherits it must not keep us from seeing that the child is gone.
        readable, writable = os.pipe()
        try:
            self.process = await asyncio.create_subprocess_exec(
                *self.argv, stdin=asyncio.subprocess.DEVNULL, stdout=writable, pass_fds=(self.listener.fileno(),)
            )
        finally:
            os.close(writable)
        _log.info("child.started", extra={"child": self.name, "pid": self.process.pid})
        if stopping.is_set():  # it was being born while the others were told to stop
            self.process.terminate()
        relay = asyncio.create_task(self._relay(readable))
        try:
            return await self.process.wait()
        finally:
            relay.cancel()

    async def _relay(self, readable: int) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(readable, "rb", buffering=0)
        )
        try:
            while line := await reader.readline():
                self.heard(line.decode(errors="replace").rstrip())
        finally:
            transport.close()

    async def stop(self) -> None:
        """SIGTERM, wait, and SIGKILL after ``stop_seconds``."""
        if self.process is None or self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), self.stop_seconds)
        except TimeoutError:
            _log.error("child.killed", extra={"child": self.name})
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()


class Supervisor:
    """The children over their sockets."""

    def __init__(
        self, settings: Settings, http: socket.socket, control: socket.socket, say: Callable[[str], object]
    ) -> None:
        self._settings, self._http, self._control, self._say = settings, http, control, say
        self._token: str | None = None
        self._ready = False
        common = ["--home", str(settings.home), "--parent", str(os.getpid()), *options_of(settings)]
        self.gateway = Child(
            "gateway",
            [
                *(sys.executable, "-m", "modelwright.processes.gateway", *common, "--fd", str(http.fileno())),
                *(("--grpc", settings.grpc) if settings.grpc else ()),
            ],
            http,
            settings.drain_seconds + 5,
        )
        self.control = Child(
            "control",
            [
                *(sys.executable, "-m", "modelwright.processes.control", *common, "--fd", str(control.fileno())),
                *("--project", str(settings.project), "--http", spoken(http), "--control", settings.control),
            ],
            control,
            CONTROL_STOP_SECONDS,
            self._hear_control,
            lambda status: status == 1 and not self._ready,
        )

    def _hear_control(self, line: str) -> None:
        try:
            told = json.loads(line)
        except ValueError:
            return
        if told.get("event") == "first-token":
            self._token = str(told["token"])
        if told.get("event") == "ready" and not self._ready:
            addresses = {"http": spoken(self._http), "grpc": self._settings.grpc, "control": spoken(self._control)}
            scheme = "https" if self._settings.tls_certificate else "http"
            self._say(banner(**addresses, home=self._settings.home, token=self._token, scheme=scheme))
            self._token, self._ready = None, True

    async def run(self) -> int:
        """Until SIGTERM or SIGINT; then the gateway ends first, and the control process after it."""
        stopping, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        tasks = [asyncio.create_task(child.keep_alive(stopping)) for child in (self.control, self.gateway)]
        waiting = asyncio.create_task(stopping.wait())
        await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        if stopping.is_set() and self._ready:
            self._say("  Stopping: open requests and the step under way are finished first.")
        stopping.set()
        for child in (self.gateway, self.control):
            await child.stop()
        return max(await asyncio.gather(*tasks))


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _write_server_file(run: Path, http: str, control: str) -> Path:
    path, new = run / "server.json", run / "server.json.new"
    new.write_text(json.dumps({"pid": os.getpid(), "http": http, "control": control, "started_at": time.time()}))
    new.replace(path)
    return path


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
    """
    os.umask(0o077)
    run = private_home(settings.home) / "run"
    encrypted = server_context(settings) is not None  # what is wrong with a file is better said once, here
    anywhere = insecure_bind or encrypted
    with (
        only_one(run),
        listen(settings.http, name="http", insecure=anywhere) as http,
        listen(settings.control, name="control", insecure=anywhere) as control,
    ):
        if settings.grpc:  # the gateway listens there itself; what is wrong with the address is better said once, here
            listen(settings.grpc, name="grpc", insecure=anywhere).close()
        server_file = _write_server_file(run, spoken(http), spoken(control))
        try:
            return asyncio.run(Supervisor(settings, http, control, say).run())
        finally:
            server_file.unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse and serve. Otherwise what, why and what to do on stderr, and the exit code of `modelwright`."""
    parser = argparse.ArgumentParser(prog="modelwright-supervisor", description=__doc__)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--project", type=Path)
    parser.add_argument("--http", help="address of the data plane")
    parser.add_argument("--grpc", help="address of the data plane over gRPC")
    parser.add_argument("--control", help="address of the control plane and the pages")
    parser.add_argument("--i-know", action="store_true", help="allow an address other than loopback without TLS")
    add_options(parser)
    given = parser.parse_args(arguments)
    configure("supervisor")
    try:
        settings = load({name: getattr(given, name) for name in ("home", "project", "http", "grpc", "control", *NAMES)})
        return run_supervisor(settings, insecure_bind=given.i_know)
    except ModelwrightError as error:
        from modelwright.interfaces.cli.output import print_error  # lazy: a process that serves needs no terminal

        return print_error(error, as_json=False)


if __name__ == "__main__":
    sys.exit(main())
