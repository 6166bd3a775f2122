"""Packs a Python file that defines ``predict`` or a class ``Model``, or a folder with such a ``model.py`` in it.

It runs in jailed processes only.
"""

from __future__ import annotations

from pathlib import Path

from modelwright.core import package_codec as codec
from modelwright.core.errors import BadInputError
from modelwright.core.native import Isolation
from modelwright.core.table import Table
from modelwright.ports.framework import Conversion, Route

FILE = "model.py"
_RECORDS = frozenset(
    {
        *(codec.MANIFEST, codec.DESCRIPTION, codec.SIGNATURE, codec.GOLDEN, codec.REFERENCE, codec.PARITY),
        *(codec.NATIVE, codec.ENVIRONMENT, codec.REQUIREMENTS, codec.CARD),
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
        """True for a path that ends in ``.py``, and for a folder that holds ``model.py``."""
        return isinstance(model, Path) and (model.suffix.lower() == ".py" or (model / FILE).is_file())

    def convert(
        self,
        model: object | Path,
        examples: Table | None,
        *,
        target: str = "",
        route: Route = "auto",
        isolation: Isolation = "strict",
    ) -> Conversion:
        """Ask the model about the examples, in a jailed process.

        See :func:`modelwright.adapters.frameworks.python_native.convert_python`.

        Raises:
            BadInputError: ``pack.wrong-route`` where ONNX is asked for; ``pack.reserved-name``.
            UnavailableError: ``pack.converter-crashed``.
            DeadlineError: ``pack.converter-timeout``.
        """
        from modelwright.adapters.frameworks.jailed import convert_file  # lazy: only packing needs a process

        assert isinstance(model, Path)
        if route == "onnx":
            raise BadInputError(
                "pack.wrong-route",
                f"{model.name} is a Python model, which runs as it is.",
                fix="Leave --onnx out.",
            )
        folder = model.is_dir()
        return convert_file(
            model / FILE if folder else model,
            examples,
            target=target,
            timeout_seconds=self._timeout,
            route="native",
            isolation=isolation,
            beside=_beside(model) if folder else None,
        )


def _beside(folder: Path) -> dict[str, Path]:
    """The other files of the folder, by their names in the package: all but hidden ones and what Python compiled.

    Raises:
        BadInputError: ``pack.reserved-name``.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in inner.parts)
        if hidden or not path.is_file() or inner.as_posix() == FILE:
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
