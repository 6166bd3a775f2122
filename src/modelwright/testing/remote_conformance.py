"""What every ``ports.runner.Remote`` must do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

from modelwright.core.package import Package
from modelwright.core.package_codec import golden_tensors
from modelwright.ports.runner import LOST, Feeds, Outcome, Remote


class Witness:
    """A ``ports.runner.Observer`` that counts what it is told."""

    def __init__(self) -> None:
        self.told = Counter[str]()

    def changed(self) -> None:
        """Another run can start, or none can."""
        self.told["changed"] += 1

    def restarted(self) -> None:
        """A process was started again."""
        self.told["restarted"] += 1

    def killed(self, reason: str) -> None:
        """A process ended."""
        self.told[f"killed: {reason}"] += 1


class RemoteConformance:
    """Inherit, and give three fixtures.

    ``package`` has golden rows; ``remote`` runs it and is attached to the fixture's ``witness``; ``pump(until)`` lets
    time pass and events happen until ``until()`` is true, and fails when it never is.
    """

    def test_a_run_that_was_started_tells_its_answer_once_and_later(
        self, remote: Remote, package: Package, pump: Callable[[Callable[[], bool]], None]
    ) -> None:
        """Never within ``start``; meanwhile its place is taken."""
        told: list[Outcome] = []
        pump(lambda: remote.idle > 0)
        idle = remote.idle
        remote.start(_feeds(package), told.append)
        assert (told, remote.idle) == ([], idle - 1)
        pump(lambda: bool(told))
        assert (len(told), remote.idle) == (1, idle)
        assert package.golden is not None
        assert isinstance(told[0], dict)
        for name, tensor in golden_tensors(package.signature.outputs, package.golden.outputs).items():
            np.testing.assert_allclose(told[0][name].reshape(tensor.shape), tensor, rtol=1e-5)

    def test_a_run_takes_the_process_that_is_named_and_none_has_the_number_of_one_that_ended(
        self, remote: Remote, package: Package, pump: Callable[[Callable[[], bool]], None]
    ) -> None:
        """So that whoever keeps to a process learns that its state is gone."""
        told: list[Outcome] = []
        pump(lambda: any(remote.seats.values()))
        seat = next(number for number, free in remote.seats.items() if free)
        run = remote.start(_feeds(package), told.append, seat=seat)
        assert not remote.seats[seat]
        remote.abandon(run)
        pump(lambda: bool(told) and any(remote.seats.values()))
        assert seat not in remote.seats

    def test_a_run_that_is_abandoned_is_lost_and_its_place_is_filled_again(
        self, remote: Remote, package: Package, witness: Witness, pump: Callable[[Callable[[], bool]], None]
    ) -> None:
        """With the port's code, and the observer hears of it."""
        told: list[Outcome] = []
        pump(lambda: remote.idle > 0)
        remote.abandon(remote.start(_feeds(package), told.append))
        pump(lambda: bool(told))
        assert getattr(told[0], "code", "") == LOST
        pump(lambda: witness.told["restarted"] > 0)
        assert sum(count for what, count in witness.told.items() if what.startswith("killed")) == 1
        assert witness.told["changed"]
        assert remote.idle > 0
        assert remote.failure is None

    def test_feeds_that_were_blamed_twice_are_quarantined_and_no_others(self, remote: Remote, package: Package) -> None:
        """And an answer in between clears them."""
        feeds = _feeds(package)
        others = {name: tensor[:1] for name, tensor in feeds.items()}
        assert remote.blame(feeds) is None
        remote.clear(feeds)
        assert remote.blame(feeds) is None
        assert remote.quarantined(feeds) is None
        assert getattr(remote.blame(feeds), "code", "") == "serve.poison-request"
        assert getattr(remote.quarantined(feeds), "code", "") == "serve.poison-request"
        assert remote.quarantined(others) is None


def _feeds(package: Package) -> Feeds:
    assert package.golden is not None
    return golden_tensors(package.signature.inputs, package.golden.inputs)
