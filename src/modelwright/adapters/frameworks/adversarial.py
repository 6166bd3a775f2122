"""Rows nobody sent yet, made from the signature: does the packed model answer them as the original does?

Rows that may really come (a bound, a missing value, an unseen level, an empty text) bind: a conversion that answers
them otherwise does not hold. Absurd ones (1e300, denormal numbers) are reported. Rows that the original itself refuses
say nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.adapters.frameworks.parity import Answers, compare, describe, one_row
from modelwright.core.package import Adversarial
from modelwright.core.signature import Feature, Signature
from modelwright.core.table import Column, Table
from modelwright.features.columns import feeds

UNSEEN = "modelwright-unseen"
MANY_ROWS = 1000
"""How many rows are asked at once, repeated from the examples."""
GOLDEN_ROWS = 6
_MAX_CASES = 200
_SHOWN = 5
_HUGE = (1e30, -1e30, 1e300)
_DENORMAL = (1e-40, -5e-324)
Answering = Callable[[Table], Answers]


@dataclass(frozen=True, slots=True)
class Case:
    """A row, or rows, with the words for what was changed in which feature; ``binds``: such a row may really come."""

    words: str
    rows: Table
    binds: bool = True
    feature: str = ""

    @property
    def value(self) -> object:
        """The changed value of the first row (the first of many), as JSON has it."""
        if not self.feature:
            return None
        value = self.rows[self.feature].flat[0]
        return value.item() if isinstance(value, np.generic) else value


def cases(features: Sequence[Feature], rows: Table) -> list[Case]:
    """One-row cases: the first example alone, everything missing that may be, then each feature changed alone.

    Of more than 200, as many absurd ones as there is room for are kept, evenly chosen, then as many others.
    """
    first = rows.take(np.array([0]))
    held = [feature for feature in features if feature.name in first]
    gaps = {feature.name: _one(first[feature.name], None) for feature in held if feature.nullable}
    made = [Case("the first example alone", first)]
    if gaps:
        made.append(Case("everything missing that may be", Table({**first.columns, **gaps})))
    for feature in held:
        for words, value, binds in _values(feature, first[feature.name]):
            changed = Table({**first.columns, feature.name: _one(first[feature.name], value)})
            made.append(Case(f"{feature.name} {words}", changed, binds, feature.name))
    binding = _evenly([case for case in made if case.binds], _MAX_CASES)
    return binding + _evenly([case for case in made if not case.binds], _MAX_CASES - len(binding))


def _evenly(held: list[Case], most: int) -> list[Case]:
    if len(held) <= most:
        return held
    return [held[int(place)] for place in np.linspace(0, len(held) - 1, most)] if most > 0 else []


def _values(feature: Feature, column: Column) -> Iterator[tuple[str, object, bool]]:
    if feature.nullable:
        yield "missing", None, True
    if feature.kind == "category":
        yield "unseen", UNSEEN, True
        yield "empty", "", True
        return
    if feature.kind == "boolean" or column.dtype == bool:
        yield from (("true", True, True), ("false", False, True))
        return
    if feature.low is None or feature.high is None or not np.isfinite([feature.low, feature.high]).all():
        return
    span = max(feature.high - feature.low, 1.0)
    beyond = (("below its range", feature.low - span), ("above its range", feature.high + span))
    for words, value in (("lowest", feature.low), ("highest", feature.high), *beyond):
        if _fits(value, column):
            yield words, value, True
    if column.dtype.kind == "f":
        yield "minus zero", -0.0, True
        for value in (*_HUGE, *_DENORMAL):
            if _fits(value, column):
                yield f"{value:g}", value, False


def _fits(value: float, column: Column) -> bool:
    """True where the column's kind holds the value, an integer's whole one."""
    if column.dtype.kind in "iu":
        limits = np.iinfo(column.dtype)
        return float(limits.min) <= value < float(limits.max) and abs(value) <= 2**53
    if column.dtype.kind != "f":
        return False
    with np.errstate(over="ignore", under="ignore"):
        return bool(np.isfinite(np.array(value).astype(column.dtype)))


def _one(like: Column, value: object) -> Column:
    if like.dtype == object:
        return np.array([value], dtype=object)
    with np.errstate(under="ignore"):
        return np.array([np.nan if value is None else value]).astype(like.dtype)


@dataclass(frozen=True, slots=True)
class Compared:
    """What came of the cases: the record, the first that binds and differs, and the single rows that agree."""

    record: Adversarial
    broken: str = ""
    agreed: tuple[Case, ...] = ()


class Adversary:
    """The cases, with the original's answers to them, asked once.

    Args:
        made: what to ask.
        rows: the examples; repeated to make many rows.
        original: the model's answers to rows; may raise.
        tolerance: as in the certificate.
        most: how many rows are asked at once.
    """

    def __init__(
        self, made: Sequence[Case], rows: Table, original: Answering, tolerance: float, most: int = MANY_ROWS
    ) -> None:
        many = rows.take(np.resize(np.arange(len(rows)), most))
        self._cases = (*made, Case(f"{most} rows at once", many))
        self._tolerance = tolerance
        self._wanted = (*_each(original, [case.rows for case in made]), _try(original, many))

    def judge(self, converted: Answering) -> Compared:
        """Compare the answers of the packed model; ``converted`` may raise."""
        found = (*_each(converted, [case.rows for case in self._cases[:-1]]), _try(converted, self._cases[-1].rows))
        agreed, apart, differences, flips, compared = [], [], [], 0, 0
        for case, before, after in zip(self._cases, self._wanted, found, strict=True):
            if before is None:
                continue
            compared += 1
            if after is None:
                differences.append(np.inf)
                apart.append((case, np.inf, _shown(before), "refuses it"))
                continue
            made = compare(before, after, tolerance=self._tolerance, numeric_type="")
            differences.append(made.max_difference)
            flips += made.label_flips
            if made.holds:
                agreed.append(case)
            else:
                row = made.worst_row
                apart.append((case, made.max_difference, describe(before, row), describe(after, row)))
        apart.sort(key=lambda one: (not one[0].binds, -one[1]))
        record = Adversarial(
            rows=compared,
            refused=len(self._cases) - compared,
            differing=len(apart),
            max_difference=float(max(differences, default=0.0)),
            mean_difference=float(np.mean(differences)) if differences else 0.0,
            label_flips=flips,
            holds=not any(case.binds for case, *_ in apart),
            worst=tuple(_worst(*one) for one in apart[:_SHOWN]),
        )
        broken = next(
            (f"{one[0].words}: the original answers {one[2]}, the converted model {one[3]}" for one in apart), ""
        )
        return Compared(record, "" if record.holds else broken, tuple(case for case in agreed if len(case.rows) == 1))


def _worst(case: Case, difference: float, before: str, after: str) -> dict[str, object]:
    return {
        "row": case.words,
        "input": case.feature,
        "value": case.value,
        "binds": case.binds,
        "difference": f"{difference:.3g}",
        "original": before,
        "converted": after,
    }


def _shown(answers: Answers) -> str:
    return describe(answers, 0)


def golden_rows(compared: Compared) -> Table | None:
    """A few agreeing rows that may really come, evenly chosen: to be proven wherever they load."""
    held = [case.rows for case in _evenly([case for case in compared.agreed if case.binds], GOLDEN_ROWS)]
    return _together(held) if held else None


def golden_feeds(compared: Compared, signature: Signature) -> dict[str, NDArray[Any]]:
    """Those rows as input tensors."""
    rows = golden_rows(compared)
    return {} if rows is None else feeds(signature, rows)


def _together(tables: Sequence[Table]) -> Table:
    return Table({name: np.concatenate([rows[name] for rows in tables]) for name in tables[0].names})


def _each(answering: Answering, tables: list[Table]) -> list[Answers | None]:
    """Answers to one-row tables: the first alone, the others together where that works; None where refused."""
    if not tables:
        return []
    alone = _try(answering, tables[0])
    if len(tables) == 1:
        return [alone]
    together = _try(answering, _together(tables[1:]))
    if together is None:
        return [alone, *(_try(answering, row) for row in tables[1:])]
    return [alone, *(one_row(together, index) for index in range(len(tables) - 1))]


def _try(answering: Answering, rows: Table) -> Answers | None:
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return answering(rows)
    except Exception:  # noqa: BLE001 - models and graphs refuse rows in every way
        return None
