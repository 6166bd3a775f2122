"""What becomes of values that the model has not seen: taken, reported, changed or refused, as its package declares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import BadInputError
from modelwright.core.signature import DATATYPES, Feature, Signature, TensorSpec

Tensors = Mapping[str, NDArray[Any]]
SHOWN_LEVELS = 10


@dataclass(frozen=True, slots=True)
class _Column:
    """One feature and where it stands in its tensor."""

    spec: TensorSpec
    index: int
    feature: Feature


class ValuePolicy:
    """A signature's policy compiled for many requests.

    Args:
        model: the model's name, for messages.
        signature: its features and its policy.
    """

    def __init__(self, model: str, signature: Signature) -> None:
        self._model, policy = model, signature.policy
        columns = list(_columns(signature))
        floats = [column for column in columns if DATATYPES[column.spec.datatype].kind == "f"]
        self._finite = floats if policy.not_finite == "reject" else []
        self._ranged = [c for c in columns if c.feature.kind == "number" and policy.out_of_range != "accept"]
        self._levelled = [c for c in columns if c.feature.categories and policy.unseen_category != "accept"]
        self._range_action, self._level_action = policy.out_of_range, policy.unseen_category
        self.checks_finite, self.checks_values = bool(self._finite), bool(self._ranged or self._levelled)

    def require_finite(self, feeds: Tensors) -> None:
        """No infinity, and no NaN but where the feature may be missing. JSON carries neither and needs no look.

        Raises:
            BadInputError: ``serve.not-finite``; ``serve.missing-value``.
        """
        for column in self._finite:
            values = _values(feeds, column)
            if np.isfinite(values).all():
                continue
            if np.isinf(values).any():
                row = int(np.isinf(values).argmax())
                raise self._refused("serve.not-finite", column, row, values[row], "a finite number")
            if not column.feature.nullable:
                row = int(np.isnan(values).argmax())
                raise self._refused("serve.missing-value", column, row, "no value", "a number")

    def judge(self, feeds: dict[str, NDArray[Any]]) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
        """What the model gets, and what is to be reported (``out-of-range temp``, ``unseen-category carrier``).

        Raises:
            BadInputError: ``serve.out-of-range``, ``serve.unseen-category``.
        """
        changed = dict(feeds)
        beyond = [column.feature.name for column in self._ranged if self._beyond(changed, feeds, column)]
        unseen = [column.feature.name for column in self._levelled if self._unseen(changed, feeds, column)]
        return changed, (*(f"out-of-range {name}" for name in beyond), *(f"unseen-category {name}" for name in unseen))

    def _beyond(self, changed: dict[str, NDArray[Any]], feeds: Tensors, column: _Column) -> bool:
        """Whether the feature has a number outside its bounds."""
        low = -math.inf if column.feature.low is None else column.feature.low
        high = math.inf if column.feature.high is None else column.feature.high
        values = _values(feeds, column)
        beyond = (values < low) | (values > high)  # a missing value is neither
        if not beyond.any():
            return False
        if self._range_action == "reject":
            row = int(beyond.argmax())
            raise self._refused("serve.out-of-range", column, row, values[row], f"a number from {low:g} to {high:g}")
        if self._range_action == "coerce":
            _replace(changed, feeds, column, np.clip(values, low, high))
        return True

    def _unseen(self, changed: dict[str, NDArray[Any]], feeds: Tensors, column: _Column) -> bool:
        """Whether the feature has a level that is not listed."""
        feature, action = column.feature, self._level_action
        known = {*feature.categories, feature.null_as}
        values = _values(feeds, column)
        unseen = np.array([value not in known for value in values.tolist()], dtype=bool)
        if not unseen.any():
            return False
        if action == "reject" or (action == "coerce" and feature.null_as is None):
            row, more = int(unseen.argmax()), ", ..." if len(feature.categories) > SHOWN_LEVELS else ""
            expected = f"one of {', '.join(feature.categories[:SHOWN_LEVELS])}{more}"
            raise self._refused("serve.unseen-category", column, row, values[row], expected)
        if action == "coerce":
            replaced = values.copy()
            replaced[unseen] = feature.null_as
            _replace(changed, feeds, column, replaced)
        return True

    def _refused(self, code: str, column: _Column, row: int, got: object, expected: str) -> BadInputError:
        pointer = f"/inputs/{column.spec.name}/{row}" + (f"/{column.index}" if len(column.spec.features) > 1 else "")
        shown = repr(got)[:80] if isinstance(got, str) else f"{got}"
        return BadInputError(
            code,
            f"Feature {column.feature.name!r} of model {self._model!r} is {shown} at {pointer}.",
            why=f"The model takes {expected}.",
            fix="Correct the value, or pack the model with another input policy.",
            details={"pointer": pointer, "expected": expected, "got": shown},
        )


def _columns(signature: Signature) -> list[_Column]:
    by_name = {feature.name: feature for feature in signature.features}
    found = []
    for spec in signature.inputs:
        for index, name in enumerate(spec.features or (spec.name,)):
            if name in by_name:
                found.append(_Column(spec, index, by_name[name]))
    return found


def _values(feeds: Tensors, column: _Column) -> NDArray[Any]:
    tensor = feeds[column.spec.name]
    return tensor.reshape(len(tensor), -1)[:, column.index] if tensor.ndim else tensor.reshape(1)


def _replace(changed: dict[str, NDArray[Any]], feeds: Tensors, column: _Column, values: NDArray[Any]) -> None:
    """Put a column into a copy: what the caller sent is recorded as it was."""
    name = column.spec.name
    if changed[name] is feeds[name]:
        changed[name] = feeds[name].copy()
    tensor = changed[name]
    tensor.reshape(max(len(tensor), 1), -1)[:, column.index] = values
