"""What the process of a native model does next: answer a request, or make one more chunk of an answer in chunks.

Chunks of several answers are made in turn, each only while it is welcome (credit), so that who reads slowly costs the
memory of a few chunks and keeps nobody else waiting.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from modelwright.adapters.runners.frames import (
    CANCEL,
    CHUNK,
    CREDIT,
    END,
    FAILED,
    FORGET,
    MAX_CHUNK_BYTES,
    REFUSED,
    RESULT,
    RUN,
    SEQUENCE,
    STREAM,
    TAKEN,
    WINDOW,
    EndedError,
    Frame,
    Frames,
)
from modelwright.core.errors import BadInputError, InternalError, ModelwrightError
from modelwright.native import OpenModel, Sequence

Tensors = Mapping[str, NDArray[Any]]


@dataclass(slots=True)
class _Stream:
    chunks: Iterator[Tensors]
    credit: int = WINDOW
    made: int = 0


class NativeTurns:
    """Serves one open model over a socket.

    Args:
        frames: our end of it.
        model: the model.
    """

    def __init__(self, frames: Frames, model: OpenModel) -> None:
        self._frames, self._model = frames, model
        self._streams: dict[int, _Stream] = {}
        self._sequences: dict[int, Sequence] = {}
        self._told: dict[str, Any] | None = None

    def serve(self) -> None:
        """Go on until the other side hangs up.

        Raises:
            EndedError: it did.
        """
        while True:
            run = self._next()
            if run is None or self._frames.waiting():
                self._take(self._frames.receive())
            else:
                self._step(run)

    def _next(self) -> int | None:
        """The answer whose chunk is the next one; None where none is welcome."""
        if self._frames.filled:
            return None
        return next((run for run, stream in self._streams.items() if stream.credit > 0), None)

    def _take(self, told: Frame) -> None:
        if not self._model.streams:  # then nobody asks again without having the answer
            self._frames.empty()
        if told.kind == RUN:
            self._answer(told)
        elif told.kind == STREAM and self._model.streams:
            self._open(told)
        elif told.kind == CREDIT:
            if told.run in self._streams:  # else it crossed the last chunk
                self._streams[told.run].credit += 1
        elif told.kind == CANCEL:
            if told.run in self._streams:
                self._end(told.run)
        elif told.kind == TAKEN:
            self._frames.empty()
        elif told.kind == SEQUENCE:
            self._told = json.loads(told.text)
        elif told.kind == FORGET:
            self._sequences.pop(told.run, None)
        else:
            raise EndedError

    def _answer(self, asked: Frame) -> None:
        sequence, frames = self._sequence(), self._frames
        while frames.filled:
            self._take(frames.receive())
        try:
            frames.send(RESULT, asked.run, self._model(asked.tensors, sequence))
        except (EndedError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - a model's code may raise anything; the gateway says it
            self._fail(asked.run, error)

    def _sequence(self) -> Sequence | None:
        """The sequence that the request belongs to, as the frame before it said."""
        told, self._told = self._told, None
        if told is None:
            return None
        key = told["key"]
        found = None if told["start"] else self._sequences.get(key)
        if found is None:
            found = self._sequences[key] = Sequence(told["id"])
        found.start, found.end = told["start"], told["end"]
        if found.end:
            del self._sequences[key]
        return found

    def _open(self, asked: Frame) -> None:
        self._streams[asked.run] = _Stream(self._model.stream(asked.tensors))

    def _step(self, run: int) -> None:
        """Make one more chunk; then it is the others' turn."""
        stream = self._streams.pop(run)
        self._streams[run] = stream
        try:
            self._frames.send(CHUNK, run, _bounded(next(stream.chunks)), stream.made)
            stream.made, stream.credit = stream.made + 1, stream.credit - 1
        except StopIteration:
            self._end(run)
        except (EndedError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - as above
            self._close(run)
            self._fail(run, error)

    def _end(self, run: int) -> None:
        made = self._close(run)
        self._frames.send_text(END, run, number=made)

    def _close(self, run: int) -> int:
        """Let the model's generator end; how many chunks it made."""
        stream = self._streams.pop(run)
        with contextlib.suppress(Exception):  # what a model says when it is to stop is of no use to anybody
            stream.chunks.close()  # type: ignore[attr-defined]  # a generator of ours
        return stream.made

    def _fail(self, run: int, error: Exception) -> None:
        if isinstance(error, BadInputError):
            self._frames.send_text(REFUSED, run, error.why.encode("utf-8", "replace"))
        else:
            self._frames.send_text(FAILED, run, why(error))


def why(error: Exception) -> bytes:
    """What is told of an error."""
    told = str(error) if isinstance(error, ModelwrightError) else f"{type(error).__name__}: {error}"
    return told.encode("utf-8", "replace")[:2000]


def _bounded(chunk: Tensors) -> Tensors:
    """The chunk, if it is not too large."""
    size = sum(
        sum(len(text.encode()) + 4 for text in tensor.reshape(-1).tolist()) if tensor.dtype == object else tensor.nbytes
        for tensor in chunk.values()
    )
    if size > MAX_CHUNK_BYTES:
        raise InternalError(
            "native.chunk-too-large",
            f"A chunk of {size} bytes is larger than {MAX_CHUNK_BYTES}.",
            fix="Yield smaller chunks.",
        )
    return chunk
