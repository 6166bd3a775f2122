"""Opens a pickled model, for the loader of its library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelwright.core.errors import BadInputError


def unpickled(file: Path) -> Any:
    """The object in a file of pickle's or joblib's.

    Raises:
        BadInputError: ``native.unreadable-model``.
    """
    import joblib  # lazy: only loaders of pickles need it

    try:
        return joblib.load(file)
    except ModuleNotFoundError as error:
        raise BadInputError(
            "native.unreadable-model",
            f"The model needs the module {error.name!r}, which is not installed here.",
            fix="Install what the package's requirements.txt lists, and the module of your own classes.",
        ) from error
    except Exception as error:
        raise BadInputError(
            "native.unreadable-model",
            "The model's file cannot be opened as a pickled model.",
            why=f"{type(error).__name__}: {str(error)[:300] or 'the file ends too early'}.",
            fix="Install the versions that the package's requirements.txt lists.",
        ) from error
