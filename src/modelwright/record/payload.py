"""Records as msgpack, and back.

A prediction is ``[1, model, version, role, id, event time, received at, duration, actor, status, rows, layout, numbers,
texts]``. ``layout`` is itself msgpack: which tensors, of which type and shape; it is the same bytes for every record of
one shape, so it is built once and looked up afterwards, and yet each record can be read alone. ``numbers`` are the raw
little-endian values of the numeric tensors one after the other, ``texts`` the elements of the text tensors. A tensor
that is too large to keep (:class:`Encoder`) has one text for each row instead, which says what it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from modelwright.core.prediction import GapRecord, PredictionRecord, Record, TruthRecord
from modelwright.core.version import Role
from modelwright.record.frames import FOOTER_KIND, corrupt

PREDICTION_KIND, TRUTH_KIND, GAP_KIND = 1, 2, 3
MAX_ROWS = 2**24
TEXT = "text"
ROWS = -1
"""Stands in a layout's shape for the record's number of rows."""

_NUMERIC = frozenset({"|b1", "|u1", "<u2", "<u4", "<u8", "|i1", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8"})
_NATIVE = frozenset(np.dtype(code) for code in _NUMERIC)
_MAX_LAYOUTS = 1024
MAX_BYTES = 2**62
_MAX_ELEMENTS = 2**28


def _plain(value: object) -> object:
    """What msgpack cannot hold: a NumPy scalar becomes Python's, anything else its text."""
    return value.item() if isinstance(value, np.generic) else str(value)


_pack = msgspec.msgpack.Encoder(enc_hook=_plain).encode


class Prediction(
    msgspec.Struct, frozen=True, array_like=True, tag=PREDICTION_KIND, forbid_unknown_fields=True, gc=False
):
    """A prediction's payload with its tensors still packed."""

    model: str
    version: str
    role: Role
    prediction_id: str
    event_time: float
    received_at: float
    duration: float
    actor: str
    status: str
    rows: Annotated[int, msgspec.Meta(ge=0, le=MAX_ROWS)]
    layout: bytes
    numbers: bytes
    texts: list[Any]


class Truth(msgspec.Struct, frozen=True, array_like=True, tag=TRUTH_KIND, forbid_unknown_fields=True, gc=False):
    """A truth's payload."""

    model: str
    prediction_id: str
    values: list[float | int | str | bool | None]
    event_time: float
    received_at: float
    actor: str


class Gap(msgspec.Struct, frozen=True, array_like=True, tag=GAP_KIND, forbid_unknown_fields=True, gc=False):
    """A gap's payload."""

    unlogged: Annotated[int, msgspec.Meta(ge=0)]
    since: float
    until: float


class Footer(msgspec.Struct, frozen=True, array_like=True, tag=FOOTER_KIND, forbid_unknown_fields=True, gc=False):
    """A footer's payload: frames before it, SHA-256 of every byte before it."""

    count: int
    digest: bytes


Payload = Prediction | Truth | Gap | Footer

