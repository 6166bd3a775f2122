"""The generator processes and what they measured together."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from modelwright.bench.figures import Figures, figures_of
from modelwright.bench.job import Job, Load, Outcome, Word, read_message, write_message
from modelwright.core.errors import InternalError, UnavailableError


@dataclass(frozen=True, slots=True)
class Measured:
    """One round of one load, over all generators. ``generator_share``: of a core, the busiest generator's.

    ``lasted``: seconds from its start, warm-up and all, to the last answer.
    """

    load: Load
    figures: Figures
    errors: dict[str, int]
    unanswered: int
    generator_share: float
    lasted: float
    samples: list[tuple[int, bytes]]


class Generators:
    """Processes that ask; each on a core of its own where there are enough.

    Args:
        job: whom to ask, and with what.
        count: how many processes.
        cores: those they may use; empty: any.
    """

    def __init__(self, job: Job, count: int, cores: Sequence[int] = ()) -> None:
        self._children: list[subprocess.Popen[bytes]] = []
        for number in range(count):
            child = subprocess.Popen(
                [sys.executable, "-m", "modelwright.bench.generator"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            self._children.append(child)
            mine = (cores[number % len(cores)],) if cores else ()
            write_message(_pipe(child.stdin), replace(job, cores=mine))

    @property
    def pids(self) -> list[int]:
        """The processes."""
        return [child.pid for child in self._children]

    def measure(self, load: Load) -> Measured:
        """Put a load on the server.

        Raises:
            UnavailableError: ``bench.cannot-connect``.
            InternalError: ``bench.generator-died``.
        """
        used = self._children if load.rate else self._children[: load.connections]
        parts = [
            replace(load, connections=share, part=number, parts=len(used))
            for number, share in enumerate(_shares(load.connections, len(used)))
        ]
        try:
            for child, part in zip(used, parts, strict=True):
                write_message(_pipe(child.stdin), part)
            words = [self._hear(child) for child in used]
            for child, word in zip(used, words, strict=True):
                if word.ready:
                    write_message(_pipe(child.stdin), True)
            words = [self._hear(child) if word.ready else word for child, word in zip(used, words, strict=True)]
        except (EOFError, BrokenPipeError) as error:
            raise InternalError(
                "bench.generator-died", "A generator process ended.", fix="See what it wrote on standard error."
            ) from error
        failed = [word.error for word in words if word.outcome is None]
        if failed:
            raise UnavailableError(
                "bench.cannot-connect",
                "The generator could not open its connections.",
                why=failed[0],
                fix="Is the server there, and does it take so many connections (MODELWRIGHT_MAX_CONNECTIONS)?",
            )
        return _together(load, [word.outcome for word in words if word.outcome is not None])

    def _hear(self, child: subprocess.Popen[bytes]) -> Word:
        return read_message(_pipe(child.stdout), Word)

    def close(self) -> None:
        """End the processes; one that does not by itself is killed."""
        for child in self._children:
            _pipe(child.stdin).close()
        for child in self._children:
            try:
                child.wait(2)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            _pipe(child.stdout).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for child in self._children:
                child.kill()
        self.close()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def _shares(total: int, parts: int) -> list[int]:
    """``total`` dealt out; nobody goes empty-handed."""
    return [max(1, total // parts + (number < total % parts)) for number in range(parts)]


def _together(load: Load, outcomes: Sequence[Outcome]) -> Measured:
    errors: Counter[str] = Counter()
    for outcome in outcomes:
        errors.update(outcome.errors)
    latencies = _joined([outcome.latencies for outcome in outcomes])
    rate = sum(outcome.completed for outcome in outcomes) / load.seconds
    unanswered = sum(outcome.unanswered for outcome in outcomes)
    return Measured(
        load,
        figures_of(latencies, _joined([outcome.lateness for outcome in outcomes]), unanswered, rate),
        dict(errors),
        unanswered,
        max(outcome.cpu_seconds / outcome.seconds for outcome in outcomes),
        max(outcome.lasted for outcome in outcomes),
        [sample for outcome in outcomes for sample in outcome.samples],
    )


def _joined(parts: Sequence[bytes]) -> NDArray[np.float64]:
    return np.concatenate([np.frombuffer(part, np.float64) for part in parts])
