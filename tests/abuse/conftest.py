"""Gateways under load: each scenario starts real processes and drives them from this one."""

import asyncio
import os

import pytest
import uvloop

from kit import burden
from modelwright.core.package import Package


def pytest_itemcollected(item):
    """Whoever judges times has the machine to itself."""
    if {"room", "calm"} & set(item.fixturenames):
        item.add_marker("alone")


@pytest.fixture(scope="session")
def play():
    """``play(coroutine)``: run a scenario to its end."""

    def run(story):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(story)

    return run


@pytest.fixture(scope="session")
def room():
    """``room()``: how many times a target a figure may be, for this machine may do other things beside these tests.

    The long runs (`make abuse`) take the targets as they are.
    """
    return lambda: 1.5 * max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))


@pytest.fixture(scope="session")
def calm():
    """``calm(figures, ...)``: skips what is left of a test, its timing, where the generator itself fell behind."""

    def judge(*loads):
        behind = max(figures.behind for figures in loads)
        if behind > 0.05:
            pytest.skip(f"this machine is too busy to judge times: the generator was {behind:.2f} s behind")

    return judge


@pytest.fixture(scope="session")
def alone() -> Package:
    """20 ms for each request; requests never run together."""
    return burden.slow("alone", fixed=0.020)


@pytest.fixture(scope="session")
def together() -> Package:
    """15 ms for a run and 3 ms for each request in it."""
    return burden.slow("together", fixed=0.015, per_row=0.003, row_independent=True)
