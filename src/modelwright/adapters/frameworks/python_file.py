"""Packs a Python file that defines ``predict`` or a class ``Model``; it runs in jailed processes only."""

from __future__ import annotations

from pathlib import Path

from modelwright.core.errors import BadInputError
from modelwright.core.table import Table
from modelwright.ports.framework import Conversion, Route


class PythonFramework:
    """Packs Python files.

    Args:
        timeout_seconds: how long the jailed process may take for one file.
    """

    name = "python"

    def __init__(self, timeout_seconds: float = 600.0) -> None:
        self._timeout = timeout_seconds

    def owns(self, model: object) -> bool:
        """True for a path that ends in ``.py``."""
        return isinstance(model, Path) and model.suffix.lower() == ".py"

    def convert(
        self, model: object | Path, examples: Table | None, *, target: str = "", route: Route = "auto"
    ) -> Conversion:
        """Ask the model about the examples, in a jailed process; see ``python_native.convert_python``.

        Raises:
            BadInputError: ``pack.wrong-route`` where ONNX is asked for.
            UnavailableError: ``pack.converter-crashed``.
            DeadlineError: ``pack.converter-timeout``.
        """
        from modelwright.adapters.frameworks.jailed import convert_file  # lazy: only packing needs a process

        assert isinstance(model, Path)
        if route == "onnx":
            raise BadInputError(
                "pack.wrong-route",
                f"{model.name} is a Python file, which runs only as it is.",
                fix="Leave --onnx out.",
            )
        return convert_file(model, examples, target=target, timeout_seconds=self._timeout, route="native")
