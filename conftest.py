"""How tests run beside each other (`pytest -n auto`): those marked `alone` have the machine to themselves."""

from __future__ import annotations

import fcntl
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

# No test fails for being slow. Where `CI` is set, Hypothesis has no deadline in any case.
settings.register_profile("patient", settings.default, deadline=None)
settings.load_profile("patient")


class Turns:
    """Any number of tests at a time or one that is alone, in all processes that test this checkout.

    A lock that many share lets others in for as long as somebody waits to be alone. So each test also passes a gate,
    which whoever wants to be alone holds until the others have left. Both locks are on files that are there anyway, and
    end with the process that holds them, whatever it dies of.
    """

    def __init__(self, root: Path) -> None:
        self._gate = (root / "pyproject.toml").open("rb")
        self._room = (root / "conftest.py").open("rb")
        self._alone = False

    def enter(self, *, alone: bool) -> None:
        """Wait until this test may run."""
        if alone and self._alone:
            return
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        fcntl.flock(self._room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(self._gate, fcntl.LOCK_UN)
        self._alone = alone

    def leave(self) -> None:
        """Let others run. Not by closing the file: a child that a test forked holds it too."""
        fcntl.flock(self._room, fcntl.LOCK_UN)
        self._alone = False


TURNS = pytest.StashKey[Turns]()


def pytest_configure(config: pytest.Config) -> None:
    """Take part in the turns of this checkout."""
    config.stash[TURNS] = Turns(config.rootpath)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outside of pytest-timeout: whoever waits for a turn is not late
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """One test with its fixtures, in its turn."""
    turns = item.config.stash[TURNS]
    turns.enter(alone=_alone(item))
    try:
        return (yield)
    finally:
        if not (_alone(item) and _alone(nextitem)):  # one after another, they wait for the others once
            turns.leave()


@pytest.hookimpl(optionalhook=True)  # pytest-xdist may be switched off
def pytest_xdist_auto_num_workers() -> int:
    """As many as `-n auto` stands for: one more than there are cores, for tests of servers wait half of the time."""
    from modelwright.processes.cores import cores  # not before tests/conftest.py has said how many threads OpenMP gets

    return min(4, cores() + 1)


def _alone(item: pytest.Item | None) -> bool:
    return item is not None and item.get_closest_marker("alone") is not None
