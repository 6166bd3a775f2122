"""How a gateway is to run, and what it serves where no registry says so."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelwright.core.errors import BadInputError
from modelwright.core.package import Package
from modelwright.core.version import Arm, Route, RoutingTable, TokenGrant
from modelwright.processes.listening import is_loopback
from modelwright.settings import address

STANDALONE_VERSION = "1"


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