_decoder: msgspec.msgpack.Decoder[Payload] = msgspec.msgpack.Decoder(Payload)
_layout_decoder = msgspec.msgpack.Decoder(list[tuple[Literal["in", "out"], str, str, list[int]]])
_TEXTS = frozenset({str, bytes, float, int, bool, type(None)})
_BROKEN = (msgspec.DecodeError, ValueError, RecursionError, OverflowError)


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a layout. ``side`` is ``in`` or ``out``; ``code`` a NumPy type string or ``text``."""

    side: str
    name: str
    code: str
    shape: tuple[int, ...]

    def sized(self, rows: int) -> tuple[int, ...]:
        """The shape for a record of that many rows."""
        return tuple(rows if size == ROWS else size for size in self.shape)


Layout = tuple[Tensor, ...]


def _layout_bytes(record: PredictionRecord, keep_bytes: int) -> bytes:
    tensors = []
    for side, group in (("in", record.inputs), ("out", record.outputs)):
        for name, array in group.items():
            if _is_left_out(array, keep_bytes):
                tensors.append((side, name, TEXT, [ROWS if len(array) == record.rows else len(array)]))
                continue
            code = _little(array).dtype.str if array.dtype.kind in "biuf" else TEXT
            shape = [ROWS if axis == 0 and size == record.rows else size for axis, size in enumerate(array.shape)]
            tensors.append((side, name, code, shape))
    return _pack(tensors)


def _is_left_out(array: NDArray[Any], keep_bytes: int) -> bool:
    return array.ndim > 2 and array.nbytes > keep_bytes and array.dtype.kind in "biuf"


def _said_of(array: NDArray[Any]) -> str:
    return f"not kept: {array.dtype.name} {list(array.shape[1:])}"


def _little(array: NDArray[Any]) -> NDArray[Any]:
    """The array in a type the log holds: little-endian, at most 8 bytes."""
    kind = array.dtype.newbyteorder("<")
    return array.astype(kind if kind.str in _NUMERIC else np.float64, copy=False)


class Encoder:
    """Record to payload. Holds the layouts seen, nothing of the records.

    Args:
        keep_bytes: numeric tensors of more than two dimensions (images, sound) are kept up to this size. Columns are
            always kept: they are what is watched and trained on.
    """

    def __init__(self, keep_bytes: int = MAX_BYTES) -> None:
        self._keep_bytes = keep_bytes
        self._layouts: dict[tuple[Any, ...], bytes] = {}

    def encode(self, record: Record) -> bytes:
        """The payload of one record; text that is not Unicode is replaced, never refused."""
        if isinstance(record, PredictionRecord):
            return self._prediction(record)
        if isinstance(record, TruthRecord):
            return _safe_pack(
                (
                    TRUTH_KIND,
                    record.model,
                    record.prediction_id,
                    record.values,
                    record.event_time,
                    record.received_at,
                    record.actor,
                )
            )
        return _pack((GAP_KIND, record.unlogged, record.since, record.until))

    def _prediction(self, record: PredictionRecord) -> bytes:
        key: list[Any] = [record.rows]
        numbers: list[Any] = []
        texts: list[Any] = []
        for group in (record.inputs, record.outputs):
            key.append(len(group))
            for name, array in group.items():
                dtype = array.dtype
                key += (name, dtype, array.shape)
                if dtype in _NATIVE:
                    if array.ndim > 2 and array.nbytes > self._keep_bytes:
                        texts += [_said_of(array)] * len(array)
                    else:
                        numbers.append(array.tobytes())
                elif _is_left_out(array, self._keep_bytes):
                    texts += [_said_of(array)] * len(array)
                elif dtype.kind in "biuf":
                    numbers.append(_little(array).tobytes())
                elif array.size == 1:
                    texts.append(array.item())
                else:
                    texts += array.ravel().tolist()
        layout = self._layouts.get(tuple(key)) or self._learn(tuple(key), record)
        return _safe_pack(
            (
                PREDICTION_KIND,
                record.model,
                record.version,
                record.role,
                record.prediction_id,
                record.event_time,
                record.received_at,
                record.duration,
                record.actor,
                record.status,
                record.rows,
                layout,
                b"".join(numbers),
                texts,
            )
        )

    def _learn(self, key: tuple[Any, ...], record: PredictionRecord) -> bytes:
        if len(self._layouts) >= _MAX_LAYOUTS:
            self._layouts.clear()
        layout = self._layouts[key] = _layout_bytes(record, self._keep_bytes)
        return layout


def _safe_pack(fields: tuple[Any, ...]) -> bytes:
    try:
        return _pack(fields)
    except (UnicodeEncodeError, OverflowError):
        return _pack(_storable(fields))


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    return value


@lru_cache(maxsize=_MAX_LAYOUTS)
def read_layout(layout: bytes) -> Layout:
    """The tensors of a layout.

    Raises:
        CorruptError: ``record.corrupt``.
    """
    try:
        items = _layout_decoder.decode(layout)
    except _BROKEN as error:
        raise corrupt("A layout cannot be read.") from error
    for _, _, code, shape in items:
        if code != TEXT and code not in _NUMERIC:
            raise corrupt("A layout names an unknown type.")
        if len(shape) > 32 or any(not ROWS <= n <= 2**28 or (n == ROWS and axis) for axis, n in enumerate(shape)):
            raise corrupt("A layout has an impossible shape.")
    return tuple(Tensor(side, name, code, tuple(shape)) for side, name, code, shape in items)


@lru_cache(maxsize=_MAX_LAYOUTS)
def sizes(layout: bytes, rows: int) -> tuple[int, int]:
    """Bytes of numbers and count of texts in a record of ``rows`` rows. Raises CorruptError (``record.corrupt``)."""
    number_bytes = text_count = 0
    for tensor in read_layout(layout):
        count = prod(tensor.sized(rows))
        if tensor.code == TEXT:
            text_count += count
        else:
            number_bytes += count * int(tensor.code[2:])
    return number_bytes, text_count


def parse(payload: bytes | memoryview) -> Payload:
    """A payload with its types and sizes checked, its tensors still packed.

    Raises:
        CorruptError: ``record.corrupt`` for anything that :class:`Encoder` would not write.
    """
    try:
        parsed = _decoder.decode(payload)
    except _BROKEN as error:
        raise corrupt("A record cannot be decoded.") from error
    if type(parsed) is Prediction:
        if (len(parsed.numbers), len(parsed.texts)) != sizes(parsed.layout, parsed.rows):
            raise corrupt("A prediction's values do not fit its layout.")
        if not _TEXTS.issuperset(map(type, parsed.texts)):
            raise corrupt("A prediction's text is not text.")
    return parsed


def decode(payload: bytes | memoryview) -> Record:
    """The record of one payload.

    Raises:
        CorruptError: ``record.corrupt`` for anything that :class:`Encoder` would not write.
    """
    parsed = parse(payload)
    if isinstance(parsed, Prediction):
        return _record(parsed)
    if isinstance(parsed, Truth):
        return TruthRecord(
            parsed.model,
            parsed.prediction_id,
            tuple(parsed.values),
            parsed.event_time,
            parsed.received_at,
            parsed.actor,
        )
    if isinstance(parsed, Gap):
        return GapRecord(parsed.unlogged, parsed.since, parsed.until)
    raise corrupt("A footer is not a record.")


def _record(parsed: Prediction) -> PredictionRecord:
    arrays: dict[str, dict[str, NDArray[Any]]] = {"in": {}, "out": {}}
    byte = text = 0
    for tensor in read_layout(parsed.layout):
        shape = tensor.sized(parsed.rows)
        count = prod(shape)
        if tensor.code == TEXT:
            flat = np.empty(count, dtype=object)
            flat[:] = parsed.texts[text : text + count]
            text += count
        else:
            flat = np.frombuffer(parsed.numbers, dtype=tensor.code, count=count, offset=byte)
            byte += flat.nbytes
        try:
            arrays[tensor.side][tensor.name] = flat.reshape(shape)
        except ValueError as error:  # sizes beyond NumPy's, hidden behind an axis of none
            raise corrupt("A layout has an impossible shape.") from error
    return PredictionRecord(
        model=parsed.model,
        version=parsed.version,
        role=parsed.role,
        prediction_id=parsed.prediction_id,
        event_time=parsed.event_time,
        received_at=parsed.received_at,
        duration=parsed.duration,
        actor=parsed.actor,
        status=parsed.status,
        rows=parsed.rows,
        inputs=arrays["in"],
        outputs=arrays["out"],
    )
