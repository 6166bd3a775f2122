"""Boosters' files and pickled boosters inside the jailed converter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from modelwright.adapters.frameworks.boosters import classes_of, described, graph_of, library_of_file
from modelwright.adapters.frameworks.families import Asked
from modelwright.adapters.frameworks.routes import on_route
from modelwright.core.errors import BadInputError
from modelwright.core.native import Native
from modelwright.native.boosters import SUFFIXES, Booster, read_booster
from modelwright.ports.framework import Conversion


def import_trusted() -> None:
    """Load what conversion needs before the jail closes."""
    from modelwright.adapters.frameworks import boosters_graph, sklearn_convert  # noqa: F401
    from modelwright.adapters.frameworks.sklearn_jailed import import_trusted as import_converter

    import_converter()


def opened(asked: Asked) -> Booster:
    """Open the file by the library that wrote it.

    Raises:
        BadInputError: ``pack.unreadable-model``.
    """
    library = library_of_file(asked.path)
    assert library is not None
    try:
        model = read_booster(library, asked.path)
    except BadInputError as error:
        raise BadInputError("pack.unreadable-model", error.what, why=error.why, fix=error.fix) from error
    return Booster(library, model, classes_of(asked.hints), every=bool(asked.hints.options.get("every")))


def convert_opened(model: Any, asked: Asked) -> Conversion:
    """Convert on the route that was asked for, or keep the library's own file."""
    from modelwright.adapters.frameworks.boosters_estimator import boosted, estimator  # lazy: needs the extra
    from modelwright.adapters.frameworks.sklearn_native import convert_native

    booster = model if isinstance(model, Booster) else boosted(model, classes_of(asked.hints))
    booster = booster.renamed(asked.examples.names if asked.examples is not None else ())
    kind = "Booster" if isinstance(model, Booster) else type(model).__name__

    def as_code(why: str) -> Conversion:
        name = f"model{SUFFIXES[booster.library]}"
        file = Path.cwd() / name
        booster.save(file)
        made = convert_native(
            estimator(booster), file, asked.examples, target=asked.target, why=why, native=Native("booster", name)
        )
        return replace(described(made, booster, kind), files={name: file.read_bytes()})

    return on_route(
        asked.route,
        lambda: graph_of(booster, asked.examples, asked.target, kind),
        as_code,
        why=asked.why,
        explain=True,
    )
