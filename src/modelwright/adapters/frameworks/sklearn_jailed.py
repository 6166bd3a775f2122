"""Pickled models inside the jailed converter: opened there, and converted or proven by the family that they are of."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from typing import Any

from modelwright.adapters.frameworks.families import Asked, family, family_of
from modelwright.adapters.frameworks.routes import ASKED, neither, on_route
from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.ports.framework import Conversion


def import_trusted() -> None:
    """Load what conversion needs before the jail closes: nothing of it has to be found from inside."""
    import joblib  # noqa: F401 - loaded for those who import it later
    import onnxruntime
    import pandas as pd  # noqa: F401
    import skl2onnx  # noqa: F401

    from modelwright.adapters.frameworks import sklearn_convert  # noqa: F401

    onnxruntime.disable_telemetry_events()


def opened(asked: Asked) -> Any:
    """Unpickle the file; what it warns of versions is kept for the notes.

    Raises:
        BadInputError: ``pack.unreadable-model``.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = _open(asked)
        except ModelwrightError as error:
            raise neither(error, asked.why or ASKED) from error
    said = [str(warning.message).split(".")[0] for warning in caught if "Version" in warning.category.__name__]
    return model, {"versions": said[0]} if said else {}


def convert_opened(model: Any, asked: Asked) -> Conversion:
    """Convert on the route that was asked for, or keep the model as it is."""
    held, notes = model
    name = family_of(held)
    conversion = _on_route(held, asked) if name == "sklearn" else family(name).convert_opened(held, asked)
    return replace(conversion, notes=conversion.notes | notes)


def _on_route(model: Any, asked: Asked) -> Conversion:
    from modelwright.adapters.frameworks.sklearn_convert import convert  # lazy: heavy, and not for other families
    from modelwright.adapters.frameworks.sklearn_native import convert_native

    return on_route(
        asked.route,
        lambda: convert(model, asked.examples, target=asked.target, hints=asked.hints),
        lambda why: convert_native(model, asked.path, asked.examples, target=asked.target, why=why),
        why=asked.why,
        explain=True,
    )


def _open(asked: Asked) -> Any:
    import joblib  # lazy: heavy

    name = asked.name
    try:
        with os.fdopen(asked.descriptor, "rb") as file:
            return joblib.load(file)
    except ModuleNotFoundError as error:
        raise BadInputError(
            "pack.unreadable-model",
            f"{name!r} needs the module {error.name!r}, which is not installed here.",
            why="The model was saved where that module was.",
            fix="Install the module beside modelwright, or pack the model in the program that trained it.",
        ) from error
    except AttributeError as error:
        raise BadInputError(
            "pack.unreadable-model",
            f"{name!r} names a class or a function that is not there.",
            why=f"{str(error).partition(' on <module')[0]}.",
            fix="Define your own classes and functions in a module that is installed, not in the program that trains.",
        ) from error
    except PermissionError as error:
        raise BadInputError(
            "pack.unreadable-model",
            f"{name!r} tried what the jail refuses when it was opened.",
            why=f"{error}. In force: {asked.level}.",
            fix="Do not use this file unless you know what it does.",
        ) from error
    except BaseException as error:
        raise BadInputError(
            "pack.unreadable-model",
            f"{name!r} cannot be opened as a pickled model.",
            why=f"{type(error).__name__}: {str(error)[:300] or 'the file ends too early'}.",
            fix="Save the model with joblib.dump, by the same versions of its libraries.",
        ) from error
