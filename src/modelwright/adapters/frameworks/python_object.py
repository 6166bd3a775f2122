"""A function or a class that answers, as the Python file that it comes from."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from modelwright.core.errors import BadInputError

_NEUTRAL = frozenset({"builtins", "abc", "typing"})


def is_plain(model: object) -> bool:
    """True for a function, and for a class with ``predict`` that comes from no library's class."""
    if inspect.isfunction(model):
        return True
    if not isinstance(model, type) or not callable(getattr(model, "predict", None)):
        return False
    own = model.__module__.partition(".")[0]
    return {base.__module__.partition(".")[0] for base in model.__mro__} <= {own, *_NEUTRAL}


@contextmanager
def as_file(model: Any, name: str) -> Iterator[Path]:
    """A folder's ``name`` with the source of the module that defines the function or class, which answers there.

    Raises:
        BadInputError: ``pack.no-source``.
    """
    source = _source(model)
    wanted = "Model" if isinstance(model, type) else "predict"
    said = model.__name__
    if said != wanted:
        source += f"\n\n{wanted} = {said}\n"
    with TemporaryDirectory(prefix="modelwright-pack-") as folder:
        file = Path(folder) / name
        file.write_text(source, encoding="utf-8")
        yield file


def _source(model: Any) -> str:
    shown = f"{model.__module__}.{model.__qualname__}"
    if "<" in model.__qualname__ or (not isinstance(model, type) and model.__closure__):
        raise _refused(shown, "It is a lambda, or defined inside a function: its file alone does not make it.")
    if model.__module__ == "__main__":
        raise _refused(shown, "It is defined in the program that runs, which would run again wherever it is served.")
    module = sys.modules.get(model.__module__)
    if getattr(module, "__package__", ""):
        raise _refused(shown, f"It is part of the package {module.__package__!r}, and one file of it is no model.")  # type: ignore[union-attr]
    if getattr(module, model.__name__, None) is not model:
        raise _refused(shown, f"Its module has no {model.__name__!r} that is this one (it may be decorated).")
    try:
        return inspect.getsource(module)  # type: ignore[arg-type]
    except (OSError, TypeError) as error:
        raise _refused(shown, f"Its source is not there: {error}.") from error


def _refused(shown: str, why: str) -> BadInputError:
    return BadInputError(
        "pack.no-source",
        f"{shown} cannot be packed by its source.",
        why=why,
        fix="Put it into a file model.py as predict(inputs) or a class Model, its files beside it, and pack "
        "that folder.",
    )
