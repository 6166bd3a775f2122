"""Ground truth that arrives after the fact."""

from __future__ import annotations

import msgspec

from modelwright.core.errors import BadInputError
from modelwright.core.prediction import TruthRecord
from modelwright.interfaces.http.infer import event_time
from modelwright.serve.call import MAX_ID_LENGTH

Value = float | int | str | bool | None


class Truth(msgspec.Struct, gc=False):
    """The truth of one prediction: ``values`` with one value per row, or ``value`` for a single row."""

    prediction_id: str
    values: list[Value] | msgspec.UnsetType = msgspec.UNSET
    value: Value | msgspec.UnsetType = msgspec.UNSET
    event_time: float | int | str | None = None


class TruthRequest(msgspec.Struct):
    """The body of ``POST /record/truth``."""

    model: str
    truths: list[Truth]


_decoder = msgspec.json.Decoder(TruthRequest)


def decode(body: bytes, *, actor: str, received_at: float) -> tuple[str, list[TruthRecord]]:
    """The model's name and one record per truth.

    Raises:
        BadInputError: ``record.bad-truth``, ``serve.bad-event-time``.
    """
    try:
        request = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadInputError(
            "record.bad-truth",
            "The body is no ground truth.",
            why=f"{error}.",
            fix='Send {"model": "...", "truths": [{"prediction_id": "...", "values": [1]}]}.',
        ) from error
    return request.model, [_record(request.model, truth, actor, received_at) for truth in request.truths]


def _record(model: str, truth: Truth, actor: str, received_at: float) -> TruthRecord:
    values: list[Value] = []
    if truth.value is not msgspec.UNSET:
        values = [truth.value]
    elif truth.values is not msgspec.UNSET:
        values = truth.values
    given = (truth.value is not msgspec.UNSET) + (truth.values is not msgspec.UNSET)
    if not 1 <= len(truth.prediction_id) <= MAX_ID_LENGTH or given != 1:
        raise BadInputError(
            "record.bad-truth",
            f"A truth needs a prediction_id of 1 to {MAX_ID_LENGTH} characters, and either values or value.",
        )
    if any(isinstance(value, int) and not -(2**63) <= value < 2**63 for value in values):
        raise BadInputError("record.bad-truth", "A value does not fit in 64 bits.")
    at = received_at if truth.event_time is None else event_time(truth.event_time)
    return TruthRecord(model, truth.prediction_id, tuple(values), at, received_at, actor)
