"""Where deployments run: something that takes a routing table and says when it is in force."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from modelwright.core.version import RoutingTable


class Target(Protocol):
    """A set of gateways."""

    def publish(self, table: RoutingTable) -> None:
        """Make the table visible to every gateway, atomically."""
        ...

    def live(self) -> Sequence[str]:
        """Ids of the gateways that run now."""
        ...

    def wait(self, epoch: int, *, timeout: float) -> bool:
        """True when every live gateway serves that epoch or a newer one (also when no gateway runs).

        Raises RefusedError (``deploy.load-failed``, with the gateway's reason) when a gateway could not load it.
        """
        ...
