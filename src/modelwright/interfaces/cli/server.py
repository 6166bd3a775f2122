"""Commands around the server's processes: serve, reload and demo."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from modelwright.core.device import parse_devices
from modelwright.core.errors import DeadlineError, NotFoundError, UnavailableError
from modelwright.interfaces.cli.output import json_option, print_json
from modelwright.interfaces.cli.session import current_settings, existing
from modelwright.settings import MAX_WORKERS, environment_of

LEVELS = click.Choice(["strict", "standard", "off"])


def become(module: str, arguments: list[str], given: Mapping[str, object] | None = None) -> None:
    """Replace this process, so that signals and the exit code are the module's own; ``given``: settings for it."""
    sys.stdout.flush()
    sys.stderr.flush()
    environment = environment_of(
        {"project": current_settings().project.absolute(), **(given or {})}
    )  # all its processes read the file
    os.execve(sys.executable, [sys.executable, "-m", module, *arguments], environment)  # noqa: S606 - no shell wanted


def _devices(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    try:
        if text is not None:
            parse_devices(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from error
    return text


@click.command(epilog="Example: modelwright serve --package flight-delay.mw --http 127.0.0.1:8080 --no-auth")
@click.option("--package", "packages", multiple=True, help="Serve this package without a registry; may be repeated.")
@click.option("--models", help="Serve the packages in this folder without a registry, and follow what changes there.")
@click.option("--http", help="Address of the data plane [127.0.0.1:8080].")
@click.option("--grpc", help="Address of the data plane over gRPC; none when left out.")
@click.option("--control", help="Address of the control plane and the pages [127.0.0.1:8081].")
@click.option("--workers", type=click.IntRange(1, MAX_WORKERS), help="Gateway processes, one for each core to use [1].")
@click.option("--device", callback=_devices, help="Devices that models run on, such as cuda:0,1 or cuda,cpu [auto].")
@click.option(
    "--isolation", "native_isolation", type=LEVELS, help="Least jail of models that run as code; off: none [standard]."
)
@click.option("--tls-certificate", help="PEM file with the server's certificate chain: speak TLS.")
@click.option("--tls-key", help="PEM file with the certificate's private key.")
@click.option("--tls-client-ca", help="PEM file: clients of the data plane need a certificate of this CA.")
@click.option("--no-auth", is_flag=True, help="Ask for no token (only with --package or --models, only on loopback).")
@click.option("--i-know", is_flag=True, help="Allow an address other than loopback without TLS.")
def serve(
    packages: tuple[str, ...],
    models: str | None,
    no_auth: bool,
    i_know: bool,
    workers: int | None,
    **given: str | None,
) -> None:
    """Start the server: predictions, ground truth, control plane and pages.

    Without --package and --models it serves what the registry says and follows it; the first start prints an access
    token, once.
    """
    settings = current_settings(workers=workers, **given)
    alone = bool(packages or models)
    if packages and models:
        raise click.UsageError("--package does not go with --models.")
    if no_auth and not alone:
        raise click.UsageError("--no-auth goes with --package or --models.")
    if workers is not None and alone:
        raise click.UsageError("--workers goes with a registry: packages are served by one process.")
    arguments = ["--home", str(settings.home.absolute()), "--http", settings.http]
    arguments += ["--grpc", settings.grpc] if settings.grpc else []
    arguments += ["--device", settings.device]
    isolation = {"native_isolation": settings.native_isolation} if given.get("native_isolation") else {}
    for name in ("tls_certificate", "tls_key", "tls_client_ca"):
        path = getattr(settings, name)
        arguments += [f"--{name.replace('_', '-')}", path] if path else []
    if alone:
        for package in packages:
            arguments += ["--package", str(existing(package, "package"))]
        arguments += ["--models", str(existing(models, "folder"))] if models else []
        flags = [flag for flag, on in (("--no-auth", no_auth), ("--i-know", i_know)) if on]
        become("modelwright.processes.gateway", arguments + flags, isolation)
    arguments += ["--control", settings.control, "--project", str(settings.project.absolute())]
    arguments += ["--workers", str(settings.workers)]
    become("modelwright.processes.supervisor", arguments + (["--i-know"] if i_know else []), isolation)


@click.command(epilog="Example: modelwright reload")
@click.option("--timeout", default=300.0, show_default=True, help="Seconds to wait for the last gateway.")
@json_option
def reload(timeout: float, as_json: bool) -> None:
    """Replace the gateways of the running server one by one; no connection is refused, no request fails.

    The new ones read the TLS files again and run the release that is installed now.
    """
    run = current_settings().home / "run"
    before = running_server(run)
    os.kill(before["pid"], signal.SIGHUP)
    deadline = time.monotonic() + timeout
    awaited = before["reloads"] + (2 if before["reloading"] else 1)  # one under way began before us
    while (now := running_server(run))["reloads"] < awaited:
        if time.monotonic() > deadline:
            raise DeadlineError("serve.reload-late", "The gateways are not replaced yet.", fix="See the server's log.")
        time.sleep(0.05)
    if now["reload_error"]:
        raise UnavailableError(
            "serve.reload-failed",
            f"{now['reload_error']} Those that were not replaced serve on.",
            fix="See the server's log, repair what it names, and reload again.",
        )
    if as_json:
        print_json({"reloads": now["reloads"]})
    else:
        click.echo("The gateways are replaced.")


def running_server(run: Path) -> dict[str, Any]:
    """What the server of this data directory says about itself.

    Raises:
        NotFoundError: ``serve.not-running``.
    """
    try:
        with (run / "server.lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:  # held: it runs, and the file is its own
                return dict(json.loads((run / "server.json").read_bytes()))
    except FileNotFoundError:
        pass
    raise NotFoundError("serve.not-running", f"No server uses {run.parent}.", fix="Start it: modelwright serve.")


@click.command(epilog="Example: modelwright demo --keep")
@click.option("--folder", default="build/demo", show_default=True, help="Where the demo keeps its files.")
@click.option("--keep", is_flag=True, help="Leave the server running at the end and print its address and token.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON at the end.")
def demo(folder: str, keep: bool, as_json: bool) -> None:
    """Run the main job on a year of real flights: train, release, watch, renew, and report.

    Exit code 0 only if the maintained service beat the never-renewed one and the ledger verifies.
    """
    flags = [flag for flag, on in (("--keep", keep), ("--json", as_json)) if on]
    become("modelwright.demo.main", ["--folder", folder, *flags])
