"""The control process: REST API of the control plane, pages, durable stories and the keeper, over one data directory.

Run as ``python -m modelwright.processes.control``; ``modelwright serve`` starts it under the supervisor. It tells its
parent on stdout, as JSON lines, the first access token (once) and when it is ready; its log goes to stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import uvicorn
from starlette.types import ASGIApp

from modelwright import wiring
from modelwright.core.access import Act
from modelwright.core.errors import ModelwrightError
from modelwright.interfaces.console.app import console_app
from modelwright.interfaces.console.data_plane import DataPlane
from modelwright.interfaces.control.app import control_app
from modelwright.lifecycle.keep import KEEPER, carry_out, schedule_renewals
from modelwright.lifecycle.rollout import republish
from modelwright.ports.platform import Platform
from modelwright.ports.workflow import Workflow
from modelwright.processes.child import die_with_parent
from modelwright.processes.listening import is_loopback, listen
from modelwright.processes.logs import configure
from modelwright.processes.tls import NAMES, add_options, own_gateway_context
from modelwright.record.compact import compact
from modelwright.settings import Settings, address, load

MAX_HEAD_BYTES = 16 * 2**10
STOP_SECONDS = 5
TABLE_SECONDS = 5.0
KEPT_ROUNDS = 20  # a day has 1,440 of them, and what one found is kept as a report
_log = logging.getLogger("modelwright.control")


def application(
    platform: Platform,
    workflow: Workflow,
    *,
    settings: Settings,
    authenticate: bool = True,
    data_plane: DataPlane | None = None,
) -> ASGIApp:
    """The API with the pages behind one guard."""
    secure = bool(settings.tls_certificate)
    pages = console_app(platform, workflow, authenticate=authenticate, secure=secure, data_plane=data_plane)
    return control_app(platform, workflow, settings=settings, pages=pages, authenticate=authenticate)


def own_data_plane(settings: Settings) -> DataPlane | None:
    """The data plane under the same supervisor, which holds its socket: nobody else can be there to get our tokens.

    None where it takes only clients with a certificate: this process has none.
    """
    if settings.tls_client_ca:
        return None
    host, port = address(settings.http)
    return DataPlane(host, port, own_gateway_context(settings))


def first_token(platform: Platform) -> str | None:
    """An administrator's token when nobody holds a live one, else None."""
    if any(grant.role == "admin" for grant in platform.tokens.grants()):
        return None
    return platform.tokens.issue("admin", "admin", act=Act(KEEPER, "first start"))


def keep_once(platform: Platform, workflow: Workflow) -> None:
    """One round of keeping; a part that fails is logged, keeps no other back, and is tried again in the next round."""
    parts: tuple[Callable[[], object], ...] = (
        lambda: compact(platform.home / "log"),
        lambda: workflow.run("keep", {}, key=f"keep-{uuid.uuid4().hex}"),
        lambda: workflow.forget("keep", keep=KEPT_ROUNDS),
        lambda: carry_out(platform, workflow),
    )
    for part in parts:
        try:
            part()
        except ModelwrightError as error:
            _log.warning("keep.failed", extra={"error": error.to_json()})
        except Exception:  # noqa: BLE001 - the keeper must outlive a round that fails in a way nobody foresaw
            _log.exception("keep.failed")


class Keeper(threading.Thread):
    """Keeps every ``seconds`` until told to stop."""

    def __init__(self, platform: Platform, workflow: Workflow, seconds: float) -> None:
        super().__init__(name="keeper", daemon=True)
        self._platform, self._workflow, self._seconds = platform, workflow, seconds
        self._stopping = threading.Event()

    def run(self) -> None:
        """Wait, keep, and again."""
        while not self._stopping.wait(self._seconds):
            keep_once(self._platform, self._workflow)

    def stop(self) -> None:
        """Finish; a round in progress is a durable story and goes on at the next start."""
        self._stopping.set()
        self.join(timeout=STOP_SECONDS)


