"""Packs a Python file that defines ``predict`` or a class ``Model``, a folder with such a file, a function or a class.

It runs in jailed processes only.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from modelwright.adapters.frameworks.python_object import as_file, is_plain
from modelwright.adapters.frameworks.requirements import FILE as REQUIREMENTS
from modelwright.adapters.frameworks.requirements import merged, pinned
from modelwright.core import package_codec as codec
from modelwright.core.errors import BadInputError
from modelwright.core.native import Isolation
from modelwright.core.table import Table
from modelwright.ports.framework import NO_HINTS, Conversion, Hints, Route

FILE = "model.py"
_RECORDS = frozenset(
    {
        *(codec.MANIFEST, codec.DESCRIPTION, codec.SIGNATURE, codec.GOLDEN, codec.REFERENCE, codec.PARITY),
        *(codec.NATIVE, codec.ENVIRONMENT, codec.REQUIREMENTS, codec.CARD),
        *(codec.MLMODEL, codec.CONDA, codec.PYTHON_ENVIRONMENT, codec.INPUT_EXAMPLE),
    }
)


class PythonFramework:
    """Packs Python files, and folders with a file ``model.py``.

    Args:
        timeout_seconds: how long the jailed process may take for one model.
    """

    name = "python"

    def __init__(self, timeout_seconds: float = 600.0) -> None:
        self._timeout = timeout_seconds

    def owns(self, model: object) -> bool:
        """True for a ``.py`` path, a folder that holds ``model.py``, a function, and a plain class with ``predict``."""
        if not isinstance(model, Path):
            return is_plain(model)
        return model.suffix.lower() == ".py" or (model / FILE).is_file()

    def convert(
        self,
        model: object | Path,
        examples: Table | None,
        *,
        target: str = "",
        route: Route = "auto",
        isolation: Isolation = "strict",
        hints: Hints = NO_HINTS,
    ) -> Conversion:
        """Ask the model about the examples, in a jailed process.

        See :func:`modelwright.adapters.frameworks.python_native.convert_python`.

        Raises:
            BadInputError: ``pack.wrong-route`` where ONNX is asked for; ``pack.reserved-name``, ``pack.no-source``,
                ``pack.bad-requirements``.
            UnavailableError: ``pack.converter-crashed``.
            DeadlineError: ``pack.converter-timeout``.
        """
        from modelwright.adapters.frameworks.jailed import convert_file  # lazy: only packing needs a process

        hints.require_known(self.name)
        if not isinstance(model, Path):
            with as_file(model, FILE) as file:
                return self.convert(file, examples, target=target, route=route, isolation=isolation)
        if route == "onnx":
            raise BadInputError(
                "pack.wrong-route",
                f"{model.name} is a Python model, which runs as it is.",
                fix="Leave --onnx out.",
            )
        folder = model.is_dir()
        pins = pinned(model / REQUIREMENTS) if folder and (model / REQUIREMENTS).is_file() else ()
        made = convert_file(
            model / FILE if folder else model,
            examples,
            family=self.name,
            target=target,
            timeout_seconds=self._timeout,
            route="native",
            isolation=isolation,
            beside=beside(model, FILE) if folder else None,
            hints=hints,
        )
        return replace(made, environment=merged(made.environment, pins))


def beside(folder: Path, main: str) -> dict[str, Path]:
    """The other files of the folder, by their names in the package: all but ``main``, hidden and compiled ones.

    Raises:
        BadInputError: ``pack.reserved-name``.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in inner.parts)
        if hidden or not path.is_file() or inner.as_posix() in {main, REQUIREMENTS}:
            continue
        if inner.as_posix() in {*_RECORDS, codec.MODEL}:
            raise BadInputError(
                "pack.reserved-name",
                f"The folder holds a file {inner.as_posix()!r}.",
                why="A package keeps a record of its own under that name.",
                fix="Give the file another name.",
            )
        found[inner.as_posix()] = path
    return found
