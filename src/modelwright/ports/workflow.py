"""Durable stories: steps whose results survive a crash."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Json = dict[str, Any]


class Steps(Protocol):
    """What a story is given. A finished step is never run again; an unfinished one is, under the same key."""

    @property
    def key(self) -> str:
        """Identity of this run of the story: prefix of every idempotency key it uses."""
        ...

    def do(self, name: str, work: Callable[[], T]) -> T:
        """Run a step once; its JSON-able result is kept and given again after a crash.

        A ModelwrightError raised by the step is kept too, and raised again (same kind, code and words).
        """
        ...

    def sleep(self, seconds: float) -> None:
        """Wait, durably."""
        ...


Story = Callable[[Any, Steps, Json], Json]
"""``story(platform, steps, arguments) -> result``; arguments and result are JSON objects."""


@dataclass(frozen=True, slots=True)
class StoryState:
    """``status``: ``pending``, ``done``, ``failed``; ``steps`` are the names of finished steps, in order."""

    key: str
    story: str
    status: str
    started_at: float
    steps: tuple[str, ...] = ()
    result: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None


class Workflow(Protocol):
    """Runs stories by name."""

    def run(self, story: str, arguments: Json, *, key: str) -> Json:
        """Run and wait. The same key never runs twice: it waits for, or gives, the first run's result."""
        ...

    def start(self, story: str, arguments: Json, *, key: str) -> None:
        """Run in the background; the same key is not started twice."""
        ...

    def state(self, key: str) -> StoryState | None:
        """How far it is."""
        ...

    def states(self, *, limit: int = 50) -> Sequence[StoryState]:
        """Newest first."""
        ...

    def recover(self) -> int:
        """Take over the pending stories of processes that are gone; returns how many."""
        ...

    def forget(self, story: str, *, keep: int) -> int:
        """Delete the finished runs of a story, done or failed, but the newest ``keep``; returns how many went.

        A forgotten key is unknown again. For stories whose keys are never used twice, such as rounds of keeping.
        """
        ...

    def schedule(self, name: str, story: str, arguments: Json, *, cron: str) -> None:
        """Run a story on a cron schedule (UTC), key ``<name>-<time>``; replaces a schedule of the same name."""
        ...

    def unschedule(self, *, besides: Collection[str]) -> None:
        """End every schedule but those of these names."""
        ...

    def close(self) -> None:
        """Stop taking work; pending stories stay pending."""
        ...
