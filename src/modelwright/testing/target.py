"""A target in memory, and the conformance class of ``ports.target.Target``."""

from __future__ import annotations

from collections.abc import Sequence

from modelwright.core.errors import RefusedError
from modelwright.core.version import RoutingTable
from modelwright.ports.target import Target
from modelwright.testing.errors import error_code


class InMemoryTarget:
    """Implements ``ports.target.Target`` with one gateway that serves at once.

    Set ``refuses`` to a reason and the gateway fails to load what is published next; set ``asleep`` and it never
    takes anything; unset ``running`` and there is none. ``published`` keeps every table.
    """

    def __init__(self) -> None:
        self.published: list[RoutingTable] = []
        self.serving: RoutingTable | None = None
        self.refuses, self.asleep, self.running = "", False, True

    def publish(self, table: RoutingTable) -> None:
        """Serve it, unless told otherwise."""
        self.published.append(table)
        if not self.refuses and not self.asleep:
            self.serving = table

    def live(self) -> Sequence[str]:
        """The one gateway; none when ``running`` is false."""
        return ["memory"] if self.running else []

    def wait(self, epoch: int, *, timeout: float) -> bool:  # noqa: ARG002 - the port's signature; nothing to wait for
        """True when that epoch or a newer one is served. Raises RefusedError (``deploy.load-failed``)."""
        if self.serving is not None and self.serving.epoch >= epoch:
            return True
        if self.refuses and not self.asleep:
            raise RefusedError("deploy.load-failed", f"The gateway could not load epoch {epoch}.", why=self.refuses)
        return False


class TargetConformance:
    """Inherit, give fixtures ``target`` (one live gateway that takes tables) and ``broken`` (one that cannot)."""

    def test_a_published_table_is_in_force_soon(self, target: Target) -> None:
        """Also an older epoch than the one in force counts as served."""
        target.publish(RoutingTable(3))
        assert target.wait(3, timeout=5.0)
        assert target.wait(2, timeout=5.0)

    def test_a_gateway_that_runs_is_live(self, target: Target) -> None:
        """By its id."""
        assert len(target.live()) == 1

    def test_an_epoch_that_was_never_published_is_not_in_force(self, target: Target) -> None:
        """The wait ends with its timeout."""
        target.publish(RoutingTable(3))
        assert not target.wait(4, timeout=0.05)

    def test_a_gateway_that_cannot_load_refuses_the_table(self, broken: Target) -> None:
        """With its reason."""
        broken.publish(RoutingTable(5))
        assert error_code(lambda: broken.wait(5, timeout=5.0)) == "deploy.load-failed"
