"""Which answers in chunks a process owes, and whether what it sends keeps to what it may send."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from modelwright.adapters.runners.answers import AnswerCheck
from modelwright.adapters.runners.frames import (
    CHUNK,
    END,
    FAILED,
    MAX_CHUNK_BYTES,
    REFUSED,
    WINDOW,
    Frame,
    FrameError,
)
from modelwright.core.errors import ModelwrightError


@dataclass(slots=True)
class Said:
    """One more chunk of an answer, or its end (``error`` where the model failed)."""

    run: int
    chunk: dict[str, NDArray[Any]] = field(default_factory=dict)
    ended: bool = False
    error: ModelwrightError | None = None


@dataclass(slots=True)
class _Owed:
    made: int = 0
    credit: int = WINDOW
    cancelled: bool = False


class StreamBook:
    """The answers in chunks that one process was asked for and has not ended.

    Args:
        check: what a chunk may hold; it may have any number of rows.
    """

    def __init__(self, check: AnswerCheck) -> None:
        self._check = check
        self._owed: dict[int, _Owed] = {}

    def __contains__(self, run: int) -> bool:
        return run in self._owed

    def open(self, run: int) -> None:
        """One more is asked for."""
        self._owed[run] = _Owed()

    def welcome(self, run: int) -> bool:
        """Allow one more chunk; False where none is wanted any more."""
        owed = self._owed.get(run)
        if owed is None or owed.cancelled:
            return False
        owed.credit += 1
        return True

    def cancel(self, run: int) -> bool:
        """From now on chunks are thrown away; False where that is so already."""
        owed = self._owed.get(run)
        if owed is None or owed.cancelled:
            return False
        owed.cancelled = True
        return True

    def read(self, frame: Frame) -> Said | None:
        """What a frame of one of these answers says; None where nobody wants to know.

        Raises:
            FrameError: the process may not send that.
        """
        owed = self._owed[frame.run]
        if frame.kind == END or (frame.kind in (REFUSED, FAILED) and not frame.tensors):
            if frame.kind == END and (frame.tensors or frame.number != owed.made):
                raise FrameError("an end that counts other chunks than came")
            del self._owed[frame.run]
            return Said(frame.run, ended=True)
        if frame.kind != CHUNK:
            raise FrameError(f"a frame of kind {frame.kind} in a stream")
        if frame.number != owed.made:
            raise FrameError(f"chunk {frame.number} where chunk {owed.made} follows")
        if owed.credit <= 0:
            raise FrameError("more chunks than are welcome")
        if frame.size > MAX_CHUNK_BYTES:
            raise FrameError(f"a chunk of {frame.size} bytes")
        owed.made, owed.credit = owed.made + 1, owed.credit - 1
        if fault := self._check.fault(frame.tensors, -1):
            raise FrameError(fault)
        return None if owed.cancelled else Said(frame.run, frame.tensors)
