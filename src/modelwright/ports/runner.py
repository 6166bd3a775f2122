"""Running a package: named arrays in, named arrays out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from modelwright.core.device import Placement
from modelwright.core.errors import ModelwrightError, RefusedError, UnavailableError
from modelwright.core.kernels import KernelChoice
from modelwright.core.package import Package

LOST = "serve.runner-lost"
"""The code of a run whose process ended before it answered."""

Feeds = Mapping[str, NDArray[Any]]
ChooseKernel = Callable[[str, bytes, Feeds], KernelChoice | None]
"""Model's name, ONNX graph and examples to what was measured to run it fastest; None: it is not known."""
Outcome = dict[str, NDArray[Any]] | ModelwrightError
Place = Callable[[Package], Path | None]
"""Which folder of libraries a model that runs as code runs with; None: those of the process that serves it."""


def right_here(package: Package) -> None:
    """Always with the libraries of the process that serves it."""
    del package


class SequenceMark(NamedTuple):
    """Which sequence a request belongs to; ``start`` and ``end`` tell that it is its first or its last one.

    ``key`` tells it from every other one of the model, those with the same id among them.
    """

    id: str
    start: bool = False
    end: bool = False
    key: int = 0


class ChunkSink(Protocol):
    """Who gets an answer in chunks, on the loop's thread."""

    def chunk(self, outputs: dict[str, NDArray[Any]]) -> None:
        """One more chunk; :meth:`Remote.welcome` says when it has been used."""
        ...

    def ended(self, error: ModelwrightError | None) -> None:
        """Told once: there are no more chunks; why, where they are not all."""
        ...


class Watch(Protocol):
    """The event loop of the thread that answers."""

    def add_reader(self, descriptor: int, ready: Callable[[], None]) -> None:
        """Call ``ready`` whenever the descriptor can be read."""
        ...

    def remove_reader(self, descriptor: int) -> None:
        """Stop that."""
        ...

    def call_soon(self, work: Callable[[], None]) -> None:
        """Call ``work`` on the loop's thread; from any thread."""
        ...


class Observer(Protocol):
    """Who is told what becomes of a model's processes, on the loop's thread."""

    def changed(self) -> None:
        """Another run can start, or no run can start any more."""
        ...

    def restarted(self) -> None:
        """A process was started again."""
        ...

    def killed(self, reason: str) -> None:
        """A process ended: ``crashed``, ``hung``, ``violated`` or ``burned``."""
        ...


class Remote(Protocol):
    """Runs in other processes. Everything but ``attach``'s loop is used on that loop's thread."""

    idempotent: bool
    """Whether a run that was lost may be made again."""
    window: int
    """How many chunks of one answer come before the first of them was welcomed."""

    @property
    def idle(self) -> int:
        """How many runs can start now."""
        ...

    @property
    def failure(self) -> UnavailableError | None:
        """Why no run can start for a while; None: one can, or will be able to within moments."""
        ...

    def attach(self, watch: Watch, observer: Observer) -> None:
        """From now on be driven by an event loop."""
        ...

    @property
    def seats(self) -> Mapping[int, bool]:
        """The processes that stand, by a number that none had before; True where a run can start now."""
        ...

    @property
    def stream_slots(self) -> int:
        """How many more answers in chunks can begin now."""
        ...

    def start(
        self, feeds: Feeds, done: Callable[[Outcome], None], sequence: SequenceMark | None = None, seat: int = 0
    ) -> int:
        """Begin a run (``idle`` is above 0); ``done`` gets its outcome once, never within this call. Returns its id.

        In the process ``seat``, which must be free; 0: in any.
        """
        ...

    def forget(self, seat: int, key: int) -> None:
        """Let a process throw away what it keeps of a sequence; nothing where there is no such process any more."""
        ...

    def stream(self, feeds: Feeds, sink: ChunkSink) -> int:
        """Begin an answer in chunks (``stream_slots`` is above 0); ``sink`` is never told within this call."""
        ...

    def welcome(self, run: int) -> None:
        """A chunk has been used: one more may come."""
        ...

    def cancel(self, run: int) -> None:
        """No more chunks are wanted; the end of the answer is told once the model stopped."""
        ...

    def abandon(self, run: int) -> None:
        """End a run or an answer in chunks that hangs, with its process. It ends with an error of code :data:`LOST`."""
        ...

    def blame(self, feeds: Feeds) -> RefusedError | None:
        """Note that these feeds, alone, were with a process when it was lost; the error when that is twice now."""
        ...

    def clear(self, feeds: Feeds) -> None:
        """Note that these feeds were answered."""
        ...

    def quarantined(self, feeds: Feeds) -> RefusedError | None:
        """The error of feeds that may not be run again."""
        ...


class Runner(Protocol):
    """One loaded version. Row i of every output depends on row i of the inputs alone."""

    @property
    def remote(self) -> Remote | None:
        """How to run without waiting, where the model runs in other processes; None: only ``run``, on this thread."""
        ...

    @property
    def memory_bytes(self) -> int:
        """What it holds in a process of its own; 0 where it runs in this one, whose growth its loader measures."""
        ...

    @property
    def placement(self) -> Placement:
        """Where it runs. :meth:`run` may be called from as many threads at once as it has instances."""
        ...

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Answers of the named outputs (all when None). BYTES tensors are object arrays of ``str``.

        Raises:
            BadInputError: ``serve.model-rejected-input``.
            UnavailableError: ``serve.runner-closed``, and of a model in other processes ``serve.runner-lost``,
                ``serve.runner-failed-to-start``.
            RefusedError: ``serve.poison-request``, of a model in other processes.
        """
        ...

    def unready(self) -> str:
        """Why it could not answer now (its process is being started again, it is closed); empty when it could."""
        ...

    def close(self) -> None:
        """Give the memory back."""
        ...


class RunnerLoader(Protocol):
    """Makes a runner from a verified package."""

    def load(self, package: Package, *, threads: int = 1, instead: str = "") -> Runner:
        """Load, on the CPU where ``instead`` says why no other device will do.

        Raises CorruptError when the bytes do not verify, BadInputError when the graph cannot be built, and
        UnavailableError (``serve.device-unavailable``) when no device that is allowed can run it.
        """
        ...
