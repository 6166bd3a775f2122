"""How a gateway is to run: its command line."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from modelwright.core.errors import BadInputError
from modelwright.processes import tls
from modelwright.processes.listening import is_loopback
from modelwright.settings import Settings, address, load


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """How to run. ``listener`` is a bound socket that the supervisor ``parent`` hands down; -1 = bind ``http``.

    ``insecure`` allows an address that other machines can reach, without TLS. A ``successor`` takes over from a gateway
    that still serves: it ends rather than serve less than the whole table. ``peer_listener`` is where other gateways of
    the same server reach it; -1: there are none.
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
    peer_listener: int = -1

    @property
    def standalone(self) -> bool:
        """Whether it serves packages without a registry."""
        return bool(self.packages) or self.models is not None

    @property
    def supervised(self) -> bool:
        """Whether a supervisor runs it, maybe with others over the same data directory."""
        return self.listener >= 0


def parser(description: str | None) -> argparse.ArgumentParser:
    """The command line of a gateway."""
    made = argparse.ArgumentParser(prog="python -m modelwright.processes.gateway", description=description)
    made.add_argument("--home", type=Path, help="data directory")
    made.add_argument("--http", help="HOST:PORT to listen on")
    made.add_argument("--grpc", help="HOST:PORT to listen on for gRPC")
    made.add_argument("--fd", type=int, default=-1, help="descriptor of a bound socket, instead of --http")
    made.add_argument("--peer-fd", type=int, default=-1, help="descriptor of a socket for other gateways; with --fd")
    made.add_argument("--parent", type=int, default=0, help="process to die with; with --fd")
    made.add_argument("--id", default="g0", help="this gateway's id on the data directory")
    made.add_argument("--successor", action="store_true", help="end unless the whole routing table can be served")
    made.add_argument("--package", type=Path, action="append", default=[], help="serve this package alone")
    made.add_argument("--models", type=Path, help="serve the packages in this folder, and follow it")
    made.add_argument("--no-auth", action="store_true", help="ask for no token (loopback, without a registry)")
    made.add_argument("--i-know", action="store_true", help="allow an address other than loopback without TLS")
    made.add_argument("--workers", type=int, help="gateways that share the cores")
    made.add_argument("--device", help="devices that models run on")
    tls.add_options(made)
    return made


def options_of(given: argparse.Namespace) -> tuple[GatewayOptions, Settings]:
    """What the command line and the environment say.

    Raises:
        BadInputError: as :func:`modelwright.settings.load`.
    """
    settings = load({name: getattr(given, name) for name in ("home", "http", "grpc", "workers", "device", *tls.NAMES)})
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
    return options, settings


def require_loopback(options: GatewayOptions) -> None:
    """Check that a gateway which asks for no token is reached from this machine only.

    Raises:
        BadInputError: ``serve.no-auth-needs-loopback``.
    """
    hosts = [address(text)[0] for text in (options.http, options.grpc) if text]
    host = next((host for host in hosts if not is_loopback(host)), hosts[0])
    if not options.standalone or not is_loopback(host):
        raise BadInputError(
            "serve.no-auth-needs-loopback",
            "--no-auth is allowed only with --package or --models, and on a loopback address.",
            why=f"{host} can be reached by others, or the registry's tokens would be ignored.",
            fix="Leave --no-auth out and use the printed token, or listen on 127.0.0.1.",
        )
