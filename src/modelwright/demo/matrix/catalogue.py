"""Every row of the matrix, family by family."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from modelwright.core.errors import BadInputError
from modelwright.demo.matrix import booster_cases, file_cases, sklearn_cases, statistics_cases, tensor_cases
from modelwright.demo.matrix.case import Case

SOURCES: tuple[Callable[[], Iterable[Case]], ...] = (
    sklearn_cases.cases,
    booster_cases.cases,
    tensor_cases.cases,
    statistics_cases.cases,
    file_cases.cases,
)


def by_family() -> Mapping[str, list[Case]]:
    """Every case under its family's name, in the order of the page."""
    found: dict[str, list[Case]] = {}
    for source in SOURCES:
        for case in source():
            found.setdefault(case.family, []).append(case)
    return found


def chosen(families: Iterable[str]) -> list[Case]:
    """The cases of the named families (case does not count), of all where none is named.

    Raises:
        BadInputError: ``matrix.unknown-family``.
    """
    known = by_family()
    asked = [name.lower() for name in families]
    names = {name.lower() for name in known}
    for name in asked:
        if name not in names:
            raise BadInputError(
                "matrix.unknown-family", f"The matrix has no family {name!r}.", fix=f"It has: {', '.join(known)}."
            )
    return [case for name, cases in known.items() for case in cases if not asked or name.lower() in asked]
