"""Packs scikit-learn models: objects in this process, pickled files only in a jailed process of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelwright.core.errors import BadInputError
from modelwright.core.table import Table
from modelwright.ports.framework import Conversion

SUFFIXES = frozenset({".joblib", ".pkl", ".pickle"})


class SklearnFramework:
    """Converts fitted scikit-learn classifiers, regressors and pipelines.

    Args:
        timeout_seconds: how long the jailed process may take for one file.
    """

    name = "sklearn"

    def __init__(self, timeout_seconds: float = 600.0) -> None:
        self._timeout = timeout_seconds

    def owns(self, model: object) -> bool:
        """True for a pickled file by its suffix, and for a scikit-learn object; opens and imports nothing."""
        if isinstance(model, Path):
            return model.suffix.lower() in SUFFIXES
        kind = model if isinstance(model, type) else type(model)
        return any(base.__module__.partition(".")[0] == "sklearn" for base in kind.__mro__)

    def convert(self, model: object | Path, examples: Table | None, *, target: str = "") -> Conversion:
        """Convert and certify; see :func:`modelwright.adapters.frameworks.sklearn_convert.convert`.

        Raises:
            BadInputError: besides those of the conversion, ``pack.unreadable-model`` for a file that is no pickle.
            RefusedError: ``pack.unconvertible``, ``pack.parity-failed``.
            UnavailableError: ``pack.converter-crashed``.
            DeadlineError: ``pack.converter-timeout``.
        """
        _require_extra()
        if isinstance(model, Path):
            from modelwright.adapters.frameworks.jailed import convert_file  # lazy: only files need a process

            return convert_file(model, examples, target=target, timeout_seconds=self._timeout)
        from modelwright.adapters.frameworks.sklearn_convert import convert  # lazy: heavy

        held: Any = model
        return convert(held, examples, target=target)


def _require_extra() -> None:
    from importlib.util import find_spec  # lazy: nothing else here needs it

    absent = [name for name in ("sklearn", "skl2onnx", "onnx", "pandas") if find_spec(name) is None]
    if absent:
        raise BadInputError(
            "pack.missing-extra",
            f"{absent[0]} is not installed.",
            why="Packing scikit-learn models needs it; serving them does not.",
            fix="Install it with: pip install 'modelwright[sklearn]'",
        )
