"""Errors row by row, for callers who ask for them: every row is a prediction of its own, with the id ``ID.ROW``.

The rows are submitted one by one and run together as any other requests do. All meet the same arm of the route.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import BadInputError, ModelwrightError, TooLargeError
from modelwright.core.prediction_id import new_prediction_id
from modelwright.serve.call import MAX_ID_LENGTH, Answer, PredictCall
from modelwright.serve.load import Loaded

MAX_ROWS = 10_000


def split(call: PredictCall, loaded: Loaded) -> list[PredictCall]:
    """A call for each row.

    Raises:
        BadInputError: ``serve.no-rows``, ``serve.rows-differ``, ``serve.id-too-long``, ``serve.bad-sequence``.
        TooLargeError: ``serve.too-many-rows``.
    """
    counts = {tensor.shape[0] if tensor.ndim else -1 for tensor in call.inputs.values()}
    if not loaded.check.batched or counts <= {-1, 0}:
        raise BadInputError(
            "serve.no-rows",
            f"The request for model {call.model!r} has no rows that could fail by themselves.",
            fix="Leave row_errors out.",
        )
    if call.sequence is not None and loaded.sequences:
        raise BadInputError(
            "serve.bad-sequence", "A request of a sequence cannot fail row by row.", fix="Leave row_errors out."
        )
    if len(counts) > 1:
        raise BadInputError("serve.rows-differ", "The inputs differ in their number of rows.")
    rows = counts.pop()
    if rows > MAX_ROWS:
        raise TooLargeError(
            "serve.too-many-rows", f"With row_errors a request may hold {MAX_ROWS} rows.", fix="Send several requests."
        )
    group = call.prediction_id or new_prediction_id()
    if len(f"{group}.{rows}") > MAX_ID_LENGTH:
        raise BadInputError(
            "serve.id-too-long", f"The id has more than {MAX_ID_LENGTH} characters with a row's number."
        )
    return [_row(call, row, group) for row in range(rows)]


def _row(call: PredictCall, row: int, group: str) -> PredictCall:
    return replace(
        call,
        inputs={name: tensor[row : row + 1] for name, tensor in call.inputs.items()},
        nulls={name: mask[row : row + 1] for name, mask in call.nulls.items() if mask[row : row + 1].any()},
        prediction_id=f"{group}.{row}",
        group=group,
    )


def join(calls: Sequence[PredictCall], outcomes: Sequence[Answer | ModelwrightError]) -> Answer:
    """One answer for all rows; its ``row_errors`` say which failed.

    There its outputs hold NaN, zero, False or an empty text.

    Raises:
        ModelwrightError: the first row's error, when every row failed.
    """
    good = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    failed = {row: outcome for row, outcome in enumerate(outcomes) if isinstance(outcome, ModelwrightError)}
    if not good:
        raise failed[0]
    first = good[0]
    whole = np.array([row not in failed for row in range(len(outcomes))])
    return replace(
        first,
        prediction_id=calls[0].group,
        outputs={name: _spread([answer.outputs[name] for answer in good], whole) for name in first.outputs},
        rows=len(outcomes),
        duration=max(answer.duration for answer in good),
        warnings=tuple(dict.fromkeys(warning for answer in good for warning in answer.warnings)),
        row_errors=failed,
    )


def _spread(rows: Sequence[NDArray[Any]], whole: NDArray[np.bool_]) -> NDArray[Any]:
    """The rows that are there, and fillers between them."""
    there = np.concatenate(rows)
    empty: Any = {"f": np.nan, "O": ""}.get(there.dtype.kind, 0)
    spread = np.full((len(whole), *there.shape[1:]), empty, dtype=there.dtype)
    spread[whole] = there
    return spread


def in_words(answer: Answer) -> str:
    """The row errors as a JSON list of ``row``, ``code`` and ``error``: parameters hold no lists, but text."""
    told = [{"row": row, "code": error.code, "error": str(error)} for row, error in answer.row_errors.items()]
    return json.dumps(told, ensure_ascii=False)
