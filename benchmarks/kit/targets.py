"""Figures against their targets: what is missed is said, and is the exit status."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import uvloop


class Targets:
    """Prints each figure beside its target."""

    def __init__(self) -> None:
        self._missed: list[str] = []

    def at_most(self, label: str, figure: float, target: float, unit: str) -> None:
        """A figure that must not be larger."""
        self._print(label, figure, f"<= {target:,g}", unit, met=figure <= target)

    def at_least(self, label: str, figure: float, target: float, unit: str) -> None:
        """A figure that must not be smaller."""
        self._print(label, figure, f">= {target:,g}", unit, met=figure >= target)

    def verdict(self) -> int:
        """The exit status."""
        print(f"  {len(self._missed)} missed{': ' if self._missed else ''}{'; '.join(self._missed)}")
        return 1 if self._missed else 0

    def _print(self, label: str, figure: float, target: str, unit: str, *, met: bool) -> None:
        if not met:
            self._missed.append(label)
        print(f"  {label:44} {figure:>12,.1f} {target:>12} {unit:10} {'' if met else 'MISSED'}".rstrip(), flush=True)


def play(story: Coroutine[Any, Any, None]) -> None:
    """Run a scenario to its end."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story)
