"""Ground truth as the bodies of requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import numpy as np

from modelwright.core.errors import BadInputError

_AT_ONCE = 10_000  # truths in a request


def truth_bodies(model: str, ids: Any, values: Any, event_time: float | str | None) -> Iterator[bytes]:
    """One body for each 10,000 predictions.

    Args:
        model: the model's name.
        ids: the id of one prediction, or a sequence of them. An id that stands there several times is one prediction
            of as many rows, in their order.
        values: for one id its value, or its values in row order; for a sequence a value (or values) for each.
        event_time: Unix seconds or ISO 8601 text; None: now.

    Raises:
        BadInputError: ``client.bad-truth``.
    """
    truths: dict[str, list[Any]] = {}
    for identity, value in _pairs(ids, values):
        truths.setdefault(identity, []).extend(value if isinstance(value, list) else [value])
    more = {} if event_time is None else {"event_time": event_time}
    entries = [{"prediction_id": identity, "values": value} | more for identity, value in truths.items()]
    for first in range(0, len(entries), _AT_ONCE):
        try:
            yield msgspec.json.encode({"model": model, "truths": entries[first : first + _AT_ONCE]})
        except (TypeError, ValueError) as error:
            raise BadInputError(
                "client.bad-truth", "A value is neither number, text, boolean nor missing.", why=f"{error}."
            ) from error


def _pairs(ids: Any, values: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(ids, str):
        yield ids, _plain(values)
        return
    names, truths = _listed(ids), _listed(values)
    if len(names) != len(truths) or not all(isinstance(name, str) for name in names):
        raise BadInputError(
            "client.bad-truth",
            f"There are {len(names)} ids and {len(truths)} values.",
            why="Each prediction id, a text, has one value (or a list of values, one per row).",
            fix="Give as many ids as values.",
        )
    yield from zip(names, (_plain(value) for value in truths), strict=True)


def _listed(values: Any) -> list[Any]:
    if hasattr(values, "to_list"):  # a column of a data frame
        return list(values.to_list())
    if isinstance(values, np.ndarray):
        return list(values.tolist())
    return list(values) if isinstance(values, Iterable) and not isinstance(values, str | bytes) else [values]


def _plain(value: Any) -> Any:
    """A value as JSON holds it; several as a list."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str | bool | int | float) or value is None:
        return value
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    return [_plain(one) for one in _listed(value)] if isinstance(value, Iterable) else value
