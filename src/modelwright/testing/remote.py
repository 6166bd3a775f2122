"""Processes of a model that exist in a test only: it says when each run ends, and how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from modelwright.core.device import ON_CPU
from modelwright.core.errors import RefusedError, UnavailableError
from modelwright.ports.runner import LOST, ChunkSink, Feeds, Observer, Outcome, SequenceMark, Watch
from modelwright.testing.runner import Function


class SteppedRemote:
    """Implements ``ports.runner.Remote``. ``started`` are the runs under way: their feeds by number.

    ``streams`` are the answers in chunks under way, by number, and whom to tell; ``said`` is what was told of them:
    (word, number). Each place is a process of its own: seat 1, 2, ... ``marks`` are the sequences of the runs.

    Args:
        function: what the model computes.
        places: how many runs at once.
        idempotent: whether a lost run may be made again.
    """

    def __init__(self, function: Function, *, places: int = 1, idempotent: bool = True) -> None:
        self.idempotent, self.places = idempotent, places
        self.started: dict[int, Feeds] = {}
        self.abandoned: list[int] = []
        self.streams: dict[int, ChunkSink] = {}
        self.said: list[tuple[str, int]] = []
        self.marks: dict[int, SequenceMark] = {}
        self.forgotten: list[tuple[int, int]] = []
        self._standing = dict.fromkeys(range(1, places + 1), 0)
        self.failure: UnavailableError | None = None
        self._function, self._done = function, dict[int, Callable[[Outcome], None]]()
        self._observer: Observer | None = None
        self._numbers, self._blamed = 0, Counter[str]()

    @property
    def idle(self) -> int:
        """Places without a run."""
        return 0 if self.failure else self.places - len(self.started)

    window = 2
    stream_slots = 8

    @property
    def seats(self) -> Mapping[int, bool]:
        """The places, and which of them are free."""
        return {} if self.failure else {seat: run not in self.started for seat, run in self._standing.items()}

    def attach(self, watch: Watch, observer: Observer) -> None:  # noqa: ARG002 - nothing here is to be watched
        """Remember whom to tell."""
        self._observer = observer

    def start(
        self, feeds: Feeds, done: Callable[[Outcome], None], sequence: SequenceMark | None = None, seat: int = 0
    ) -> int:
        """Keep the run for the test to end."""
        assert self.idle
        seat = seat or next(number for number, free in self.seats.items() if free)
        assert self.seats[seat]
        self._numbers += 1
        self._standing[seat] = self._numbers
        if sequence is not None:
            self.marks[self._numbers] = sequence
        self.started[self._numbers], self._done[self._numbers] = feeds, done
        return self._numbers

    def finish(self, number: int | None = None) -> None:
        """Answer a run, the first one unless it is named."""
        number = min(self.started) if number is None else number
        feeds = self.started.pop(number)
        try:
            outcome: Any = self._function(feeds)
        except Exception as error:  # noqa: BLE001 - the model's own
            outcome = RefusedError("test.model-failed", str(error))
        self._done.pop(number)(outcome)

    def lose(self, number: int | None = None) -> None:
        """End the process of a run, the first one unless it is named."""
        number = min(self.started) if number is None else number
        del self.started[number]
        seat = next(seat for seat, run in self._standing.items() if run == number)
        del self._standing[seat]
        self._standing[max((seat, *self._standing)) + 1] = 0
        assert self._observer is not None
        self._observer.killed("crashed")
        self._done.pop(number)(UnavailableError(LOST, "The process ended.", details={"retry_after": 1}))
        self._observer.restarted()
        self._observer.changed()

    def forget(self, seat: int, key: int) -> None:
        """Remember it."""
        self.forgotten.append((seat, key))

    def stream(self, feeds: Feeds, sink: ChunkSink) -> int:  # noqa: ARG002 - the test says what comes
        """Keep the answer for the test to give."""
        self._numbers += 1
        self.streams[self._numbers] = sink
        return self._numbers

    def welcome(self, run: int) -> None:
        """Remember it."""
        self.said.append(("welcome", run))

    def cancel(self, run: int) -> None:
        """Remember it."""
        self.said.append(("cancel", run))

    def fail(self, failure: UnavailableError | None) -> None:
        """From now on no run can start, or can again."""
        self.failure = failure
        assert self._observer is not None
        self._observer.changed()

    def abandon(self, run: int) -> None:
        """Lose the run, and remember that it was asked for."""
        self.abandoned.append(run)
        if run in self.streams:
            self.streams.pop(run).ended(UnavailableError(LOST, "The process ended.", details={"retry_after": 1}))
        else:
            self.lose(run)

    def blame(self, feeds: Feeds) -> RefusedError | None:
        """The error at the second time."""
        self._blamed[_key(feeds)] += 1
        return self.quarantined(feeds)

    def clear(self, feeds: Feeds) -> None:
        """Forget."""
        self._blamed.pop(_key(feeds), None)

    def quarantined(self, feeds: Feeds) -> RefusedError | None:
        """The error from the second time on."""
        if self._blamed[_key(feeds)] < 2:
            return None
        return RefusedError("serve.poison-request", "The request ends processes.")


class RemoteRunner:
    """Implements ``ports.runner.Runner`` over a function whose planned runs are a :class:`SteppedRemote`'s."""

    def __init__(self, remote: SteppedRemote, function: Function) -> None:
        self.remote, self._function = remote, function

    memory_bytes = 0
    placement = ON_CPU

    def unready(self) -> str:
        """Why no run can start for a while."""
        return "" if self.remote.failure is None else str(self.remote.failure)

    def run(self, inputs: Feeds, outputs: Any = None) -> dict[str, Any]:
        """The function's answers, at once."""
        answers = self._function(inputs)
        return answers if outputs is None else {name: answers[name] for name in outputs}

    def close(self) -> None:
        """Nothing to give back."""


def _key(feeds: Feeds) -> str:
    return repr({name: tensor.tolist() for name, tensor in feeds.items()})
