"""What goes between two gateways: a length of four bytes (little endian), and as many bytes of MessagePack."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import ModelwrightError, from_json
from modelwright.core.signature import Signature
from modelwright.core.version import Role
from modelwright.ports.runner import SequenceMark
from modelwright.serve.call import Answer, PredictCall

LENGTH = 4


class Tensor(msgspec.Struct, array_like=True):
    """One array: its bytes in C order, or its elements where they are objects."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: bytes | list[Any]


class Ask(msgspec.Struct, array_like=True):
    """A request (:class:`PredictCall`); ``seconds`` are left of its time, ``mark`` is (id, start, end)."""

    number: int
    model: str
    version: str
    prediction_id: str
    actor: str
    received_at: float
    event_time: float | None
    seconds: float
    priority: int
    retry: bool
    finite: bool
    group: str
    mark: tuple[str, bool, bool]
    outputs: list[str] | None
    inputs: list[Tensor]
    nulls: list[Tensor]


class Told(msgspec.Struct, array_like=True):
    """What became of a request: an answer, or an error as JSON."""

    number: int
    error: dict[str, Any] | None = None
    version: str = ""
    role: str = ""
    prediction_id: str = ""
    rows: int = 0
    duration: float = 0.0
    warnings: tuple[str, ...] = ()
    outputs: list[Tensor] = []


_encode = msgspec.msgpack.Encoder().encode
decode_ask = msgspec.msgpack.Decoder(Ask).decode
decode_told = msgspec.msgpack.Decoder(Told).decode


def frame(value: Ask | Told) -> bytes:
    """The bytes that are sent."""
    body = _encode(value)
    return len(body).to_bytes(LENGTH, "little") + body


class Frames:
    """Cuts what arrives into frames."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterable[bytes]:
        """The frames that are whole now."""
        self._held += data
        whole, at = [], 0
        while len(self._held) - at >= LENGTH:
            end = at + LENGTH + int.from_bytes(self._held[at : at + LENGTH], "little")
            if end > len(self._held):
                break
            whole.append(bytes(self._held[at + LENGTH : end]))
            at = end
        del self._held[:at]
        return whole


def ask_of(number: int, call: PredictCall) -> Ask:
    """A call that belongs to a sequence, as it is sent."""
    mark = call.sequence
    assert mark is not None
    return Ask(
        number,
        call.model,
        call.version,
        call.prediction_id,
        call.actor,
        call.received_at,
        call.event_time,
        call.limit - time.perf_counter(),
        call.priority,
        call.retry,
        call.finite,
        call.group,
        (mark.id, mark.start, mark.end),
        None if call.outputs is None else list(call.outputs),
        _tensors(call.inputs),
        _tensors(call.nulls),
    )


def call_of(ask: Ask) -> PredictCall:
    """The call that was sent; raises ValueError where a tensor is none."""
    now = time.perf_counter()
    return PredictCall(
        ask.model,
        _arrays(ask.inputs),
        ask.actor,
        ask.received_at,
        ask.version,
        ask.prediction_id,
        ask.outputs,
        ask.event_time,
        _arrays(ask.nulls),
        now + ask.seconds if math.isfinite(ask.seconds) else math.inf,
        ask.priority,
        ask.retry,
        ask.finite,
        ask.group,
        now,
        SequenceMark(*ask.mark),
    )


def told_of(number: int, outcome: Answer | ModelwrightError) -> Told:
    """An outcome as it is sent."""
    if isinstance(outcome, ModelwrightError):
        return Told(number, outcome.to_json())
    return Told(
        number,
        None,
        outcome.version,
        outcome.role,
        outcome.prediction_id,
        outcome.rows,
        outcome.duration,
        outcome.warnings,
        _tensors(outcome.outputs),
    )


def outcome_of(told: Told, model: str, signature: Callable[[str], Signature]) -> Answer | ModelwrightError:
    """The outcome that was sent; ``signature`` gives that of a version. Raises ValueError where a tensor is none."""
    if told.error is not None:
        return from_json(told.error)
    role: Role = told.role  # type: ignore[assignment]  # another gateway of this release wrote it
    return Answer(
        model,
        told.version,
        role,
        told.prediction_id,
        _arrays(told.outputs),
        told.rows,
        told.duration,
        signature(told.version),
        told.warnings,
    )


def _tensors(arrays: Mapping[str, NDArray[Any]]) -> list[Tensor]:
    return [
        Tensor(name, array.dtype.str, array.shape, array.ravel().tolist() if array.dtype == object else array.tobytes())
        for name, array in arrays.items()
    ]


def _arrays(tensors: Iterable[Tensor]) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for tensor in tensors:
        if isinstance(tensor.data, list):
            array = np.empty(len(tensor.data), object)
            array[:] = tensor.data
        else:
            array = np.frombuffer(tensor.data, np.dtype(tensor.dtype))
        found[tensor.name] = array.reshape(tensor.shape)
    return found