def _tell(**line: object) -> None:
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()


def serve(
    settings: Settings, listener: socket.socket, *, authenticate: bool = True, data_plane: DataPlane | None = None
) -> int:
    """Run until SIGTERM or SIGINT; 0 after a graceful end."""
    with wiring.platform(settings) as platform, wiring.workflow(platform, role="control") as workflow:
        token = first_token(platform)
        if token:
            _tell(event="first-token", token=token)
        epoch = republish(platform)
        recovered = workflow.recover()
        schedule_renewals(platform, workflow)
        carry_out(platform, workflow)
        keeper = Keeper(platform, workflow, settings.keep_seconds)
        keeper.start()
        _log.info("control.started", extra={"recovered": recovered, "address": listener.getsockname()[:2]})
        with contextlib.suppress(ModelwrightError):  # what a gateway cannot load is no reason to keep the pages back
            platform.target.wait(epoch, timeout=TABLE_SECONDS)  # the token that is shown now must be good at once
        app = application(platform, workflow, settings=settings, authenticate=authenticate, data_plane=data_plane)
        try:
            serve_http(server_config(app, settings), listener, ready=lambda: _tell(event="ready"))
        finally:
            keeper.stop()
    return 0


def server_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """How the control plane speaks HTTP: no trust in proxies, no name, small heads, few connections.

    With TLS it asks for no client certificate: browsers open its pages.
    """
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        http="h11",  # the faster parser takes heads of any length
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        limit_concurrency=512,
        timeout_graceful_shutdown=STOP_SECONDS,
        ssl_certfile=settings.tls_certificate or None,
        ssl_keyfile=settings.tls_key or None,
    )


def serve_http(config: uvicorn.Config, listener: socket.socket, *, ready: Callable[[], None] = lambda: None) -> None:
    """Answer on the socket until SIGTERM or SIGINT, also when the signal comes as early as during ``ready``."""
    server = uvicorn.Server(config)

    def stop(*_: object) -> None:
        server.should_exit = True

    def renew(*_: object) -> None:
        """Read the certificate again, for the connections to come."""
        if config.ssl_certfile and config.loaded and config.ssl is not None:
            try:
                config.ssl.load_cert_chain(config.ssl_certfile, config.ssl_keyfile)
            except (OSError, ValueError) as error:
                _log.error("control.tls", extra={"error": str(error)})

    signal.signal(signal.SIGHUP, renew)
    # uvicorn takes the signals only once it runs, and raises them again at its end: there they must not kill us.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    ready()
    server.run(sockets=[listener])


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, listen, serve. Exit code 1 with the reason on stderr when it cannot start."""
    parser = argparse.ArgumentParser(prog="modelwright-control", description=__doc__)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--project", type=Path)
    parser.add_argument("--control", help="address to listen on, when no --fd is given")
    parser.add_argument("--http", help="address of the data plane")
    parser.add_argument("--fd", type=int, help="inherited listening socket")
    parser.add_argument("--parent", type=int, help="process id of the supervisor: stop when it goes")
    parser.add_argument("--no-auth", action="store_true", help="ask for no token (loopback only)")
    add_options(parser)
    given = parser.parse_args(arguments)
    if given.parent is not None:
        die_with_parent(given.parent)
    os.umask(0o077)
    configure("control")
    try:
        settings = load({name: getattr(given, name) for name in ("home", "project", "control", "http", *NAMES)})
        listener = socket.socket(fileno=given.fd) if given.fd is not None else listen(settings.control, name="control")
        host = str(listener.getsockname()[0])
        if given.no_auth and not is_loopback(host):
            parser.error("--no-auth goes with a loopback address only")
        plane = own_data_plane(settings) if given.parent is not None else None
        return serve(settings, listener, authenticate=not given.no_auth, data_plane=plane)
    except ModelwrightError as error:
        _log.critical("control.cannot-start", extra={"error": error.to_json()})
        return 1


if __name__ == "__main__":
    sys.exit(main())
