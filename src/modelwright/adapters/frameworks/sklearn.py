"""Packs scikit-learn models: objects in this process, pickled files only in a jailed process of their own.

What is not converted to ONNX is asked about the examples in a jailed process too, as a package will be served.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelwright.adapters.frameworks.extras import require
from modelwright.adapters.frameworks.routes import ASKED, NO_ONNX, because
from modelwright.adapters.frameworks.sklearn_precision import OPTIONS, wanted_numbers
from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.core.native import Isolation
from modelwright.core.table import Table
from modelwright.ports.framework import NO_HINTS, Conversion, Hints, Route

NEEDS = ("sklearn", "skl2onnx", "onnx", "pandas")
_BOOSTERS = frozenset({"catboost", "lightgbm", "xgboost"})  # their estimators are scikit-learn's too
SUFFIXES = frozenset({".joblib", ".pkl", ".pickle"})


class SklearnFramework:
    """Converts fitted scikit-learn estimators and pipelines.

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
        roots = [base.__module__.partition(".")[0] for base in kind.__mro__]
        return "sklearn" in roots and roots[0] not in _BOOSTERS

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
        """Convert and certify; see :func:`modelwright.adapters.frameworks.sklearn_convert.convert`.

        On the route ``auto`` a model that does not convert, or not into one that answers alike, is kept as it is.

        Raises:
            BadInputError: besides those of the conversion, ``pack.unreadable-model`` for a file that is no pickle.
            RefusedError: ``pack.unconvertible``, ``pack.parity-failed`` on the route ``onnx``; on the others
                ``pack.native-differs``, ``pack.not-repeatable``.
            UnavailableError: ``pack.converter-crashed``.
            DeadlineError: ``pack.converter-timeout``.
        """
        require(NEEDS, "sklearn", "Packing scikit-learn models needs it; serving them does not.")
        hints.require_known(self.name, OPTIONS)
        wanted_numbers(hints)
        if isinstance(model, Path):
            from modelwright.adapters.frameworks.jailed import convert_file  # lazy: only files need a process

            return convert_file(
                model,
                examples,
                family=self.name,
                target=target,
                timeout_seconds=self._timeout,
                route=route,
                isolation=isolation,
                hints=hints,
            )
        held: Any = model
        if route != "native":
            from modelwright.adapters.frameworks.sklearn_convert import convert  # lazy: heavy

            try:
                return convert(held, examples, target=target, hints=hints)
            except ModelwrightError as error:
                if route == "onnx" or error.code not in NO_ONNX:
                    raise
                try:
                    return self._native(held, examples, target, isolation, because(error))
                except BadInputError as refused:
                    if refused.code == "pack.unpicklable":  # neither way is open; the nearer one is worth the words
                        raise error from refused
                    raise
        return self._native(held, examples, target, isolation, ASKED)

    def _native(self, model: Any, examples: Table | None, target: str, isolation: Isolation, why: str) -> Conversion:
        from modelwright.adapters.frameworks.jailed import convert_file  # lazy: only files need a process

        with pickled(model) as file:
            return convert_file(
                file,
                examples,
                family=self.name,
                target=target,
                timeout_seconds=self._timeout,
                route="native",
                isolation=isolation,
                why=why,
            )


@contextlib.contextmanager
def pickled(model: Any) -> Iterator[Path]:
    """The object as a file of joblib's.

    Raises:
        BadInputError: ``pack.unpicklable``.
    """
    import joblib  # lazy: heavy

    with tempfile.TemporaryDirectory(prefix="modelwright-pack-") as folder:
        file = Path(folder) / "model.joblib"
        try:
            joblib.dump(model, file)
        except Exception as error:
            raise BadInputError(
                "pack.unpicklable",
                f"The {type(model).__name__} cannot be pickled.",
                why=f"{type(error).__name__}: {str(error)[:300]}.",
                fix="Use no lambda and no class or function that is defined inside another one.",
            ) from error
        yield file
