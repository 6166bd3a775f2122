"""Opens ``model.py``: a Python file of the user's that defines ``predict``, or a class ``Model`` that does."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.core.signature import Signature
from modelwright.native.abilities import Abilities

MODULE = "modelwright_model"


def open_python(file: Path, signature: Signature, *, device: str = "cpu") -> Abilities:
    """Run the file as the module ``modelwright_model`` and give its ``predict``, and its ``stream`` if it has one.

    ``Model``, where the file defines it, is made with the folder that the file lies in, and with ``device`` where it
    has a parameter of that name.

    Raises:
        BadInputError: ``native.unreadable-model``.
    """
    del signature  # the file says by itself what it takes
    module = _run(file)
    made = getattr(module, "Model", None)
    if isinstance(made, type):
        try:
            holder: object = _make(made, file.parent, device)
        except ModelwrightError:
            raise
        except Exception as error:
            raise _unreadable(f"Model(folder) raised {_words(error)}", "Correct Model.__init__.") from error
        where = "the class Model"
    else:
        holder, where = module, "the file"
    predict, stream = getattr(holder, "predict", None), getattr(holder, "stream", None)
    if not callable(predict):
        raise _unreadable(
            f"{where} defines no predict",
            "Define predict(inputs), which takes and returns arrays by name, or a class Model with such a method.",
        )
    for name, function in (("predict", predict), ("stream", stream)):
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise _unreadable(f"{name} is a coroutine", "Define it with def, not with async def.")
    return Abilities(predict, stream if callable(stream) else None, takes_sequence=_takes_sequence(predict))


def _takes_sequence(predict: Callable[..., Any]) -> bool:
    """Whether ``predict`` has a parameter of that name."""
    try:
        return "sequence" in inspect.signature(predict).parameters
    except (TypeError, ValueError):  # of a function that is no Python
        return False


def _make(model: type, folder: Path, device: str) -> Any:
    return model(folder, device=device) if "device" in inspect.signature(model).parameters else model(folder)


def _run(file: Path) -> ModuleType:
    folder = str(file.parent)
    if folder not in sys.path:  # last: what is installed is found first
        sys.path.append(folder)
    module = ModuleType(MODULE)
    module.__file__ = str(file)
    sys.modules[MODULE] = module  # where its own classes are looked up by name
    try:
        source = compile(file.read_bytes(), file.name, "exec")
        exec(source, module.__dict__)  # noqa: S102 - running the user's code is the purpose; the process is jailed
    except SyntaxError as error:
        raise _unreadable(f"line {error.lineno}: {error.msg}", "Correct the file.") from error
    except ModuleNotFoundError as error:
        raise _unreadable(
            f"it imports {error.name!r}, which is not installed here",
            "Install that module beside modelwright, or pack a folder with model.py and the module in it.",
        ) from error
    except Exception as error:
        raise _unreadable(f"running it raised {_words(error)}", "Correct the file.") from error
    return module


def _words(error: Exception) -> str:
    said = str(error).strip().split("\n", 1)[0][:300]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _unreadable(why: str, fix: str) -> BadInputError:
    return BadInputError("native.unreadable-model", "The model's file cannot be used.", why=f"{why}.", fix=fix)
